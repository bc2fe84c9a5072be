//! A handover: channels stand still, and go on in another server or in the same.

use std::time::Duration;

use tidegate::channels::{Publication, StreamCopy};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Query};
use tidegate::mail::ReplyReceiver;

use super::*;
use crate::operator::send;

fn answer(world: &mut World, loop_index: usize, question: ChannelQuestion) -> ChannelAnswer {
    let answer: ReplyReceiver<ChannelAnswer> =
        send(world, loop_index, |reply| Query::Channels { question, reply });
    world.settle();
    answer.wait(Duration::ZERO).unwrap()
}

fn tell_all(world: &mut World, loops: usize, question: &ChannelQuestion) {
    for loop_index in 0..loops {
        assert_eq!(answer(world, loop_index, question.clone()), ChannelAnswer::Done);
    }
}

fn copies(world: &mut World, loops: usize) -> Vec<StreamCopy> {
    let mut all = Vec::new();
    for loop_index in 0..loops {
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let ChannelAnswer::Copies(some, next) =
                answer(world, loop_index, ChannelQuestion::Copies(from))
            else {
                panic!("no copies")
            };
            all.extend(some);
            cursor = next;
        }
    }
    all
}

fn publish(channel: &str, number: u64, key: Option<&str>) -> ChannelQuestion {
    ChannelQuestion::Publish {
        channel: channel.into(),
        publication: Publication::new(number.to_string().into_bytes()),
        idempotency_key: key.map(Into::into),
        skips_history: false,
    }
}

/// As [`world`], whose channels go on with these streams.
fn world_with(setup: &Setup, settings: ChannelsSettings, streams: Vec<StreamCopy>) -> World {
    let settings = Arc::new(settings);
    let options = RouteOptions { deflate: None, ..RouteOptions::default() };
    World::serving(setup, |journal| {
        let make = move |_, site| {
            let mut own = Channels::new(Arc::clone(&settings), site);
            own.restore(streams.clone());
            own
        };
        vec![socket(PATH, &options, journal, make)]
    })
}

const CHANNELS: [&str; 4] = ["kept:a", "kept:b", "kept:c", "kept:d"];

fn namespaces() -> ChannelsSettings {
    settings([open_namespace(""), kept_namespace("kept", 20)])
}

fn subscribe(channel: &str) -> Value {
    json!({ "subscribe": { "channel": channel } })
}

#[test]
fn what_changes_a_channel_is_refused_while_it_stands_still() {
    let mut world = world(&setup(2, 1), namespaces());
    let mut own = Member::connected(&mut world, 0);
    own.ask(&mut world, subscribe("kept:a"));
    assert!(matches!(answer(&mut world, 0, publish("kept:a", 1, None)), ChannelAnswer::Json(_)));
    own.messages(&mut world);
    tell_all(&mut world, 2, &ChannelQuestion::Freeze);
    let refused = json!({ "code": 100, "message": "internal server error", "temporary": true });
    for command in [
        json!({ "publish": { "channel": "kept:a", "data": 2 } }),
        json!({ "publish": { "channel": "plain", "data": 2 } }),
        subscribe("kept:new"),
    ] {
        assert_eq!(own.ask(&mut world, command)["error"], refused);
    }
    let question = ChannelQuestion::Forget("kept:a".into());
    assert!(matches!(answer(&mut world, 1, question), ChannelAnswer::Failed(_)));
    let page = own.ask(&mut world, json!({ "history": { "channel": "kept:a", "limit": 9 } }));
    assert_eq!(page["history"]["publications"].as_array().unwrap().len(), 1, "it is read as ever");
    let epoch = page["history"]["epoch"].clone();

    tell_all(&mut world, 2, &ChannelQuestion::Thaw { are_new: false });
    let reply = own.ask(&mut world, json!({ "publish": { "channel": "kept:a", "data": 2 } }));
    assert_eq!(reply["publish"], json!({}));
    let page = own.ask(&mut world, json!({ "history": { "channel": "kept:a" } }));
    assert_eq!((&page["history"]["offset"], &page["history"]["epoch"]), (&json!(2), &epoch));

    // Another process may have gone on, and is gone.
    tell_all(&mut world, 2, &ChannelQuestion::Freeze);
    tell_all(&mut world, 2, &ChannelQuestion::Thaw { are_new: true });
    let mut other = Member::connected(&mut world, 1);
    let mut request = subscribe("kept:a");
    request["subscribe"].as_object_mut().unwrap().extend([
        ("recover".to_owned(), true.into()),
        ("offset".to_owned(), 2.into()),
        ("epoch".to_owned(), epoch),
    ]);
    let found = &other.ask(&mut world, request)["subscribe"];
    assert_eq!((found.get("recovered"), &found["was_recovering"]), (None, &json!(true)));
}

#[test]
fn a_client_that_asks_for_something_is_sent_to_the_other_process() {
    let mut world = world(&setup(1, 2), namespaces());
    let mut own = Member::connected(&mut world, 0);
    own.ask(&mut world, subscribe("kept:a"));
    tell_all(&mut world, 1, &ChannelQuestion::Freeze);
    tell_all(&mut world, 1, &ChannelQuestion::Leave);
    assert_eq!(own.messages(&mut world), Vec::<Value>::new());
    own.assert_closed_by(
        &mut world,
        "{\"id\":9,\"publish\":{\"channel\":\"kept:a\",\"data\":1}}",
        3001,
    );
}

/// Members of one server come to another, which has another number of loops: they get what they lack, and
/// keys publish once in both.
#[test]
fn members_recover_in_another_server() {
    for (from, to, seed) in [(1, 1, 3), (2, 3, 4), (3, 2, 5)] {
        let mut old = world(&setup(from, seed), namespaces());
        let mut members: Vec<(Member, Value)> = CHANNELS
            .iter()
            .map(|channel| {
                let mut own = Member::connected(&mut old, 0);
                let reply = own.ask(&mut old, subscribe(channel));
                (own, reply["subscribe"]["epoch"].clone())
            })
            .collect();
        for number in 1..=6 {
            for channel in CHANNELS {
                let key = format!("{channel}{number}");
                answer(&mut old, 0, publish(channel, number, Some(&key)));
            }
        }
        tell_all(&mut old, from, &ChannelQuestion::Freeze);
        let streams = copies(&mut old, from);
        assert_eq!(streams.len(), CHANNELS.len());
        let mut new = world_with(&setup(to, seed), namespaces(), streams);
        for channel in CHANNELS {
            let again = publish(channel, 6, Some(&format!("{channel}6")));
            answer(&mut new, to - 1, again);
            answer(&mut new, 0, publish(channel, 7, None));
        }
        for (channel, (_, epoch)) in CHANNELS.iter().zip(&mut members) {
            let mut own = Member::connected(&mut new, to - 1);
            let request =
                json!({ "channel": channel, "recover": true, "offset": 4, "epoch": epoch });
            let found = own.ask(&mut new, json!({ "subscribe": request }));
            let missed = found["subscribe"]["publications"].as_array().unwrap().iter();
            let missed: Vec<_> = missed.map(|own| own["data"].as_u64().unwrap()).collect();
            assert_eq!((missed, &found["subscribe"]["recovered"]), (vec![5, 6, 7], &json!(true)));
        }
    }
}
