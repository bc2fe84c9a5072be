//! Each command and each event, with one NATS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate::channels::remote::{
    Audience, Batch, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Retention, Span,
};
use tidegate::control::engine::nats::{NatsEngineSettings, NatsUrl, run_nats};

use crate::broker::{Broker, kept};
use crate::nats_server::NatsServer;

/// Settings for one server, with a history of 10 in the namespace `kept`.
pub(crate) fn settings(url: &str, node: u64) -> NatsEngineSettings {
    let mut settings = NatsEngineSettings::new(vec![NatsUrl::parse(url).unwrap()], node);
    settings.namespaces = BTreeMap::from([("kept".to_owned(), KEPT)]);
    settings.partitions = 3;
    // A machine that is busy is not a server that hangs.
    settings.request_timeout = Duration::from_secs(40);
    settings
}

/// Reads, again after the adapter was down.
pub(crate) fn read(broker: &Broker, channel: &str, kept: Retention, span: Span) -> Batch {
    loop {
        let number = broker.number();
        let channel = channel.into();
        broker.send(BrokerCommand::Read { number, channel, retention: kept, span });
        let answer = broker.wait_for(|event| {
            if let BrokerEvent::Read(own, result) = event {
                return (own == number).then_some(Some(result));
            }
            (event == BrokerEvent::Down).then_some(None)
        });
        match answer {
            Some(batch) => return batch.unwrap(),
            None => broker.up(),
        }
    }
}

/// An adapter that is up.
pub(crate) fn broker(settings: NatsEngineSettings) -> Broker {
    let broker = Broker::start(move |commands, events| run_nats(settings, commands, events));
    broker.up();
    broker
}

/// What the namespace `kept` keeps.
pub(crate) const KEPT: Retention =
    Retention { size: 10, ttl_ms: 3_600_000, meta_ttl_ms: 7_200_000 };

#[test]
fn what_is_kept_is_heard_by_all_with_its_place_and_read() {
    let Some(server) = NatsServer::start() else { return };
    let [one, other] = [1, 2].map(|node| broker(settings(&server.url(), node)));
    for broker in [&one, &other] {
        broker.subscribe(&["kept:a", "kept:b"]);
    }
    let begin = one.read("kept:a", KEPT, Span::Nothing);
    assert!(begin.is_whole && begin.entries.is_empty());
    let mut previous = begin.position;
    for (publisher, payload) in [(&one, b"1"), (&other, b"2"), (&one, b"3")] {
        publisher.publish_later("kept:a", Some(KEPT), payload, None);
        let [mine, theirs] = [&one, &other].map(Broker::live);
        assert_eq!(mine, theirs);
        let (channel, place, heard) = mine;
        let place = place.unwrap();
        assert_eq!((&*channel, &*heard, place.previous), ("kept:a", &payload[..], previous.offset));
        assert!(place.position.offset > previous.offset && place.position.epoch == previous.epoch);
        previous = place.position;
    }
    for broker in [&one, &other] {
        let all = broker.read("kept:a", KEPT, Span::All);
        let payloads: Vec<&[u8]> = all.entries.iter().map(|(_, payload)| &**payload).collect();
        assert_eq!((payloads, all.position), (vec![&b"1"[..], b"2", b"3"], previous));
        let missed = broker.read("kept:a", KEPT, Span::After(begin.position.offset));
        assert!(missed.is_whole);
        assert_eq!(missed.entries, all.entries);
        let latest = broker.read("kept:a", KEPT, Span::Latest);
        assert_eq!(latest.entries, [(previous.offset, b"3".to_vec())]);
        assert!(broker.read("kept:b", KEPT, Span::All).entries.is_empty());
    }
}

#[test]
fn copies_come_in_one_order_to_all() {
    let Some(server) = NatsServer::start() else { return };
    let brokers = [1, 2].map(|node| broker(settings(&server.url(), node)));
    for broker in &brokers {
        broker.subscribe(&["kept:a"]);
    }
    for number in 0..100_u32 {
        for broker in &brokers {
            broker.publish_later("kept:a", Some(KEPT), &number.to_be_bytes(), None);
        }
    }
    let [one, other] = brokers.each_ref().map(|broker| {
        let copies: Vec<_> = (0..200).map(|_| broker.live()).collect();
        for pair in copies.windows(2) {
            let [earlier, later] = pair else { continue };
            assert_eq!(later.1.unwrap().previous, earlier.1.unwrap().position.offset);
        }
        copies
    });
    assert_eq!(one, other);
}

#[test]
fn what_is_not_kept_is_heard_without_a_place() {
    let Some(server) = NatsServer::start() else { return };
    let [one, other] = [1, 2].map(|node| broker(settings(&server.url(), node)));
    other.subscribe(&["open", "other: ~*>.ns"]);
    for (channel, payload) in [("open", b"1"), ("unheard", b"2"), ("other: ~*>.ns", b"3")] {
        let number = one.publish_later(channel, None, payload, None);
        assert_eq!(one.published(number), Ok(None));
    }
    assert_eq!(other.live(), ("open".to_owned(), None, b"1".to_vec()));
    assert_eq!(other.live(), ("other: ~*>.ns".to_owned(), None, b"3".to_vec()));
    // Nothing is kept there, so there is nothing to read.
    let number = one.number();
    let channel = Arc::from("open");
    one.send(BrokerCommand::Read { number, channel, retention: kept(1), span: Span::All });
    assert_eq!(one.event(), BrokerEvent::Read(number, Err(BrokerError::Refused)));
    one.remove("open");
}

#[test]
fn a_key_is_published_once() {
    let Some(server) = NatsServer::start() else { return };
    let [one, other] = [1, 2].map(|node| broker(settings(&server.url(), node)));
    one.subscribe(&["kept:a", "kept:b", "open"]);
    for (channel, retention) in [("kept:a", Some(KEPT)), ("open", None)] {
        let key = Some("a key\r\nwith: lines");
        let first = other.publish_later(channel, retention, b"1", key);
        let first = other.published(first).unwrap();
        assert_eq!(first.is_some(), retention.is_some());
        let again = one.publish_later(channel, retention, b"2", key);
        assert_eq!(one.published(again), Ok(first));
        let last = other.publish_later(channel, retention, b"3", Some("another"));
        other.published(last).unwrap();
    }
    let second = other.publish_later("kept:b", Some(KEPT), b"4", Some("another"));
    other.published(second).unwrap();
    // The first copies came while the answers were awaited; the last one is of another channel.
    let mut heard = Vec::new();
    while heard.last().is_none_or(|(channel, _)| channel != "kept:b") {
        let (channel, _, payload) = one.live();
        heard.push((channel, payload));
    }
    assert!(heard.iter().all(|(_, payload)| payload != b"2"), "{heard:?}");
}

#[test]
fn positions_are_told_in_the_order_of_the_question_and_stay() {
    let Some(server) = NatsServer::start() else { return };
    let broker = broker(settings(&server.url(), 1));
    let names: Vec<String> = (0..POSITIONS_MAX).map(|number| format!("kept:{number}")).collect();
    let question: Vec<(&str, Retention)> = names.iter().map(|name| (&**name, KEPT)).collect();
    let begin = broker.positions(&question);
    assert_eq!(broker.positions(&question), begin, "an unused channel keeps its position");
    let five = broker.publish("kept:5", KEPT, b"5");
    let now = broker.positions(&question);
    assert_eq!(now[5], five);
    assert!(five.offset > begin[5].offset && five.epoch == begin[5].epoch);
    assert_eq!((&now[..5], &now[6..]), (&begin[..5], &begin[6..]));
    let number = broker.number();
    let channels = vec![(Arc::from("open"), KEPT)];
    broker.send(BrokerCommand::Positions { number, channels });
    let refused = BrokerEvent::Positions(number, Err(BrokerError::Refused));
    assert_eq!(broker.wait_for(|event| (event == refused).then_some(event)), refused);
}

#[test]
fn what_is_removed_is_gone_and_the_position_stays() {
    let Some(server) = NatsServer::start() else { return };
    let broker = broker(settings(&server.url(), 1));
    let first = broker.publish("kept:a", KEPT, b"1");
    let second = broker.publish("kept:a", KEPT, b"2");
    for _ in 0..2 {
        broker.remove("kept:a");
        assert_eq!(broker.positions(&[("kept:a", KEPT)]), [second]);
        let all = broker.read("kept:a", KEPT, Span::All);
        assert_eq!((all.entries.len(), all.position), (0, second));
        assert!(broker.read("kept:a", KEPT, Span::Latest).entries.is_empty());
        let missed = broker.read("kept:a", KEPT, Span::After(first.offset));
        assert!(!missed.is_whole && missed.entries.is_empty());
        assert!(broker.read("kept:a", KEPT, Span::After(second.offset)).is_whole);
    }
    let third = broker.publish("kept:a", KEPT, b"3");
    let missed = broker.read("kept:a", KEPT, Span::After(second.offset));
    assert_eq!((missed.entries, missed.is_whole), (vec![(third.offset, b"3".to_vec())], true));
    assert!(!broker.read("kept:a", KEPT, Span::After(first.offset)).is_whole);
    broker.remove("kept:never");
}

#[test]
fn notes_go_to_who_hears_and_words_to_nodes() {
    let Some(server) = NatsServer::start() else { return };
    let [one, other] = [1, 2].map(|node| broker(settings(&server.url(), node)));
    for broker in [&one, &other] {
        broker.subscribe(&["kept:a"]);
    }
    one.send(BrokerCommand::Note("kept:a".into(), b"note".to_vec()));
    one.send(BrokerCommand::Note("kept:unheard".into(), b"lost".to_vec()));
    one.send(BrokerCommand::Tell(Audience::All, b"all".to_vec()));
    one.send(BrokerCommand::Tell(Audience::Node(2), b"two".to_vec()));
    let told = |event| {
        if let BrokerEvent::Note(channel, payload) = event {
            return Some((Some(channel.to_string()), payload));
        }
        if let BrokerEvent::Told(payload) = event { Some((None, payload)) } else { None }
    };
    let mut heard: Vec<_> = (0..2).map(|_| one.wait_for(told)).collect();
    heard.sort();
    let expected = [(None, b"all".to_vec()), (Some("kept:a".to_owned()), b"note".to_vec())];
    assert_eq!(heard, expected);
    let mut heard: Vec<_> = (0..3).map(|_| other.wait_for(told)).collect();
    heard.sort();
    let two = (None, b"two".to_vec());
    assert_eq!(heard, [expected[0].clone(), two, expected[1].clone()]);
}

#[test]
fn nothing_is_heard_any_more_of_what_is_unsubscribed() {
    let Some(server) = NatsServer::start() else { return };
    for own_subscriptions_max in [0, 1, 100] {
        let mut settings = settings(&server.url(), 1);
        settings.own_subscriptions_max = own_subscriptions_max;
        let broker = broker(settings);
        let names: Vec<String> = (0..300).map(|number| format!("kept:{number}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        broker.subscribe(&names);
        let gone = names[..150].iter().map(|&name| name.into()).collect();
        broker.send(BrokerCommand::Unsubscribe(gone));
        for name in &names {
            broker.publish_later(name, Some(KEPT), b"x", None);
        }
        for name in &names[150..] {
            let (channel, place, _) = broker.live();
            assert!(place.is_some());
            // Each partition has an order of its own.
            assert!(names[150..].contains(&&*channel), "{channel} as well as {name}");
        }
        // Who comes back hears again, once.
        broker.subscribe(&names[..1]);
        broker.publish_later(names[0], Some(KEPT), b"y", None);
        broker.publish_later(names[299], Some(KEPT), b"z", None);
        let mut heard: Vec<_> = (0..2).map(|_| broker.live().2).collect();
        heard.sort();
        assert_eq!(heard, [b"y", b"z"]);
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let Some(server) = NatsServer::start() else { return };
    let broker = broker(settings(&server.url(), 1));
    for (channel, retention) in [("kept:a", Some(KEPT)), ("open", None)] {
        let number = broker.publish_later(channel, retention, &vec![0; 2 << 20], Some("key"));
        assert_eq!(broker.published(number), Err(BrokerError::Refused));
        let number = broker.publish_later(channel, retention, &vec![0; 1 << 19], Some("key"));
        assert!(broker.published(number).is_ok());
    }
    broker.send(BrokerCommand::Tell(Audience::All, vec![0; 2 << 20]));
    broker.send(BrokerCommand::Tell(Audience::All, b"fits".to_vec()));
    let told = |event| if let BrokerEvent::Told(payload) = event { Some(payload) } else { None };
    assert_eq!(broker.wait_for(told), b"fits");
}

#[test]
fn a_full_nats_refuses_and_is_read() {
    let options = "jetstream { store_dir: \"FOLDER/streams\", max_file_store: 1MB }\n";
    let Some(server) = NatsServer::start_with(options) else { return };
    let broker = broker(settings(&server.url(), 1));
    let publish = |channel: &str| {
        let number = broker.publish_later(channel, Some(KEPT), &vec![7; 200_000], None);
        broker.published(number)
    };
    assert!(publish("kept:first").is_ok());
    let refused = (0..20).map(|number| publish(&format!("kept:{number}"))).find(Result::is_err);
    assert_eq!(refused, Some(Err(BrokerError::Refused)));
    // Neither has room for its mark, and neither is an outage.
    let new = Arc::<str>::from("kept:new");
    broker.send(BrokerCommand::Positions { number: 91, channels: vec![(Arc::clone(&new), KEPT)] });
    assert_eq!(broker.event(), BrokerEvent::Positions(91, Err(BrokerError::Refused)));
    broker.send(BrokerCommand::Read {
        number: 92,
        channel: new,
        retention: KEPT,
        span: Span::Nothing,
    });
    assert_eq!(broker.event(), BrokerEvent::Read(92, Err(BrokerError::Refused)));
    broker.send(BrokerCommand::Remove { number: 93, channel: "kept:first".into() });
    assert_eq!(broker.event(), BrokerEvent::Removed(93, Err(BrokerError::Refused)));
    assert_eq!(broker.read("kept:first", KEPT, Span::All).entries.len(), 1);
}
