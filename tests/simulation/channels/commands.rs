//! What each command is answered, as the sheet of the protocol says.

use tidegate::rate::Rate;

use super::*;

fn error(code: u16) -> Value {
    let (message, is_temporary) = match code {
        102 => ("unknown channel", false),
        103 => ("permission denied", false),
        105 => ("already subscribed", false),
        106 => ("limit exceeded", false),
        107 => ("bad request", false),
        108 => ("not available", false),
        112 => ("unrecoverable position", false),
        _ => panic!("not in the table: {code}"),
    };
    match is_temporary {
        true => json!({ "code": code, "message": message, "temporary": true }),
        false => json!({ "code": code, "message": message }),
    }
}

fn publish(channel: &str, data: &Value) -> Value {
    json!({ "publish": { "channel": channel, "data": data } })
}

fn subscribe(channel: &str) -> Value {
    json!({ "subscribe": { "channel": channel, "flag": 1 } })
}

fn full_settings() -> ChannelsSettings {
    let told = |name| Namespace { presence: true, join_leave: true, ..open_namespace(name) };
    let forced = Namespace { force_push_join_leave: true, ..told("forced") };
    let users = Namespace { allow_user_limited_channels: true, ..Namespace::new("users") };
    let closed = Namespace::new("closed");
    settings([open_namespace(""), kept_namespace("kept", 5), told("told"), forced, users, closed])
}

#[test]
fn connect_and_subscribe_may_come_in_one_frame() {
    for loops in 1..=3 {
        let mut world = world(&setup(loops, 1), full_settings());
        let mut own = Member::open(&mut world, 0);
        let frame = "{\"id\":1,\"connect\":{\"name\":\"js\"}}\n\
                     {\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n\
                     {\"subscribe\":{\"channel\":\"kept:b\"},\"id\":3}\n";
        own.client.send_frame(TEXT, frame.as_bytes());
        let mut replies = own.messages(&mut world);
        assert_eq!(replies.len(), 3);
        assert!(replies[0]["connect"]["client"].as_str().is_some_and(|id| id.len() == 36));
        assert_eq!(replies[0]["connect"].get("ping"), None);
        replies.sort_by_key(|reply| reply["id"].as_u64());
        assert_eq!(replies[1], json!({ "id": 2, "subscribe": {} }));
        let kept = &replies[2]["subscribe"];
        assert_eq!((&kept["recoverable"], &kept["positioned"]), (&json!(true), &json!(true)));
        assert_eq!((kept["epoch"].as_str().unwrap().len(), kept.get("offset")), (8, None));
    }
}

#[test]
fn a_publication_reaches_all_members_with_its_offset() {
    let mut world = world(&setup(3, 2), full_settings());
    // Of both formats on each loop.
    let mut members: Vec<Member> = (0..6)
        .map(|number| Member::connected_in(&mut world, number % 3, Format::of(number / 3)))
        .collect();
    for channel in ["plain", "kept:x"] {
        for member in &mut members {
            assert!(member.ask(&mut world, subscribe(channel))["subscribe"].is_object());
        }
        for number in 1..=3 {
            let data = json!({ "n": number, "text": "a\nb" });
            let replies = {
                let id = members[0].send(publish(channel, &data));
                let all = members[0].messages(&mut world);
                assert!(all.contains(&json!({ "id": id, "publish": {} })), "{all:?}");
                all.into_iter().filter(|own| own.get("push").is_some()).collect::<Vec<_>>()
            };
            for (index, member) in members.iter_mut().enumerate() {
                let pushes = if index == 0 { replies.clone() } else { member.messages(&mut world) };
                let [push] = &pushes[..] else { panic!("{pushes:?}") };
                assert_eq!(push["push"]["channel"], channel);
                let publication = &push["push"]["pub"];
                assert_eq!(publication["data"], data);
                let offset = (channel != "plain").then_some(number);
                assert_eq!(publication.get("offset").and_then(Value::as_u64), offset);
                assert_eq!(publication["info"]["user"], "");
            }
        }
    }
}

#[test]
fn what_was_missed_is_recovered_or_told_to_be_lost() {
    for format in FORMATS {
        what_was_missed_is_recovered(format);
    }
}

fn what_was_missed_is_recovered(format: Format) {
    let mut world = world(&setup(2, 3), full_settings());
    let mut own = Member::connected(&mut world, 0);
    let first = own.ask(&mut world, subscribe("kept:x"));
    let epoch = first["subscribe"]["epoch"].as_str().unwrap().to_owned();
    for number in 1..=7 {
        own.ask(&mut world, publish("kept:x", &json!(number)));
    }
    let recover = |world: &mut World, offset: u64, epoch: &str, flag: u8| {
        let mut other = Member::connected_in(world, 1, format);
        let request = json!({ "channel": "kept:x", "recover": true, "offset": offset,
            "epoch": epoch, "flag": flag });
        other.ask(world, json!({ "subscribe": request }))
    };
    let reply = recover(&mut world, 4, &epoch, 1);
    let found = &reply["subscribe"];
    let offsets: Vec<_> = found["publications"].as_array().unwrap().iter().collect();
    assert_eq!(
        offsets.iter().map(|own| own["offset"].as_u64().unwrap()).collect::<Vec<_>>(),
        [5, 6, 7]
    );
    assert_eq!(
        offsets.iter().map(|own| own["data"].as_u64().unwrap()).collect::<Vec<_>>(),
        [5, 6, 7]
    );
    assert_eq!((&found["recovered"], &found["was_recovering"]), (&json!(true), &json!(true)));
    assert_eq!(found["offset"], 4);

    let reply = recover(&mut world, 7, "", 1);
    assert_eq!(
        (reply["subscribe"].get("publications"), &reply["subscribe"]["recovered"]),
        (None, &json!(true))
    );
    for (offset, epoch) in [(1, &*epoch), (8, &*epoch), (7, "00000000"), (7, "x")] {
        let reply = recover(&mut world, offset, epoch, 1);
        let found = &reply["subscribe"];
        assert_eq!((found.get("recovered"), &found["was_recovering"]), (None, &json!(true)));
        assert_eq!((found.get("publications"), &found["offset"]), (None, &json!(7)));
        assert_eq!(recover(&mut world, offset, epoch, 3)["error"], error(112));
    }
}

#[test]
fn history_is_read_in_pages_in_both_directions() {
    for format in FORMATS {
        history_is_read_in_pages(format);
    }
}

/// A history of publications that are large: none of its answers is, and all of them together are the whole.
#[test]
fn histories_and_recoveries_are_bounded_in_bytes() {
    const COUNT: u64 = 40;
    for format in FORMATS {
        let mut world = world(&setup(2, 4), settings([kept_namespace("kept", 100)]));
        let mut own = Member::connected_in(&mut world, 0, format);
        let data = json!("x".repeat(60_000));
        for _ in 0..COUNT {
            assert!(own.ask(&mut world, publish("kept:x", &data)).get("error").is_none());
        }
        let bytes_max = (1 << 20) + 4096;
        let (mut last, mut answers) = (0, 0);
        while last < COUNT {
            let since = json!({ "offset": last });
            let request = json!({ "channel": "kept:x", "limit": -1, "since": since });
            let reply = own.ask(&mut world, json!({ "history": request }));
            assert!(reply.to_string().len() < bytes_max, "{}", reply.to_string().len());
            assert_eq!(reply["history"]["offset"], COUNT);
            for publication in reply["history"]["publications"].as_array().unwrap() {
                last += 1;
                assert_eq!(publication["offset"], last);
            }
            answers += 1;
        }
        assert_eq!(answers, 3);
        // What has no room in one reply is not recovered in part.
        for (offset, recovered) in [(0, None), (COUNT - 15, Some(15)), (COUNT, Some(0))] {
            let mut other = Member::connected_in(&mut world, 1, format);
            let subscribe = json!({ "channel": "kept:x", "recover": true, "offset": offset });
            let reply = other.ask(&mut world, json!({ "subscribe": subscribe }));
            let reply = &reply["subscribe"];
            assert_eq!(reply["recovered"].as_bool(), recovered.map(|_| true), "from {offset}");
            let count = reply["publications"].as_array().map_or(0, Vec::len);
            assert_eq!(count, recovered.unwrap_or(0));
            let position = if recovered.is_none() { COUNT } else { offset };
            assert_eq!(reply["offset"], position, "from {offset}");
        }
    }
}

fn history_is_read_in_pages(format: Format) {
    let mut world = world(&setup(2, 4), full_settings());
    let mut own = Member::connected_in(&mut world, 0, format);
    for number in 1..=7 {
        own.ask(&mut world, publish("kept:x", &json!(number)));
    }
    let mut history = |request: Value| {
        let mut whole = json!({ "channel": "kept:x" });
        whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        own.ask(&mut world, json!({ "history": whole }))
    };
    let offsets = |reply: &Value| -> Vec<u64> {
        let page = reply["history"]["publications"].as_array().unwrap();
        page.iter().map(|own| own["offset"].as_u64().unwrap()).collect()
    };
    let position = history(json!({}));
    assert_eq!((offsets(&position), &position["history"]["offset"]), (vec![], &json!(7)));
    let epoch = position["history"]["epoch"].clone();
    assert_eq!(offsets(&history(json!({ "limit": -1 }))), [3, 4, 5, 6, 7]);
    assert_eq!(offsets(&history(json!({ "limit": 2 }))), [3, 4]);
    let since = |offset: u64| json!({ "offset": offset, "epoch": epoch });
    assert_eq!(offsets(&history(json!({ "limit": 2, "since": since(4) }))), [5, 6]);
    assert_eq!(offsets(&history(json!({ "limit": 2, "reverse": true }))), [7, 6]);
    assert_eq!(
        offsets(&history(json!({ "limit": 9, "reverse": true, "since": since(5) }))),
        [4, 3]
    );
    let no_epoch = history(json!({ "limit": 1, "since": { "offset": 1, "epoch": "x" } }));
    assert_eq!(no_epoch["error"], error(112));
    let reverse = history(json!({ "limit": 1, "reverse": true, "since": since(0) }));
    assert_eq!(reverse["error"], error(107));
}

#[test]
fn members_see_who_comes_and_goes_where_they_asked_for_it() {
    // With members of the same format, and of another.
    for number in 0..4 {
        members_see_who_comes_and_goes(Format::of(number), Format::of(number / 2));
    }
}

fn members_see_who_comes_and_goes(format: Format, others: Format) {
    for (channel, is_forced) in [("told:x", false), ("forced:x", true)] {
        let mut world = world(&setup(3, 5), full_settings());
        let mut asks = Member::connected_in(&mut world, 0, format);
        let mut silent = Member::connected_in(&mut world, 1, format);
        let mut request = subscribe(channel);
        request["subscribe"]["join_leave"] = true.into();
        asks.ask(&mut world, request);
        silent.ask(&mut world, subscribe(channel));
        let kinds = |messages: Vec<Value>| -> Vec<String> {
            let pushes = messages.iter().filter_map(|own| own["push"].as_object());
            let kinds = pushes.flat_map(|own| own.keys().filter(|key| *key != "channel"));
            kinds.cloned().collect()
        };
        let mut third = Member::connected_in(&mut world, 2, others);
        third.ask(&mut world, subscribe(channel));
        let presence = third.ask(&mut world, json!({ "presence": { "channel": channel } }));
        assert_eq!(presence["presence"]["presence"].as_object().unwrap().len(), 3);
        let stats = third.ask(&mut world, json!({ "presence_stats": { "channel": channel } }));
        assert_eq!(stats["presence_stats"], json!({ "num_clients": 3, "num_users": 1 }));
        third.client.connection.reset();
        world.settle();
        let stats = asks.ask(&mut world, json!({ "presence_stats": { "channel": channel } }));
        assert_eq!(stats["presence_stats"]["num_clients"], 2);
        asks.messages(&mut world);
        // All frames of both from the beginning, their own joins among them.
        (asks.seen, silent.seen) = (0, 0);
        assert_eq!(kinds(asks.messages(&mut world)), ["join", "join", "join", "leave"]);
        let silent = kinds(silent.messages(&mut world));
        assert_eq!(silent, if is_forced { &["join", "join", "leave"][..] } else { &[] });
    }
}

#[test]
fn errors_are_those_of_the_table() {
    for format in FORMATS {
        errors_are_those_of_the_table_in(format);
    }
}

fn errors_are_those_of_the_table_in(format: Format) {
    let mut limited = full_settings();
    limited.limits.connection_channels_max = 3;
    let mut world = world(&setup(2, 6), limited);
    let mut own = Member::connected_in(&mut world, 0, format);
    let long = "x".repeat(256);
    for (command, code) in [
        (subscribe(&long), 107),
        (subscribe("ü"), 107),
        (subscribe("nowhere:x"), 102),
        (subscribe("closed:x"), 103),
        (subscribe("$private"), 103),
        (subscribe("users:x#42"), 103),
        (json!({ "subscribe": { "channel": "a", "type": 1 } }), 108),
        (json!({ "subscribe": { "channel": "a", "tf": {} } }), 107),
        (json!({ "subscribe": { "channel": "a", "token": "x.y.z" } }), 103),
        (publish("closed:x", &json!(1)), 103),
        (publish("nowhere:x", &json!(1)), 102),
        (json!({ "publish": { "channel": "a" } }), 107),
        (json!({ "presence": { "channel": "a" } }), 108),
        (json!({ "presence_stats": { "channel": "a" } }), 108),
        (json!({ "history": { "channel": "a" } }), 108),
        (json!({ "rpc": { "method": "x" } }), 108),
        (json!({ "sub_refresh": { "channel": "a", "token": "x" } }), 103),
    ] {
        assert_eq!(own.ask(&mut world, command.clone())["error"], error(code), "{command}");
    }
    for channel in ["a", "b", "c"] {
        assert!(own.ask(&mut world, subscribe(channel))["subscribe"].is_object());
        assert_eq!(own.ask(&mut world, subscribe(channel))["error"], error(105));
    }
    assert_eq!(own.ask(&mut world, subscribe("d"))["error"], error(106));
    for _ in 0..2 {
        let reply = own.ask(&mut world, json!({ "unsubscribe": { "channel": "a" } }));
        assert_eq!(reply["unsubscribe"], json!({}));
    }
    assert!(own.ask(&mut world, subscribe("d"))["subscribe"].is_object());
}

#[test]
fn ends_are_those_of_the_table() {
    let mut world = world(&setup(2, 7), full_settings());
    for (frame, code) in [
        ("", 3501),
        ("x", 3501),
        ("{}", 3501),
        ("{\"id\":1,\"subscribe\":{\"channel\":\"a\"}}", 3501),
        ("{\"connect\":{}}", 3501),
        ("{\"id\":1,\"connect\":{\"token\":\"x.y.z\"}}", 3500),
    ] {
        let own = Member::open(&mut world, 0);
        own.assert_closed_by(&mut world, frame, code);
    }
    for (frame, code) in [
        ("{}", 3501),
        ("{\"id\":9,\"connect\":{}}", 3501),
        ("{\"id\":9,\"ping\":{}}", 3501),
        ("{\"id\":9,\"nothing\":{}}", 3501),
        ("{\"subscribe\":{\"channel\":\"a\"}}", 3501),
        ("{\"id\":9,\"subscribe\":{\"channel\":\"\"}}", 3501),
        ("{\"id\":9,\"subscribe\":{\"channel\":\"a\",\"delta\":\"x\"}}", 3501),
        ("{\"id\":9,\"unsubscribe\":{\"channel\":\"\"}}", 3501),
        ("{\"id\":9,\"publish\":{\"channel\":\"\",\"data\":1}}", 3501),
        ("{\"id\":9,\"presence\":{\"channel\":\"\"}}", 3501),
        ("{\"id\":9,\"history\":{\"channel\":\"\"}}", 3501),
        ("{\"id\":9,\"sub_refresh\":{\"channel\":\"\"}}", 3501),
        ("{\"id\":9,\"refresh\":{\"token\":\"\"}}", 3501),
        ("{\"send\":{\"data\":1}}", 3508),
    ] {
        let own = Member::connected(&mut world, 1);
        own.assert_closed_by(&mut world, frame, code);
        let mut own = Member::connected_in(&mut world, 1, Format::Protobuf);
        own.send_whole(&serde_json::from_str(frame).unwrap());
        world.exchange(&mut own.client);
        assert_eq!(own.close().map(|own| own.0), Some(code), "{frame}");
    }
    // Behind the end nothing is done.
    let mut own = Member::connected(&mut world, 0);
    let frame = "{\"id\":9,\"ping\":{}}\n{\"id\":10,\"subscribe\":{\"channel\":\"a\"}}";
    own.client.send_frame(TEXT, frame.as_bytes());
    assert!(own.messages(&mut world).is_empty());
}

#[test]
fn a_client_without_a_user_is_let_in_only_where_that_is_allowed() {
    let mut closed = full_settings();
    closed.allow_anonymous = false;
    let mut world = world(&setup(1, 8), closed);
    let own = Member::open(&mut world, 0);
    own.assert_closed_by(&mut world, "{\"id\":1,\"connect\":{}}", 3501);
}

#[test]
fn pings_are_answered_or_the_connection_ends() {
    for format in FORMATS {
        pings_are_answered(format);
    }
}

fn pings_are_answered(format: Format) {
    let ping: &[u8] = if format == Format::Json { b"{}" } else { &[0] };
    let mut pinged = full_settings();
    pinged.times =
        ChannelsTimes { ping_ms: 1000, pong_ms: 500, stale_ms: 1000, expired_close_ms: 1000 };
    let mut world = world(&setup(2, 9), pinged);
    let stale = Member::open(&mut world, 0);
    let mut own = Member::open_in(&mut world, 1, format);
    let reply = own.ask(&mut world, json!({ "connect": {} }));
    assert_eq!((&reply["connect"]["ping"], &reply["connect"]["pong"]), (&json!(1), &json!(true)));
    for round in 0..5 {
        let began = world.now();
        while own.messages(&mut world).is_empty() {
            world.pass(64);
            assert!(world.now() - began < 1500, "no ping in round {round}");
        }
        assert_eq!(own.client.payloads().last(), Some(&ping));
        // The first comes early, so that those who come together are spread.
        assert!(round == 0 || world.now() - began >= 800, "{}", world.now() - began);
        own.send_whole(&json!({}));
    }
    let mut stale = stale;
    world.exchange(&mut stale.client);
    assert_eq!(stale.close().map(|own| own.0), Some(3502));
    // The next ping is left without an answer.
    let began = world.now();
    while own.close().is_none() {
        world.pass(64);
        world.exchange(&mut own.client);
        assert!(world.now() - began < 3000, "it is not closed");
    }
    assert_eq!(own.close().map(|own| own.0), Some(3012));
    assert_eq!(world.journal.open_count(), 0);
}

#[test]
fn nothing_is_held_for_channels_without_members() {
    let mut world = world(&setup(2, 10), settings([open_namespace("")]));
    let before = world.server.pool.available();
    for round in 0..3 {
        let mut members: Vec<Member> =
            (0..20).map(|number| Member::connected(&mut world, number % 2)).collect();
        for (number, member) in members.iter_mut().enumerate() {
            member.ask(&mut world, subscribe(&format!("c{}", number % 7)));
            member.ask(&mut world, publish("c0", &json!(round)));
        }
        for member in &members {
            member.client.connection.reset();
        }
        world.settle();
        world.pass(1000);
        assert_eq!(world.journal.open_count(), 0);
        let now = ["channels_now", "channel_members_now"].map(|own| world.counter(own));
        assert_eq!(now, [0, 0]);
    }
    assert_eq!(world.counter("channel_publications"), 60);
    // What a loop leases beside is given back later.
    let after = world.server.pool.available();
    assert!(after + (512 << 10) >= before, "{before} {after}");
}

#[test]
fn members_get_the_latest_of_an_interval_and_the_history_has_all() {
    let calm = Namespace { conflate_ms: 1000, ..kept_namespace("calm", 10) };
    let mut world = world(&setup(2, 11), settings([calm]));
    let mut members: Vec<Member> =
        (0..2).map(|number| Member::connected(&mut world, number)).collect();
    for member in &mut members {
        member.ask(&mut world, subscribe("calm:x"));
    }
    let mut backend = Member::connected(&mut world, 1);
    let offsets = |member: &mut Member, world: &mut World| -> Vec<u64> {
        let pushes = member.messages(world).into_iter();
        pushes.map(|own| own["push"]["pub"]["offset"].as_u64().unwrap()).collect()
    };
    for number in 1..=5 {
        let reply = backend.ask(&mut world, publish("calm:x", &json!(number)));
        assert_eq!(reply["publish"], json!({}));
    }
    assert!(members.iter_mut().all(|own| offsets(own, &mut world) == [1]));
    // One that comes now has read all, and gets nothing of it again; the others are told at once.
    let mut late = Member::connected(&mut world, 0);
    let reply = late.ask(&mut world, subscribe("calm:x"));
    assert_eq!(reply["subscribe"]["offset"], 5);
    assert!(members.iter_mut().all(|own| offsets(own, &mut world) == [5]));
    for number in 6..=8 {
        backend.ask(&mut world, publish("calm:x", &json!(number)));
    }
    world.pass(800);
    assert!(members.iter_mut().all(|own| offsets(own, &mut world).is_empty()));
    world.pass(500);
    members.push(late);
    assert!(members.iter_mut().all(|own| offsets(own, &mut world) == [8]));
    let page = json!({ "history": { "channel": "calm:x", "limit": -1 } });
    let page = members[0].ask(&mut world, page);
    assert_eq!(page["history"]["publications"].as_array().unwrap().len(), 8);
    world.pass(3000);
    assert!(members.iter_mut().all(|own| offsets(own, &mut world).is_empty()));
}

#[test]
fn a_client_that_publishes_too_often_is_refused_for_a_while() {
    let publish_rate = Some(Rate { per_s: 2, burst: 3 });
    let limited = Namespace { publish_rate, ..open_namespace("limited") };
    let mut world = world(&setup(1, 12), settings([open_namespace(""), limited]));
    let mut own = Member::connected(&mut world, 0);
    let mut other = Member::connected(&mut world, 0);
    let command = publish("limited:x", &json!(1));
    let is_refused = |member: &mut Member, world: &mut World| {
        let reply = member.ask(world, command.clone());
        let error = json!({ "code": 111, "message": "too many requests", "temporary": true });
        reply.get("error").is_some_and(|own| *own == error)
    };
    let refused: Vec<bool> = (0..5).map(|_| is_refused(&mut own, &mut world)).collect();
    assert_eq!(refused, [false, false, false, true, true]);
    assert!(!is_refused(&mut other, &mut world), "each client has its own");
    assert!(own.ask(&mut world, publish("free", &json!(1)))["publish"].is_object());
    world.pass(1000);
    let refused: Vec<bool> = (0..3).map(|_| is_refused(&mut own, &mut world)).collect();
    assert_eq!(refused, [false, false, true]);
}

/// Who does not use channels does not pay for them, not even with a wake.
#[test]
fn loops_whose_channels_are_unused_do_not_wake() {
    let namespace = Namespace {
        history_size: 10,
        history_ttl_ms: 60_000,
        history_meta_ttl_ms: 60_000,
        ..open_namespace("")
    };
    let mut world = world(&setup(2, 1), settings([namespace]));
    world.settle();
    assert_eq!(world.server.next_wake(), None);
    let mut member = Member::connected(&mut world, 0);
    member.ask(&mut world, json!({ "subscribe": { "channel": "a" } }));
    member.ask(&mut world, json!({ "publish": { "channel": "a", "data": {} } }));
    member.client.connection.reset();
    world.settle();
    assert!(world.server.next_wake().is_some(), "the history is to be forgotten");
    world.pass(600_000);
    assert_eq!(world.server.next_wake(), None);
    // What was filed by the old time is not due at once, and what is filed now comes due.
    let mut silent = Member::open(&mut world, 1);
    world.pass(5_000);
    assert_eq!((silent.messages(&mut world).len(), silent.close()), (0, None));
    world.pass(120_000);
    silent.messages(&mut world);
    assert_eq!(silent.close().map(|own| own.0), Some(3502));
}
