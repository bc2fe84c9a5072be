//! Redis, with two gateways: one server, and one with a replica and a Sentinel.

use std::net::Ipv4Addr;

use crate::faults::{cut, gateway_killed, gateway_stopped, stopped_long};
use crate::model::Promise;
use crate::network::{Host, in_own_network};
use crate::proxy::Proxy;
use crate::redis_server::{RedisSentinel, RedisServer};
use crate::rig::Rig;
use crate::wait::{now, until};

/// The table of a gateway's engine.
fn table(port: u16) -> String {
    table_at(Ipv4Addr::LOCALHOST, port)
}

fn table_at(address: Ipv4Addr, port: u16) -> String {
    format!("kind = \"redis\"\nurls = [\"redis://{address}:{port}\"]\nrequest_ms = 1000")
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

/// One round, as it takes half a minute.
#[test]
#[ignore = "stands still for 30 s"]
fn redis_stopped_for_30_s() {
    let Some(redis) = RedisServer::start() else { return };
    let mut rig = Rig::start("redis_stopped_for_30_s", Promise::Everything, two(&redis));
    rig.one_round(|rig| stopped_long(rig, || redis.pause(), || redis.resume()));
}

/// Each gateway has a link of its own, and nothing that goes on a link that is cut gets anywhere.
#[test]
fn redis_link_cut() {
    in_own_network("redis::redis_link_cut", || {
        let host = Host::new(0, 2);
        let options = ["--bind", "0.0.0.0", "--protected-mode", "no"];
        let Some(redis) = host.run(|| RedisServer::start_with_options(&options)) else { return };
        let port = redis.ports().0;
        let tables = [0, 1].map(|link| table_at(host.address(link), port)).into();
        let links = [0, 1].map(|link| host.link(link));
        let mut rig = Rig::start("redis_link_cut", Promise::Everything, tables);
        rig.rounds(|rig| cut(rig, &links));
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

/// A master and its replica, and a Sentinel, which the tables name.
fn with_sentinel() -> Option<([RedisServer; 2], RedisSentinel, Vec<String>)> {
    let master = RedisServer::start()?;
    let port = master.ports().0.to_string();
    let replica = RedisServer::start_with_options(&["--replicaof", "127.0.0.1", &port])?;
    let sentinel = RedisSentinel::start(&master, 1);
    sentinel.hasten();
    let behind = "deployment = \"sentinel\"\nsentinel_master = \"main\"\n";
    let tables = vec![format!("{behind}{}", table(sentinel.port())); 2];
    Some(([master, replica], sentinel, tables))
}

/// A master stands still, and so does a gateway, until the replica has taken over. Then both go on with each other
/// as before, and what is published there is lost when the Sentinel makes the master of before a replica.
#[test]
fn redis_master_returns() {
    let Some((servers, sentinel, tables)) = with_sentinel() else { return };
    let mut rig = Rig::start("redis_master_returns", Promise::LossIsTold, tables);
    rig.few_rounds(|rig| {
        sentinel.until_replicas(1);
        let port = sentinel.master_port();
        let master = servers.iter().find(|own| own.ports().0 == port).unwrap();
        let left = rig.any_gateway();
        rig.pause_gateway(left);
        master.pause();
        rig.move_some();
        until("the replica takes over", || (sentinel.master_port() != port).then_some(()));
        rig.publish_one();
        master.resume();
        rig.resume_gateway(left);
        now()
    });
}

/// The master is killed, and its replica takes over. The one of before comes back, without data, and becomes the
/// replica.
#[test]
fn redis_master_killed() {
    let Some((mut servers, sentinel, tables)) = with_sentinel() else { return };
    let mut rig = Rig::start("redis_master_killed", Promise::LossIsTold, tables);
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
