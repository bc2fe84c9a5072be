//! What backends ask of channels, of any loop.

use std::time::Duration;

use tidegate::centrifugo::ErrorCode;
use tidegate::channels::{NamedEpoch, Publication, Since};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Query};
use tidegate::mail::ReplyReceiver;

use super::*;
use crate::operator::send;

pub(super) fn answer(
    world: &mut World,
    loop_index: usize,
    question: ChannelQuestion,
) -> ChannelAnswer {
    let answer: ReplyReceiver<ChannelAnswer> =
        send(world, loop_index, |reply| Query::Channels { question, reply });
    world.settle();
    answer.wait(Duration::ZERO).unwrap()
}

pub(super) fn json_of(answer: &ChannelAnswer) -> Value {
    let ChannelAnswer::Json(text) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(text).unwrap()
}

fn publish(channel: &str, number: u64, key: Option<&str>) -> ChannelQuestion {
    ChannelQuestion::Publish {
        channel: channel.into(),
        publication: Publication::new(number.to_string().into_bytes()),
        idempotency_key: key.map(Into::into),
        skips_history: false,
    }
}

fn world_with_members(seed: u64) -> (World, Vec<Member>) {
    let told = Namespace { presence: true, ..open_namespace("told") };
    let own = settings([open_namespace(""), kept_namespace("kept", 5), told]);
    let mut world = world(&setup(3, seed), own);
    let mut members: Vec<Member> =
        (0..3).map(|number| Member::connected(&mut world, number)).collect();
    for channel in ["plain", "kept:x", "told:x"] {
        for member in &mut members {
            member.ask(&mut world, json!({ "subscribe": { "channel": channel } }));
        }
    }
    (world, members)
}

#[test]
fn a_backend_publishes_at_any_loop() {
    let (mut world, mut members) = world_with_members(1);
    for loop_index in 0..3 {
        let plain = answer(&mut world, loop_index, publish("plain", 1, None));
        assert_eq!(json_of(&plain), json!({}));
        let offset = loop_index as u64 + 1;
        let kept = json_of(&answer(&mut world, loop_index, publish("kept:x", 2, None)));
        assert_eq!(kept["offset"], offset);
        for member in &mut members {
            let pushes = member.messages(&mut world);
            let mut found: Vec<_> = pushes.iter().map(|own| own["push"]["pub"].clone()).collect();
            found.sort_by_key(|own| own["data"].as_u64());
            assert_eq!(found, [json!({ "data": 1 }), json!({ "data": 2, "offset": offset })]);
        }
    }
    let first = answer(&mut world, 0, publish("kept:x", 9, Some("key")));
    assert_eq!(answer(&mut world, 1, publish("kept:x", 9, Some("key"))), first);
    assert_eq!(members[0].messages(&mut world).len(), 1, "the second changes nothing");
}

#[test]
fn a_backend_sees_what_is_there() {
    let (mut world, _members) = world_with_members(2);
    answer(&mut world, 0, publish("kept:x", 7, None));
    let history = |limit| ChannelQuestion::History {
        channel: "kept:x".into(),
        since: Since::Oldest(None),
        epoch: NamedEpoch::Any,
        limit,
    };
    let found = json_of(&answer(&mut world, 1, history(10)));
    assert_eq!(found["publications"], json!([{ "data": 7, "offset": 1 }]));
    assert_eq!(
        answer(&mut world, 2, ChannelQuestion::Forget("kept:x".into())),
        ChannelAnswer::Done
    );
    let found = json_of(&answer(&mut world, 1, history(10)));
    assert_eq!((&found["publications"], &found["offset"]), (&json!([]), &json!(1)));
    let presence = json_of(&answer(&mut world, 0, ChannelQuestion::Presence("told:x".into())));
    assert_eq!(presence["presence"].as_object().unwrap().len(), 3);
    let stats = json_of(&answer(&mut world, 0, ChannelQuestion::PresenceStats("told:x".into())));
    assert_eq!(stats, json!({ "num_clients": 3, "num_users": 1 }));
    for (question, error) in [
        (publish("nowhere:x", 1, None), ErrorCode::UnknownChannel),
        (publish("", 1, None), ErrorCode::BadRequest),
        (ChannelQuestion::Presence("plain".into()), ErrorCode::NotAvailable),
        (ChannelQuestion::Forget("plain".into()), ErrorCode::NotAvailable),
    ] {
        assert_eq!(answer(&mut world, 1, question), ChannelAnswer::Failed(error));
    }
    let (mut listed, mut counts) = (Vec::new(), [0; 3]);
    for loop_index in 0..3 {
        let ChannelAnswer::Channels(own) =
            answer(&mut world, loop_index, ChannelQuestion::List(100))
        else {
            panic!("no list")
        };
        listed.extend(own);
        let ChannelAnswer::Counts(clients, channels, members) =
            answer(&mut world, loop_index, ChannelQuestion::Count)
        else {
            panic!("no counts")
        };
        counts = [counts[0] + clients, counts[1] + channels, counts[2] + members];
    }
    listed.sort();
    let wanted = ["kept:x", "plain", "told:x"].map(|name| (Arc::from(name), 3));
    assert_eq!((listed, counts), (wanted.to_vec(), [3, 3, 9]));
}

#[test]
fn a_backend_ends_subscriptions_and_connections() {
    let (mut world, mut members) = world_with_members(3);
    for loop_index in 0..3 {
        let (user, channel) = (Arc::from(""), Some(Arc::from("plain")));
        let question = ChannelQuestion::Unsubscribe { user, channel, client: None };
        assert_eq!(answer(&mut world, loop_index, question), ChannelAnswer::Done);
    }
    for member in &mut members {
        let pushes = member.messages(&mut world);
        let reason = json!({ "code": 2000, "reason": "server unsubscribe" });
        assert_eq!(pushes, [json!({ "push": { "channel": "plain", "unsubscribe": reason } })]);
    }
    answer(&mut world, 0, publish("plain", 1, None));
    assert!(members.iter_mut().all(|own| own.messages(&mut world).is_empty()));
    for loop_index in 0..3 {
        let question = ChannelQuestion::Disconnect {
            user: "".into(),
            client: None,
            except: Arc::new([]),
            close: (4000, "moved".into()),
        };
        assert_eq!(answer(&mut world, loop_index, question), ChannelAnswer::Done);
    }
    for member in &mut members {
        world.exchange(&mut member.client);
        assert_eq!(member.close(), Some((4000, "moved".to_owned())));
    }
    assert_eq!(world.counter("channel_members_now"), 0);
}
