//! Redis, with two gateways: one server, and one with a replica and a Sentinel.

use crate::faults::{cut, gateway_killed, gateway_stopped};
use crate::model::Promise;
use crate::proxy::Proxy;
use crate::redis_server::{RedisSentinel, RedisServer};
use crate::rig::Rig;
use crate::wait::{now, until};

/// The table of a gateway's engine.
fn table(port: u16) -> String {
    format!("kind = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]\nrequest_ms = 1000")
}

fn two(redis: &RedisServer) -> Vec<String> {
    vec![table(redis.ports().0); 2]
}

#[test]
fn redis_gateway_killed() {
    let Some(redis) = RedisServer::start() else { return };
    let mut rig = Rig::start("redis_gateway_killed", Promise::Everything, two(&redis));
    rig.rounds(gateway_killed);
}

#[test]
fn redis_gateway_stopped() {
    let Some(redis) = RedisServer::start() else { return };
    let mut rig = Rig::start("redis_gateway_stopped", Promise::Everything, two(&redis));
    rig.rounds(gateway_stopped);
}

#[test]
fn redis_killed() {
    let Some(redis) = RedisServer::start() else { return };
    killed("redis_killed", redis);
}

#[test]
fn redis_killed_with_its_data() {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let Some(redis) = RedisServer::start_with_options(&options) else { return };
    killed("redis_killed_with_its_data", redis);
}

fn killed(name: &'static str, mut redis: RedisServer) {
    let mut rig = Rig::start(name, Promise::LossIsTold, two(&redis));
    rig.rounds(|rig| {
        redis.stop();
        rig.move_some();
        redis.start_again();
        now()
    });
}

#[test]
fn redis_stopped() {
    let Some(redis) = RedisServer::start() else { return };
    let mut rig = Rig::start("redis_stopped", Promise::Everything, two(&redis));
    rig.rounds(|rig| {
        let before = rig.outages();
        redis.pause();
        rig.move_some();
        // Either they notice, or they do not.
        if rig.random.is_heads() {
            rig.all_away_since(&before);
        }
        redis.resume();
        now()
    });
}

#[test]
fn redis_cut() {
    let Some(redis) = RedisServer::start() else { return };
    let proxies = [(); 2].map(|()| Proxy::start(redis.address()));
    let tables = proxies.iter().map(|own| table(own.port())).collect();
    let mut rig = Rig::start("redis_cut", Promise::Everything, tables);
    rig.rounds(|rig| cut(rig, &proxies));
}

/// The master is killed, and its replica takes over. The one of before comes back, without data, and becomes the
/// replica.
#[test]
fn redis_master_killed() {
    let Some(master) = RedisServer::start() else { return };
    let port = master.ports().0.to_string();
    let replicaof = ["--replicaof", "127.0.0.1", &port];
    let Some(replica) = RedisServer::start_with_options(&replicaof) else { return };
    let sentinel = RedisSentinel::start(&master, 1);
    sentinel.hasten();
    let behind = "deployment = \"sentinel\"\nsentinel_master = \"main\"\n";
    let tables = vec![format!("{behind}{}", table(sentinel.port())); 2];
    let mut rig = Rig::start("redis_master_killed", Promise::LossIsTold, tables);
    let mut servers = [master, replica];
    rig.rounds(|rig| {
        sentinel.until_replicas(1);
        let port = sentinel.master_port();
        let master = servers.iter_mut().find(|own| own.ports().0 == port).unwrap();
        master.stop();
        let since = now();
        rig.move_some();
        until("the replica takes over", || (sentinel.master_port() != port).then_some(()));
        master.start_again();
        since
    });
}
