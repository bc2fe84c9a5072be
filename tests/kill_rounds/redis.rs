//! Redis, with two gateways.

use std::cell::RefCell;

use crate::link::Link;
use crate::model::Promise;
use crate::redis_server::RedisServer;
use crate::rig::{Rig, outages};
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

/// Kills a gateway, and starts it again while the members are at another.
pub(crate) fn gateway_killed(rig: &mut Rig) -> std::time::Instant {
    let index = rig.any_gateway();
    rig.kill_gateway(index);
    let since = now();
    if rig.random.is_heads() {
        rig.publish_some(20);
    }
    rig.restart_gateway(index);
    since
}

#[test]
fn redis_gateway_stopped() {
    let Some(redis) = RedisServer::start() else { return };
    let mut rig = Rig::start("redis_gateway_stopped", Promise::Everything, two(&redis));
    rig.rounds(gateway_stopped);
}

/// Stops a gateway while something is published at another.
pub(crate) fn gateway_stopped(rig: &mut Rig) -> std::time::Instant {
    let index = rig.any_gateway();
    rig.pause_gateway(index);
    rig.publish_some(40);
    rig.resume_gateway(index);
    now()
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
            rig.away_since(&before);
        }
        redis.resume();
        now()
    });
}

#[test]
fn redis_cut() {
    let Some(redis) = RedisServer::start() else { return };
    let links = [(); 2].map(|()| Link::start(redis.address()));
    let tables = links.iter().map(|link| table(link.port())).collect();
    let mut rig = Rig::start("redis_cut", Promise::Everything, tables);
    rig.rounds(|rig| cut(rig, &links));
}

/// Cuts the links of some gateways.
pub(crate) fn cut(rig: &mut Rig, links: &[Link]) -> std::time::Instant {
    let chosen: RefCell<Vec<usize>> = RefCell::new(vec![rig.any_gateway(), rig.any_gateway()]);
    let before = rig.outages();
    for &index in chosen.borrow().iter() {
        links[index].cut();
    }
    rig.move_some();
    let waits = rig.random.is_heads();
    for index in chosen.take() {
        if waits {
            until("a gateway notices a cut", || {
                (outages(rig.gateway(index)) > before[index]).then_some(())
            });
        }
        links[index].mend();
    }
    now()
}
