//! Each command and each event, with one Redis.

use std::sync::Arc;
use std::time::Duration;

use tidegate::channels::remote::{
    Audience, BrokerCommand, BrokerError, BrokerEvent, Placement, Span,
};
use tidegate::control::RedisUrl;
use tidegate::control::engine::redis::{RedisEngineSettings, run_redis};

use crate::broker::{Broker, kept};
use crate::redis_server::RedisServer;

/// A gateway with this number, connected. It waits for answers as long as a busy machine takes.
pub(crate) fn broker(url: &str, node: u64) -> Broker {
    started(url, node, |settings| settings.request = Duration::from_secs(60))
}

/// As above, with the default time for answers: it finds out what is dead.
pub(crate) fn hurried_broker(url: &str, node: u64) -> Broker {
    started(url, node, |_| ())
}

fn started(url: &str, node: u64, change: impl FnOnce(&mut RedisEngineSettings)) -> Broker {
    let mut settings = RedisEngineSettings::new(RedisUrl::parse(url).unwrap(), node);
    change(&mut settings);
    let broker = Broker::start(move |commands, events| run_redis(settings, commands, events));
    broker.up();
    broker
}

#[test]
fn what_one_gateway_publishes_two_hear_in_order() {
    let Some(redis) = RedisServer::start() else { return };
    let gateways = [broker(&redis.url(), 1), broker(&redis.socket_url(), 2)];
    for gateway in &gateways {
        gateway.subscribe(&["room", "plain"]);
    }
    let numbers: Vec<u64> = (1..=2_000_u32)
        .map(|number| {
            let payload = number.to_string();
            gateways[0].publish_later("room", Some(kept(5)), payload.as_bytes(), None)
        })
        .collect();
    let (mut epoch, mut answered) = (None, 0);
    let mut check = |offset: u64, place: Option<Placement>, payload: &[u8]| {
        let place = place.unwrap();
        assert_eq!((place.position.offset, place.previous), (offset, offset - 1));
        assert_eq!(payload, offset.to_string().as_bytes());
        assert_eq!(*epoch.get_or_insert(place.position.epoch), place.position.epoch);
    };
    let mut heard = 0;
    while heard < 2_000 || answered < 2_000 {
        let event = gateways[0].event();
        if let BrokerEvent::Live { place, payload, .. } = event {
            heard += 1;
            check(heard, place, &payload);
        } else if let BrokerEvent::Published(number, result) = event {
            assert_eq!(number, numbers[answered]);
            answered += 1;
            assert_eq!(result.unwrap().unwrap().offset, answered as u64);
        } else {
            panic!("{event:?}");
        }
    }
    for offset in 1..=2_000 {
        let (channel, place, payload) = gateways[1].live();
        assert_eq!(channel, "room");
        check(offset, place, &payload);
    }
    // What is not kept has no position.
    let number = gateways[1].publish_later("plain", None, b"\0\r\n:", None);
    assert_eq!(gateways[1].published(number), Ok(None));
    assert_eq!(gateways[0].live(), ("plain".to_owned(), None, b"\0\r\n:".to_vec()));
}

#[test]
fn a_subscription_ends() {
    let Some(redis) = RedisServer::start() else { return };
    let (one, other) = (broker(&redis.url(), 1), broker(&redis.url(), 2));
    one.subscribe(&["a", "b"]);
    one.send(BrokerCommand::Unsubscribe(vec!["a".into(), "unknown".into()]));
    // Confirmed behind that.
    one.subscribe(&["c"]);
    other.publish("a", kept(5), b"unheard");
    other.publish("b", kept(5), b"heard");
    assert_eq!(one.live().2, b"heard");
}

#[test]
fn many_channels_are_subscribed_at_once() {
    let Some(redis) = RedisServer::start() else { return };
    let (one, other) = (broker(&redis.url(), 1), broker(&redis.url(), 2));
    let names: Vec<String> = (0..3_000).map(|number| format!("room:{number}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    one.subscribe(&names);
    for channel in [0, 511, 512, 2_999] {
        other.publish(names[channel], kept(5), b"x");
        assert_eq!(one.live().0, names[channel]);
    }
}

#[test]
fn a_key_publishes_once() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    broker.subscribe(&["room"]);
    for (retention, key) in [(Some(kept(5)), "a"), (Some(kept(500)), "b"), (None, "c")] {
        let first = broker.publish_later("room", retention, b"once", Some(key));
        let first = broker.published(first).unwrap();
        assert_eq!(first.is_some(), retention.is_some());
        let again = broker.publish_later("room", retention, b"twice", Some(key));
        assert_eq!(broker.published(again), Ok(first));
        broker.publish_later("room", retention, b"last", Some(&format!("{key}{key}")));
        let position = broker.wait_for(|event| {
            let BrokerEvent::Live { place, payload, .. } = event else { return None };
            assert_ne!(payload, b"twice");
            (payload == b"last").then_some(place.map(|place| place.position.offset))
        });
        assert_eq!(position, first.map(|first| first.offset + 1));
    }
}

#[test]
fn notes_and_messages_to_nodes_arrive() {
    let Some(redis) = RedisServer::start() else { return };
    let (one, other) = (broker(&redis.url(), 1), broker(&redis.url(), 300));
    one.subscribe(&["room"]);
    other.subscribe(&["room"]);
    other.send(BrokerCommand::Note("room".into(), b"typing".to_vec()));
    let note = BrokerEvent::Note("room".into(), b"typing".to_vec());
    assert_eq!((one.event(), other.event()), (note.clone(), note));
    one.send(BrokerCommand::Tell(Audience::All, b"to all".to_vec()));
    let told = BrokerEvent::Told(b"to all".to_vec());
    assert_eq!((one.event(), other.event()), (told.clone(), told));
    one.send(BrokerCommand::Tell(Audience::Node(300), b"to 300".to_vec()));
    one.send(BrokerCommand::Tell(Audience::Node(1), b"to 1".to_vec()));
    one.send(BrokerCommand::Tell(Audience::Node(77), b"to none".to_vec()));
    assert_eq!(other.event(), BrokerEvent::Told(b"to 300".to_vec()));
    assert_eq!(one.event(), BrokerEvent::Told(b"to 1".to_vec()));
    // No answer came of any of these.
    one.send(BrokerCommand::Tell(Audience::All, Vec::new()));
    assert_eq!(one.event(), BrokerEvent::Told(Vec::new()));
}

#[test]
fn gateways_agree_on_positions_of_channels_without_publications() {
    let Some(redis) = RedisServer::start() else { return };
    let (one, other) = (broker(&redis.url(), 1), broker(&redis.url(), 2));
    let empty = one.read("empty", kept(5), Span::Nothing);
    assert_eq!((empty.position.offset, empty.is_whole, empty.entries.len()), (0, true, 0));
    let published = other.publish("busy", kept(5), b"x");
    let asked = [("unknown", kept(5)), ("busy", kept(5)), ("empty", kept(5)), ("busy", kept(5))];
    let found = other.positions(&asked);
    assert_eq!(found[0].offset, 0);
    assert_eq!(found[1..], [published, empty.position, published]);
    assert_eq!(one.positions(&asked), found);
    assert_eq!(one.positions(&[]), []);
    let first = other.publish("empty", kept(5), b"x");
    assert_eq!((first.offset, first.epoch), (1, empty.position.epoch));
    // As many as one question may have, and one more.
    let names: Vec<String> = (0..513).map(|number| format!("room:{number}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (&**name, kept(5))).collect();
    let last = many.pop().unwrap();
    assert_eq!(one.positions(&many).len(), 512);
    many.push(last);
    let channels = many.iter().map(|(name, kept)| (Arc::from(*name), *kept)).collect();
    one.send(BrokerCommand::Positions { number: 0, channels });
    assert_eq!(one.event(), BrokerEvent::Positions(0, Err(BrokerError::Refused)));
}

#[test]
fn removal_forgets_publications_and_not_the_position() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    for retention in [kept(5), kept(500)] {
        let name = format!("room:{}", retention.size);
        broker.publish(&name, retention, b"1");
        let position = broker.publish(&name, retention, b"2");
        assert_eq!(broker.read(&name, retention, Span::After(1)).entries, [(2, b"2".to_vec())]);
        broker.remove(&name);
        let batch = broker.read(&name, retention, Span::All);
        assert_eq!((batch.position, batch.entries.len()), (position, 0));
        assert!(!broker.read(&name, retention, Span::After(1)).is_whole);
        assert!(broker.read(&name, retention, Span::After(2)).is_whole);
        assert_eq!(broker.publish(&name, retention, b"3").offset, 3);
    }
}

#[test]
fn payloads_of_any_bytes_and_sizes_arrive() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    broker.subscribe(&["\u{0}r\u{f6}:{om}\r\n"]);
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for (retention, payload) in
        [(Some(kept(5)), &large), (Some(kept(500)), &large), (None, &large), (None, &vec![])]
    {
        broker.publish_later("\u{0}r\u{f6}:{om}\r\n", retention, payload, None);
        let (channel, place, heard) = broker.live();
        assert_eq!(channel, "\u{0}r\u{f6}:{om}\r\n");
        assert_eq!((place.is_some(), heard == *payload), (retention.is_some(), true));
    }
    for retention in [kept(5), kept(500)] {
        let batch = broker.read("\u{0}r\u{f6}:{om}\r\n", retention, Span::All);
        assert!(batch.entries.iter().all(|(_, payload)| *payload == large));
    }
    let too_large = vec![0; (16 << 20) + 1];
    let number = broker.publish_later("room", None, &too_large, None);
    assert_eq!(broker.published(number), Err(BrokerError::Refused));
}

#[test]
fn what_redis_refuses_is_told() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    let mut connection = redis.connection();
    redis::cmd("SET").arg("tidegate.m.room").arg("no hash").exec(&mut connection).unwrap();
    let number = broker.publish_later("room", Some(kept(5)), b"x", None);
    assert_eq!(broker.published(number), Err(BrokerError::Refused));
    broker.send(BrokerCommand::Positions { number: 9, channels: vec![("room".into(), kept(5))] });
    assert_eq!(broker.event(), BrokerEvent::Positions(9, Err(BrokerError::Refused)));
    assert_eq!(broker.publish("other", kept(5), b"x").offset, 1);
}

#[test]
fn a_password_is_asked_for_and_given() {
    let Some(redis) = RedisServer::start_with_password("secret") else { return };
    let gateway = broker(&redis.url(), 1);
    assert_eq!(gateway.publish("room", kept(5), b"x").offset, 1);
}

#[test]
fn scripts_that_are_lost_are_loaded_again() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    let first = broker.publish("room", kept(5), b"x");
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis.connection()).unwrap();
    broker.publish_later("room", Some(kept(5)), b"x", None);
    broker.down();
    broker.up();
    let second = broker.publish("room", kept(5), b"x");
    assert_eq!((second.offset, second.epoch), (2, first.epoch));
}

#[test]
fn the_documented_rights_are_enough() {
    let Some(redis) = RedisServer::start() else { return };
    let rights = "gateway on >secret resetchannels &tidegate.* ~tidegate.* -@all +evalsha +script|load \
                  +info +select +unlink +publish +subscribe +unsubscribe +del +get +hget +hincrby \
                  +hmget +hset +lrange +ltrim +pexpire +rpush +set +time +xadd +xrevrange";
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(rights.split_whitespace().collect::<Vec<_>>());
    acl.exec(&mut redis.connection()).unwrap();
    let url = format!("redis://gateway:secret@{}/2", redis.address());
    let broker = broker(&url, 1);
    broker.subscribe(&["room"]);
    for retention in [kept(5), kept(500)] {
        let number = broker.publish_later("room", Some(retention), b"x", Some("key"));
        assert!(broker.published(number).is_ok());
        broker.publish("room", retention, b"x");
        assert!(broker.read("room", retention, Span::Latest).is_whole);
        broker.remove("room");
    }
    assert_eq!(broker.positions(&[("room", kept(5))])[0].offset, 3);
    broker.send(BrokerCommand::Unsubscribe(vec!["room".into()]));
    broker.send(BrokerCommand::Tell(Audience::Node(1), b"told".to_vec()));
    broker.wait_for(|event| (event == BrokerEvent::Told(b"told".to_vec())).then_some(()));
}

#[test]
fn a_full_redis_refuses_and_takes_again() {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    let mut connection = redis.connection();
    let mut bytes_max = |bytes: u32| {
        redis::cmd("CONFIG").arg(&["SET", "maxmemory"]).arg(bytes).exec(&mut connection).unwrap();
    };
    assert_eq!(broker.publish("room", kept(5), b"x").offset, 1);
    bytes_max(1);
    let number = broker.publish_later("room", Some(kept(5)), b"y", None);
    assert_eq!(broker.published(number), Err(BrokerError::Refused));
    assert_eq!(broker.read("room", kept(5), Span::All).entries, [(1, b"x".to_vec())]);
    bytes_max(0);
    assert_eq!(broker.publish("room", kept(5), b"z").offset, 2);
}
