//! Publications that are not JSON: those who speak Protobuf get their bytes, those who speak JSON are told that
//! they cannot.

use tidegate::channels::{NamedEpoch, Publication, PublicationDetails, Since};
use tidegate::inspect::ChannelQuestion;

use super::backend::{answer, json_of};
use super::*;

/// What is not JSON, as the tests write it.
fn binary() -> Value {
    json!({ "b64data": "AAH/Cg==" })
}

fn publish(channel: &str, data: &Value) -> Value {
    json!({ "publish": { "channel": channel, "data": data } })
}

fn subscribe(channel: &str) -> Value {
    json!({ "subscribe": { "channel": channel } })
}

/// The last publication that has come.
fn last(messages: &[Value]) -> &Value {
    let push = messages.iter().rfind(|own| own.get("push").is_some());
    push.map_or(&Value::Null, |own| &own["push"]["pub"]["data"])
}

#[test]
fn bytes_reach_those_who_can_take_them_and_close_the_others() {
    for channel in ["plain", "kept:x"] {
        let own = settings([open_namespace(""), kept_namespace("kept", 5)]);
        let mut world = world(&setup(3, 1), own);
        let mut members: Vec<Member> = (0..6)
            .map(|number| Member::connected_in(&mut world, number % 3, Format::of(number / 3)))
            .collect();
        let mut elsewhere = Member::connected(&mut world, 0);
        elsewhere.ask(&mut world, subscribe("other"));
        for member in &mut members {
            member.ask(&mut world, subscribe(channel));
        }
        // Bytes that are JSON are for all, in one line for those who speak JSON.
        let publisher = &mut members[3];
        publisher.client.send_frame(BINARY, &protobuf::raw_publication(channel, b"[1,\n 2]"));
        world.settle();
        for member in &mut members {
            assert_eq!(last(&member.messages(&mut world)), &json!([1, 2]));
        }
        let publisher = &mut members[3];
        publisher.send(publish(channel, &binary()));
        publisher.send(publish(channel, &json!("later")));
        let late = Member::connected(&mut world, 1);
        for mut member in members {
            let messages = member.messages(&mut world);
            match member.format {
                Format::Json => {
                    assert_eq!(messages, Vec::<Value>::new(), "nothing behind a hole");
                    let close = (3506, "inappropriate protocol".to_owned());
                    assert_eq!(member.close(), Some(close));
                }
                Format::Protobuf => {
                    assert_eq!(last(&messages), &json!("later"));
                    let bytes = messages.iter().any(|own| own["push"]["pub"]["data"] == binary());
                    assert!(bytes, "{messages:?}");
                    assert_eq!(member.close(), None);
                }
            }
        }
        // Once they are gone others may come, who lack nothing that they know of.
        world.pass(10_000);
        for mut member in [late, elsewhere] {
            assert!(member.ask(&mut world, subscribe(channel))["subscribe"].is_object());
            assert_eq!(member.close(), None);
        }
    }
}

#[test]
fn a_history_with_bytes_is_read_by_those_who_can_take_them() {
    let mut world = world(&setup(2, 2), settings([kept_namespace("kept", 5)]));
    let mut own = Member::connected_in(&mut world, 0, Format::Protobuf);
    let first = own.ask(&mut world, subscribe("kept:x"));
    let epoch = &first["subscribe"]["epoch"];
    own.ask(&mut world, publish("kept:x", &json!(1)));
    own.ask(&mut world, publish("kept:x", &binary()));
    let history = json!({ "history": { "channel": "kept:x", "limit": 10 } });
    let recover = json!({ "subscribe": { "channel": "kept:x", "recover": true, "epoch": epoch } });
    let data = |page: &Value| -> Vec<Value> {
        let page = page["publications"].as_array().unwrap();
        page.iter().map(|own| own["data"].clone()).collect()
    };
    let all = [json!(1), binary()];
    let mut other = Member::connected_in(&mut world, 1, Format::Protobuf);
    assert_eq!(data(&other.ask(&mut world, history.clone())["history"]), all);
    assert_eq!(data(&other.ask(&mut world, recover.clone())["subscribe"]), all);
    for command in [history, recover] {
        let mut json = Member::connected(&mut world, 1);
        json.send(command);
        assert_eq!(json.messages(&mut world), Vec::<Value>::new());
        assert_eq!(json.close().map(|own| own.0), Some(3506));
    }
    // Who is there already is not closed for what was published before.
    let mut json = Member::connected(&mut world, 1);
    assert!(json.ask(&mut world, subscribe("kept:x"))["subscribe"].is_object());
    let question = ChannelQuestion::History {
        channel: "kept:x".into(),
        since: Since::Oldest(None),
        epoch: NamedEpoch::Any,
        limit: 10,
    };
    let found = json_of(&answer(&mut world, 0, question));
    assert_eq!(found["publications"][1]["b64data"], "AAH/Cg==");
}

#[test]
fn a_backend_publishes_bytes() {
    let mut world = world(&setup(2, 3), settings([open_namespace("")]));
    let mut members = FORMATS.map(|format| Member::connected_in(&mut world, 1, format));
    for member in &mut members {
        member.ask(&mut world, subscribe("a"));
    }
    let details = PublicationDetails { is_binary: true, ..PublicationDetails::default() };
    let question = ChannelQuestion::Publish {
        channel: "a".into(),
        publication: Publication { data: [0, 1, 0xFF, 10].into(), details: Some(details.into()) },
        idempotency_key: None,
        skips_history: false,
    };
    answer(&mut world, 0, question);
    let [json, protobuf] = &mut members;
    assert_eq!(last(&protobuf.messages(&mut world)), &binary());
    world.exchange(&mut json.client);
    assert_eq!(json.close().map(|own| own.0), Some(3506));
}
