//! A Redis that ends, hangs, or loses a connection.

use tidegate::channels::Position;
use tidegate::channels::remote::{BrokerCommand, BrokerEvent, Span};

use crate::broker::{Broker, kept};
use crate::proxy::Proxy;
use crate::redis_commands::{broker, hurried_broker};
use crate::redis_server::RedisServer;
use crate::wait::until;

/// It works, from one gateway to itself: subscriptions of before are gone.
pub(crate) fn works(broker: &Broker, channel: &str) -> Position {
    broker.subscribe(&[channel]);
    let number = broker.publish_later(channel, Some(kept(5)), b"works", None);
    let (_, place, payload) = broker.live();
    assert_eq!(payload, b"works");
    let position = place.unwrap().position;
    assert!(position.offset > 0 && number > 0);
    position
}

#[test]
fn a_restart_with_the_data_or_without_has_another_epoch() {
    for options in [vec![], vec!["--appendonly", "yes", "--appendfsync", "always"]] {
        let keeps_data = !options.is_empty();
        let Some(mut redis) = RedisServer::start_with_options(&options) else { return };
        let broker = hurried_broker(&redis.url(), 1);
        let before = works(&broker, "room");
        redis.stop();
        broker.down();
        // Dropped, and never answered.
        for _ in 0..10 {
            broker.publish_later("room", Some(kept(5)), b"dropped", None);
        }
        redis.start_again();
        // Commands may be dropped until that is heard, so nothing is sent before.
        broker.up();
        let after = broker.read("room", kept(5), Span::All);
        assert_ne!(after.position.epoch, before.epoch);
        assert_eq!(after.position.offset, u64::from(keeps_data));
        let again = works(&broker, "room");
        assert_eq!((again.offset, again.epoch), (after.position.offset + 1, after.position.epoch));
    }
}

#[test]
fn a_server_that_hangs_is_down() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = hurried_broker(&redis.url(), 1);
    let before = works(&broker, "room");
    redis.pause();
    broker.publish_later("room", Some(kept(5)), b"unanswered", None);
    broker.down();
    redis.resume();
    broker.up();
    // Nothing was lost, so it is the same stream.
    let after = works(&broker, "room");
    assert_eq!(after.epoch, before.epoch);
    assert!(after.offset > before.offset);
}

#[test]
fn a_lost_subscription_is_found_though_publications_are_answered() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = hurried_broker(&redis.url(), 1);
    let before = works(&broker, "room");
    let killed: usize = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub"])
        .query(&mut redis.connection())
        .unwrap();
    assert_eq!(killed, 1);
    broker.down();
    broker.up();
    let after = works(&broker, "room");
    assert_eq!((after.epoch, after.offset), (before.epoch, before.offset + 1));
}

#[test]
fn a_subscription_that_is_dead_and_open_is_found() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(&redis.address());
    let broker = hurried_broker(&proxy.url(), 1);
    let before = works(&broker, "room");
    // As after a failover behind a name: publications are answered, and none is heard.
    proxy.mute(1);
    broker.publish("room", kept(5), b"answered");
    broker.down();
    broker.up();
    let after = works(&broker, "room");
    assert_eq!((after.epoch, after.offset), (before.epoch, before.offset + 2));
    // The other one.
    proxy.mute(2);
    broker.down();
    broker.up();
    works(&broker, "room");
}

#[test]
fn a_master_that_becomes_a_replica_is_down() {
    let Some(redis) = RedisServer::start() else { return };
    let Some(other) = RedisServer::start() else { return };
    let broker = hurried_broker(&redis.url(), 1);
    let before = works(&broker, "room");
    let mut connection = redis.connection();
    let other = other.address();
    let (host, port) = other.split_once(':').unwrap();
    redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut connection).unwrap();
    broker.publish_later("room", Some(kept(5)), b"refused", None);
    broker.down();
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut connection).unwrap();
    broker.up();
    assert_ne!(works(&broker, "room").epoch, before.epoch);
}

#[test]
fn a_history_that_changes_under_standing_connections_is_another_epoch() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = hurried_broker(&redis.url(), 1);
    let before = works(&broker, "room");
    // A master takes a new replication id with its first replica, at which another gateway that comes later
    // would see other epochs than this one.
    let address = redis.address();
    let (host, port) = address.split_once(':').unwrap();
    let Some(_replica) = RedisServer::start_with_options(&["--replicaof", host, port]) else {
        return;
    };
    broker.down();
    broker.up();
    assert_ne!(works(&broker, "room").epoch, before.epoch);
}

#[test]
fn a_gateway_that_does_not_listen_holds_the_server_back_and_stays_up() {
    let limit = ["--client-output-buffer-limit", "pubsub", "0", "0", "0"];
    let Some(redis) = RedisServer::start_with_options(&limit) else { return };
    let (slow, busy) = (broker(&redis.url(), 1), broker(&redis.url(), 2));
    slow.subscribe(&["room"]);
    let payload = vec![b'x'; 10_000];
    let numbers: Vec<u64> =
        (0..3_000).map(|_| busy.publish_later("room", None, &payload, None)).collect();
    assert_eq!(busy.published(*numbers.last().unwrap()), Ok(None));
    // 30 MB cannot all be in sockets and queues, so some wait at the server, for as long as it allows.
    let mut connection = redis.connection();
    until("the server holds some back", || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection).unwrap();
        let held = clients.lines().any(|line| {
            let field = line.split(' ').find_map(|field| field.strip_prefix("omem="));
            field.is_some_and(|bytes| bytes != "0")
        });
        held.then_some(())
    });
    for _ in 0..3_000 {
        assert_eq!(slow.live().2.len(), 10_000);
    }
    slow.send(BrokerCommand::Note("room".into(), b"still up".to_vec()));
    assert_eq!(slow.event(), BrokerEvent::Note("room".into(), b"still up".to_vec()));
}
