//! Subscriptions that the server makes: by tokens, for users, and by backends.

use std::time::Duration;

use tidegate::centrifugo::{ErrorCode, SubscriptionOptions};
use tidegate::channels::{NamedEpoch, Overrides, Publication};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Lasting, Query};

use super::*;
use crate::operator::send;

/// What all loops answer, if that is one and the same.
fn ask_all(world: &mut World, loops: usize, question: &ChannelQuestion) -> ChannelAnswer {
    let answers: Vec<_> = (0..loops)
        .map(|loop_index| {
            let question = question.clone();
            send(world, loop_index, |reply| Query::Channels { question, reply })
        })
        .collect();
    world.settle();
    let mut answers: Vec<ChannelAnswer> =
        answers.into_iter().map(|own| own.wait(Duration::ZERO).unwrap()).collect();
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn publish(world: &mut World, channel: &str, data: u64) {
    let publication = Publication::new(data.to_string().into_bytes());
    let question = ChannelQuestion::Publish {
        channel: channel.into(),
        publication,
        idempotency_key: None,
        skips_history: false,
    };
    send(world, 0, |reply| Query::Channels { question, reply });
    world.settle();
}

fn subscribe_question(user: &str, channel: &str) -> ChannelQuestion {
    ChannelQuestion::Subscribe {
        user: user.into(),
        channel: channel.into(),
        client: None,
        recover: None,
        options: Box::default(),
    }
}

fn with_token(claims: &Value) -> Value {
    json!({ "connect": { "token": claims.to_string() } })
}

fn full_settings() -> ChannelsSettings {
    let told = Namespace { presence: true, join_leave: true, ..open_namespace("told") };
    settings_with_tokens([open_namespace(""), kept_namespace("kept", 5), told])
}

/// The data of publications to a channel, in what a client has got.
fn data_of(messages: &[Value], channel: &str) -> Vec<u64> {
    let own = messages.iter().filter(|own| own["push"]["channel"] == channel);
    own.filter_map(|own| own["push"]["pub"]["data"].as_u64()).collect()
}

#[test]
fn channels_of_a_token_are_in_the_first_reply() {
    for loops in 1..=3 {
        let mut world = world(&setup(loops, 1), full_settings());
        publish(&mut world, "kept:a", 7);
        let mut own = Member::open(&mut world, loops - 1);
        let claims = json!({
            "sub": "ann",
            "channels": ["kept:a", "plain"],
            "subs": { "told:c": { "data": { "x": 1 }, "info": { "role": "r" } } },
        });
        let reply = own.ask(&mut world, with_token(&claims));
        let subs = &reply["connect"]["subs"];
        let kept = &subs["kept:a"];
        assert_eq!(kept["epoch"].as_str().map(str::len), Some(8));
        let told = json!({ "recoverable": true, "positioned": true, "offset": 1,
            "epoch": kept["epoch"] });
        assert_eq!(kept, &told);
        assert_eq!((&subs["plain"], &subs["told:c"]), (&json!({}), &json!({ "data": { "x": 1 } })));
        publish(&mut world, "kept:a", 8);
        publish(&mut world, "plain", 9);
        let messages = own.messages(&mut world);
        assert_eq!((data_of(&messages, "kept:a"), data_of(&messages, "plain")), (vec![8], vec![9]));
        let presence = own.ask(&mut world, json!({ "presence": { "channel": "told:c" } }));
        let members = presence["presence"]["presence"].as_object().unwrap();
        let info = members.values().next().unwrap();
        assert_eq!((&info["user"], &info["chan_info"]), (&json!("ann"), &json!({ "role": "r" })));
        // It is a member, so it cannot become one.
        let again = own.ask(&mut world, json!({ "subscribe": { "channel": "plain" } }));
        assert_eq!(again["error"]["code"], 105);
        own.client.connection.reset();
        world.settle();
        assert_eq!(world.counter("channel_members_now"), 0);
    }
}

#[test]
fn what_was_missed_in_channels_of_the_server_comes_with_the_first_reply() {
    let mut world = world(&setup(3, 2), full_settings());
    let claims = json!({ "sub": "ann", "channels": ["kept:a", "kept:b", "kept:c"] });
    let mut own = Member::open(&mut world, 1);
    let reply = own.ask(&mut world, with_token(&claims));
    let epoch = |channel: &str| reply["connect"]["subs"][channel]["epoch"].clone();
    own.client.connection.reset();
    for data in 1..=3 {
        publish(&mut world, "kept:a", data);
    }
    for data in 1..=9 {
        publish(&mut world, "kept:b", data);
    }
    let position = |channel: &str| json!({ "recover": true, "epoch": epoch(channel) });
    let before = json!({ "kept:a": position("kept:a"), "kept:b": position("kept:b"),
        "kept:other": position("kept:a") });
    let mut own = Member::open(&mut world, 2);
    let connect = json!({ "connect": { "token": claims.to_string(), "subs": before } });
    let subs = own.ask(&mut world, connect)["connect"]["subs"].clone();
    let missed = subs["kept:a"]["publications"].as_array().unwrap();
    let data: Vec<_> = missed.iter().map(|own| own["data"].as_u64().unwrap()).collect();
    assert_eq!((data, &subs["kept:a"]["recovered"]), (vec![1, 2, 3], &json!(true)));
    // More than is kept was missed.
    assert_eq!(
        (&subs["kept:b"]["was_recovering"], &subs["kept:b"]["offset"]),
        (&json!(true), &json!(9))
    );
    assert_eq!((subs["kept:b"].get("recovered"), subs["kept:b"].get("publications")), (None, None));
    assert_eq!(subs["kept:c"].get("was_recovering"), None);
    assert_eq!(subs.as_object().unwrap().len(), 3);
}

#[test]
fn commands_behind_the_first_wait_for_its_reply() {
    for loops in 1..=3 {
        let mut world = world(&setup(loops, 3), full_settings());
        let claims = json!({ "sub": "ann", "channels": ["kept:a", "kept:b", "kept:c"] });
        let mut own = Member::open(&mut world, 0);
        let mut connect = with_token(&claims);
        connect["id"] = 1.into();
        let frame = format!(
            "{connect}\n{}\n{}",
            json!({ "id": 2, "subscribe": { "channel": "kept:d" } }),
            json!({ "id": 3, "publish": { "channel": "kept:a", "data": 1 } }),
        );
        own.client.send_frame(TEXT, frame.as_bytes());
        own.client.send_frame(TEXT, b"{\"id\":4,\"publish\":{\"channel\":\"kept:a\",\"data\":2}}");
        let messages = own.messages(&mut world);
        assert!(messages[0]["connect"]["client"].is_string(), "{messages:?}");
        let mut ids: Vec<_> = messages.iter().filter_map(|own| own["id"].as_u64()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(data_of(&messages, "kept:a"), [1, 2]);
        assert_eq!(world.counter("memory_refusals"), 0);
    }
}

#[test]
fn a_connection_with_what_cannot_be_given_is_refused() {
    let mut narrow = full_settings();
    (narrow.limits.connection_channels_max, narrow.limits.channels_max) = (3, 2);
    let mut world = world(&setup(1, 4), narrow);
    for (names, code) in
        [(json!(["a", "nowhere:x"]), 102), (json!(["a", "b", "c"]), 106), (json!(["a", "é"]), 107)]
    {
        let mut own = Member::open(&mut world, 0);
        let claims = json!({ "sub": "ann", "channels": names });
        let reply = own.ask(&mut world, with_token(&claims));
        assert_eq!(reply["error"]["code"], code, "{reply}");
        own.assert_closed_by(&mut world, "{\"id\":9,\"presence\":{\"channel\":\"a\"}}", 3501);
        assert_eq!(world.counter("channel_members_now"), 0);
    }
    for (claims, code) in [
        (json!({ "sub": "ann", "channels": ["a", "b", "c", "d"] }), 3505),
        (json!({ "sub": "ann", "channels": "a" }), 3500),
        (json!({ "sub": "ann", "channels": [""] }), 3501),
        (json!({ "sub": "ann", "channel": "a" }), 3500),
    ] {
        let own = Member::open(&mut world, 0);
        let mut command = with_token(&claims);
        command["id"] = 1.into();
        own.assert_closed_by(&mut world, &command.to_string(), code);
    }
    assert_eq!(world.journal.open_count(), 0);
}

#[test]
fn a_token_without_a_user_is_anonymous_unless_that_is_forbidden() {
    let mut forbidden = full_settings();
    forbidden.allow_anonymous = false;
    let world_of = |settings| world(&setup(1, 5), settings);
    let mut allowed = world_of(forbidden.clone());
    let mut own = Member::open(&mut allowed, 0);
    let reply = own.ask(&mut allowed, with_token(&json!({ "channels": ["told:x"] })));
    assert!(reply["connect"]["subs"]["told:x"].is_object(), "{reply}");
    forbidden.disallow_anonymous_tokens = true;
    let mut refused = world_of(forbidden);
    let own = Member::open(&mut refused, 0);
    own.assert_closed_by(&mut refused, "{\"id\":1,\"connect\":{\"token\":\"{}\"}}", 3507);
}

#[test]
fn each_user_has_its_own_channel_where_that_is_on() {
    let mut personal = full_settings();
    personal.personal_namespace = Some("kept".to_owned());
    let mut world = world(&setup(2, 6), personal);
    let mut own = Member::open(&mut world, 0);
    let reply = own.ask(&mut world, with_token(&json!({ "sub": "ann" })));
    assert_eq!(reply["connect"]["subs"]["kept:#ann"]["recoverable"], true);
    publish(&mut world, "kept:#ann", 5);
    assert_eq!(data_of(&own.messages(&mut world), "kept:#ann"), [5]);
    let mut anonymous = Member::open(&mut world, 1);
    let reply = anonymous.ask(&mut world, json!({ "connect": {} }));
    assert_eq!(reply["connect"].get("subs"), None);
}

#[test]
fn a_backend_subscribes_all_connections_of_a_user() {
    let mut world = world(&setup(2, 7), full_settings());
    let mut members: Vec<Member> = (0..2).map(|own| Member::open(&mut world, own)).collect();
    for own in &mut members {
        own.ask(&mut world, with_token(&json!({ "sub": "ann" })));
    }
    let mut other = Member::open(&mut world, 0);
    other.ask(&mut world, with_token(&json!({ "sub": "bob" })));
    for data in 1..=3 {
        publish(&mut world, "kept:a", data);
    }
    let question = subscribe_question("ann", "kept:a");
    assert_eq!(ask_all(&mut world, 2, &question), ChannelAnswer::Done);
    // Who is there already is left alone.
    assert_eq!(ask_all(&mut world, 2, &question), ChannelAnswer::Done);
    publish(&mut world, "kept:a", 4);
    for own in &mut members {
        let messages = own.messages(&mut world);
        let push = &messages[0]["push"];
        assert_eq!((&push["channel"], &push["subscribe"]["offset"]), (&json!("kept:a"), &json!(3)));
        assert_eq!((messages.len(), data_of(&messages, "kept:a")), (2, vec![4]));
    }
    assert!(other.messages(&mut world).is_empty());
    for (channel, error) in [("nowhere:x", ErrorCode::UnknownChannel), ("", ErrorCode::BadRequest)]
    {
        let question = subscribe_question("ann", channel);
        assert_eq!(ask_all(&mut world, 2, &question), ChannelAnswer::Failed(error));
    }
    let (user, channel) = (Arc::from("ann"), None);
    let question = ChannelQuestion::Unsubscribe { user, channel, client: None };
    ask_all(&mut world, 2, &question);
    for own in &mut members {
        let messages = own.messages(&mut world);
        assert_eq!(messages[0]["push"]["unsubscribe"]["code"], 2000);
    }
    assert_eq!(world.counter("channel_members_now"), 0);
}

#[test]
fn a_backend_says_from_where_on_and_with_what_options() {
    let mut world = world(&setup(3, 8), full_settings());
    for data in 1..=4 {
        publish(&mut world, "kept:a", data);
    }
    let mut own = Member::open(&mut world, 1);
    own.ask(&mut world, with_token(&json!({ "sub": "ann" })));
    let question = ChannelQuestion::Subscribe {
        user: "ann".into(),
        channel: "kept:a".into(),
        client: None,
        recover: Some((2, NamedEpoch::Any)),
        options: Box::new(SubscriptionOptions {
            data: Some(b"[1]".as_slice().into()),
            overrides: Overrides { presence: Some(true), ..Overrides::default() },
            ..SubscriptionOptions::default()
        }),
    };
    ask_all(&mut world, 3, &question);
    let messages = own.messages(&mut world);
    let subscribed = &messages[0]["push"]["subscribe"];
    assert_eq!((&subscribed["offset"], &subscribed["data"]), (&json!(2), &json!([1])));
    assert_eq!((subscribed.get("publications"), &subscribed["recovered"]), (None, &json!(true)));
    assert_eq!(data_of(&messages, "kept:a"), [3, 4]);
    publish(&mut world, "kept:a", 5);
    assert_eq!(data_of(&own.messages(&mut world), "kept:a"), [5]);
}

#[test]
fn options_of_one_member_are_not_those_of_others() {
    let mut world = world(&setup(2, 9), full_settings());
    let claims = |user: &str, own: Value| json!({ "sub": user, "subs": { "told:x": own } });
    let off =
        json!({ "override": { "presence": { "value": false }, "join_leave": { "value": false } } });
    let listens = json!({ "override": { "force_push_join_leave": { "value": true } } });
    let mut ann = Member::open(&mut world, 0);
    ann.ask(&mut world, with_token(&claims("ann", listens)));
    let mut hidden = Member::open(&mut world, 1);
    hidden.ask(&mut world, with_token(&claims("hidden", off)));
    let mut bob = Member::open(&mut world, 1);
    bob.ask(&mut world, with_token(&claims("bob", json!({}))));
    let stats = ann.ask(&mut world, json!({ "presence_stats": { "channel": "told:x" } }));
    assert_eq!(stats["presence_stats"], json!({ "num_clients": 2, "num_users": 2 }));
    hidden.client.connection.reset();
    bob.client.connection.reset();
    let messages = ann.messages(&mut world);
    let left = messages.iter().filter_map(|own| own["push"].get("leave"));
    let left: Vec<&Value> = left.map(|own| &own["info"]["user"]).collect();
    assert_eq!(left, [&json!("bob")]);
}

#[test]
fn a_backend_renews_connections_or_ends_them() {
    let mut renewed = full_settings();
    renewed.times.expired_close_ms = 1000;
    let mut world = world(&setup(2, 10), renewed);
    let now_s = world.wall_ms() / 1000;
    let mut own = Member::open(&mut world, 0);
    own.ask(&mut world, with_token(&json!({ "sub": "ann", "exp": now_s + 2 })));
    let refresh = |lasts| ChannelQuestion::Refresh {
        user: "ann".into(),
        client: None,
        lasts,
        info: Some(b"[1]".as_slice().into()),
    };
    let date = WallTime((now_s + 9) * 1000);
    ask_all(&mut world, 2, &refresh(Lasting::Until(date)));
    let messages = own.messages(&mut world);
    let push = &messages[0]["push"];
    assert_eq!((push.get("channel"), &push["refresh"]["expires"]), (None, &json!(true)));
    assert!(push["refresh"]["ttl"].as_u64().is_some_and(|ttl| (5..=9).contains(&ttl)));
    world.pass(5000);
    assert!(own.messages(&mut world).is_empty() && own.close().is_none());
    ask_all(&mut world, 2, &refresh(Lasting::Unlimited));
    assert_eq!(own.messages(&mut world), [json!({ "push": { "refresh": {} } })]);
    world.pass(8000);
    assert!(own.messages(&mut world).is_empty() && own.close().is_none());
    ask_all(&mut world, 2, &refresh(Lasting::Over));
    world.exchange(&mut own.client);
    assert_eq!(own.close(), Some((3005, "connection expired".to_owned())));
}

#[test]
fn a_subscription_of_the_server_that_expires_ends_the_connection() {
    let mut short = full_settings();
    short.times.expired_close_ms = 1000;
    let mut world = world(&setup(2, 11), short);
    let mut own = Member::open(&mut world, 0);
    own.ask(&mut world, with_token(&json!({ "sub": "ann" })));
    let expires_at = Some(WallTime(world.wall_ms() + 2000));
    let question = ChannelQuestion::Subscribe {
        user: "ann".into(),
        channel: "plain".into(),
        client: None,
        recover: None,
        options: Box::new(SubscriptionOptions { expires_at, ..SubscriptionOptions::default() }),
    };
    ask_all(&mut world, 2, &question);
    // Nothing that the client could do renews it.
    assert_eq!(own.messages(&mut world)[0]["push"]["subscribe"], json!({}));
    world.pass(4000);
    world.exchange(&mut own.client);
    assert_eq!(own.close().map(|own| own.0), Some(3006));
}

#[test]
fn a_token_with_other_channels_is_for_another_connection() {
    let mut world = world(&setup(1, 12), full_settings());
    let exp = world.wall_ms() / 1000 + 60;
    let claims = |names: Value| json!({ "sub": "ann", "exp": exp, "channels": names });
    let mut own = Member::open(&mut world, 0);
    own.ask(&mut world, with_token(&claims(json!(["b", "a"]))));
    let refresh = |names| json!({ "refresh": { "token": claims(names).to_string() } });
    let reply = own.ask(&mut world, refresh(json!(["a", "b"])));
    assert_eq!(reply["refresh"]["expires"], true, "{reply}");
    let mut other = refresh(json!(["a"]));
    other["id"] = 9.into();
    own.assert_closed_by(&mut world, &other.to_string(), 3010);
}
