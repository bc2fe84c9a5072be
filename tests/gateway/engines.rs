//! Several gateways with one engine: what is published on one reaches the members of all, and a client finds
//! what it has missed wherever it comes back.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::chat_client::ChatClient;
use crate::clients::curl;
use crate::gateway::Gateway;
use crate::member::Member;
use crate::redis_server::RedisServer;
use crate::wait::{eventually, pass, until};

const KEY: &str = "fedcba9876543210";

/// A gateway with this engine.
fn gateway(engine: &str) -> Gateway {
    let open = "allow_subscribe_for_client = true\n\
                allow_publish_for_client = true\n\
                allow_history_for_client = true\n\
                allow_presence_for_client = true\n";
    let gateway = Gateway::with_config(&format!(
        r#"
        loops = 2
        [admin]
        address = "127.0.0.1:0"
        ready_needs = ["engine"]
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        identity = ["names"]
        [[identity]]
        name = "names"
        kind = "query"
        parameter = "user"
        [[route]]
        path = "/all"
        service = "broadcast"
        [[route]]
        path = "/quick"
        service = "broadcast"
        order = "sender"
        [[route]]
        path = "/room"
        service = "room"
        logins = "one"
        [[route]]
        path = "/quick_room"
        service = "room"
        order = "sender"
        [engine]
        {engine}
        [[channels.namespace]]
        {open}
        [[channels.namespace]]
        name = "kept"
        history_size = 1000
        history_ttl_s = 3600
        force_recovery = true
        {open}
        [[channels.namespace]]
        name = "told"
        presence = true
        join_leave = true
        force_push_join_leave = true
        {open}
        "#
    ));
    gateway.logged("the engine is reached");
    gateway
}

/// So long a server stands still before it is away: longer than one that a busy machine lets wait for a core.
const UNTIL_IT_IS_AWAY: &str = "\nrequest_ms = 6000";

fn redis_engine(redis: &RedisServer) -> String {
    format!("kind = \"redis\"\nurls = [\"redis://{}\"]", redis.address())
}

fn call(api: SocketAddr, method: &str, body: &Value) -> Result<Value, Value> {
    let (url, key) = (format!("http://{api}/api/{method}"), format!("X-API-Key: {KEY}"));
    let output = curl(&["--header", &key, "--data", &body.to_string(), &url]);
    let mut reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = reply["error"].take();
    if error.is_null() { Ok(reply["result"].take()) } else { Err(error) }
}

fn publish(gateway: &Gateway, channel: &str, data: u64) -> Result<Value, Value> {
    call(gateway.api_address(), "publish", &json!({ "channel": channel, "data": data }))
}

fn know_each_other(gateways: [&Gateway; 2]) {
    for own in gateways {
        until("two gateways know each other", || {
            let nodes = call(own.api_address(), "info", &json!({})).ok()?;
            (nodes["nodes"].as_array()?.len() == 2).then_some(())
        });
    }
}

/// What is published on one gateway or another comes to the members of both, in one order.
fn members_of_two_gateways_hear_the_same(engine: &str) {
    let gateways = [gateway(engine), gateway(engine)];
    let mut members = gateways.each_ref().map(|own| Member::connect(own.address(), "bob"));
    for member in &mut members {
        member.subscribe("kept:x", None).unwrap();
        member.subscribe("open", None).unwrap();
    }
    for number in 0..50_u64 {
        let from = if number % 2 == 0 { &gateways[0] } else { &gateways[1] };
        publish(from, "kept:x", number).unwrap();
    }
    let heard =
        members.each_mut().map(|own| (0..50).map(|_| own.publication()).collect::<Vec<_>>());
    assert_eq!(heard[0], heard[1]);
    let mut data: Vec<u64> = heard[0].iter().map(|(data, _)| data.as_u64().unwrap()).collect();
    assert!(heard[0].windows(2).all(|pair| pair[0].1 < pair[1].1), "offsets rise");
    data.sort_unstable();
    assert_eq!(data, (0..50).collect::<Vec<_>>());
    // What is not kept has no place in the stream, and leaves no gap there.
    for key in ["", "once"] {
        let body = json!({
            "channel": "kept:x", "data": "now", "skip_history": true, "idempotency_key": key,
        });
        call(gateways[0].api_address(), "publish", &body).unwrap();
        for member in &mut members {
            assert_eq!(member.publication(), (json!("now"), 0));
        }
    }
    publish(&gateways[1], "kept:x", 50).unwrap();
    for member in &mut members {
        let (data, offset) = member.publication();
        assert_eq!(data, 50);
        assert!(offset > heard[0][49].1);
    }
    // Without a history too, and by a client.
    members[0].ask("publish", &json!({ "channel": "open", "data": "hi" })).unwrap();
    for member in &mut members {
        assert_eq!(member.publication(), (json!("hi"), 0));
    }
}

/// A client that moves gets what it has missed, and what comes then, without a hole and without a repeat.
fn a_client_moves_and_misses_nothing(engine: &str) {
    let [first, mut second] = [gateway(engine), gateway(engine)];
    let mut member = Member::connect(second.address(), "bob");
    let subscribed = member.subscribe("kept:x", None).unwrap();
    let epoch = subscribed["epoch"].as_str().unwrap().to_owned();
    publish(&first, "kept:x", 1).unwrap();
    let (data, offset) = member.publication();
    assert_eq!(data, 1);
    // Killed, not drained.
    second.signal(Signal::KILL);
    second.exit_status();
    for number in 2..=20 {
        publish(&first, "kept:x", number).unwrap();
    }
    let mut member = Member::connect(first.address(), "bob");
    let recovered = member.subscribe("kept:x", Some((offset, &epoch))).unwrap();
    assert_eq!(recovered["recovered"], true, "{recovered}");
    let missed = recovered["publications"].as_array().unwrap();
    let missed: Vec<&Value> = missed.iter().map(|own| &own["data"]).collect();
    assert_eq!(missed, (2..=20).collect::<Vec<u64>>());
    publish(&first, "kept:x", 21).unwrap();
    assert_eq!(member.publication().0, 21);
    let page = json!({ "channel": "kept:x", "limit": 2, "reverse": true });
    let history = member.ask("history", &page).unwrap();
    assert_eq!(history["publications"][0]["data"], 21);
    assert_eq!(history["publications"][1]["data"], 20);
}

/// Who is there, and what is done to users, is about all gateways.
fn all_gateways_answer_as_one(engine: &str) {
    let [first, second] = [gateway(engine), gateway(engine)];
    know_each_other([&first, &second]);
    let mut members = [&first, &second].map(|own| Member::connect(own.address(), "bob"));
    members[0].subscribe("told:x", None).unwrap();
    members[1].subscribe("told:x", None).unwrap();
    // Both joins come to the first.
    for _ in 0..2 {
        let push = members[0].push().unwrap();
        assert_eq!(push["join"]["info"]["user"], "bob", "{push}");
    }
    let presence = members[0].ask("presence", &json!({ "channel": "told:x" })).unwrap();
    let presence = presence["presence"].as_object().unwrap();
    assert_eq!(presence.len(), 2);
    let stats = json!({ "num_clients": 2, "num_users": 1 });
    for own in [&first, &second] {
        let api = own.api_address();
        let channel = json!({ "channel": "told:x" });
        assert_eq!(call(api, "presence_stats", &channel), Ok(stats.clone()));
        assert_eq!(
            call(api, "presence", &channel).unwrap()["presence"].as_object().unwrap().len(),
            2
        );
        let channels = call(api, "channels", &json!({})).unwrap();
        assert_eq!(channels["channels"]["told:x"]["num_clients"], 2);
    }
    let of_bob = json!({ "user": "bob", "channel": "told:x" });
    assert_eq!(call(first.api_address(), "unsubscribe", &of_bob), Ok(json!({})));
    for member in &mut members {
        until("a subscription ends", || {
            let push = member.push().unwrap();
            (!push["unsubscribe"].is_null()).then_some(())
        });
    }
    call(second.api_address(), "disconnect", &json!({ "user": "bob" })).unwrap();
    for member in &mut members {
        until("a connection ends", || member.push().is_none().then_some(()));
    }
}

/// While the engine is away clients stay and are told so, and afterwards nothing is missing; how often it was away.
fn an_outage_is_told_and_leaves_no_hole(
    engine: &str,
    away: impl FnOnce(),
    back: impl FnOnce(),
) -> u64 {
    let own = gateway(engine);
    let mut member = Member::connect(own.address(), "bob");
    let epoch = member.subscribe("kept:x", None).unwrap()["epoch"].as_str().unwrap().to_owned();
    publish(&own, "kept:x", 1).unwrap();
    let (data, offset) = member.publication();
    assert_eq!(data, 1);
    away();
    own.logged("the engine is away");
    let error = publish(&own, "kept:x", 2).unwrap_err();
    assert_eq!(error["code"], 100);
    let error = member.ask("subscribe", &json!({ "channel": "kept:y" })).unwrap_err();
    assert_eq!((&error["code"], &error["temporary"]), (&json!(100), &json!(true)));
    back();
    let published = eventually(|| publish(&own, "kept:x", 3).ok());
    assert!(published.is_some(), "it goes on");
    // It gets it, or is told that it cannot be sure and gets it when it comes again.
    until("the member goes on", || {
        let push = member.push().unwrap();
        if !push["unsubscribe"].is_null() {
            assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
            let again = until("it may subscribe again", || {
                member.subscribe("kept:x", Some((offset, &epoch))).ok()
            });
            let is_recovered = again["recovered"] == true;
            let missed = again["publications"].as_array().into_iter().flatten();
            return (!is_recovered || missed.into_iter().any(|own| own["data"] == 3)).then_some(());
        }
        (push["pub"]["data"] == 3).then_some(())
    });
    own.counter("engine_outages")
}

/// A gateway that hears the others in its topics as well.
fn hearing_gateway(engine: &str) -> Gateway {
    let own = gateway(engine);
    for path in ["/all", "/quick"] {
        own.logged(&format!("route broadcast {path}: the other gateways are heard"));
    }
    own
}

/// What is sent to all reaches the clients of both gateways once, and where there is one order in that.
fn what_is_broadcast_reaches_all_gateways(engine: &str) {
    let gateways = [hearing_gateway(engine), hearing_gateway(engine)];
    let join = |path: &str| gateways.each_ref().map(|own| ChatClient::join(own.address(), path));
    let mut all = join("/all");
    all[0].send_binary(b"\x00\xFF");
    for client in &mut all {
        assert_eq!(client.message().into_data()[..], b"\x00\xFF"[..]);
    }
    for number in 0..50 {
        for client in &mut all {
            client.send_text(&number.to_string());
        }
    }
    let heard = all.each_mut().map(|own| (0..100).map(|_| own.receive_text()).collect::<Vec<_>>());
    assert_eq!(heard[0], heard[1], "one order");
    let mut numbers: Vec<u32> = heard[0].iter().map(|own| own.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).flat_map(|own| [own, own]).collect::<Vec<_>>());
    let mut quick = join("/quick");
    for number in 0..50 {
        quick[0].send_text(&number.to_string());
    }
    for client in &mut quick {
        for number in 0..50 {
            assert_eq!(client.receive_text(), number.to_string());
        }
    }
}

/// The members of a room, as it tells a client with events. Ends when there are `count`.
fn wait_for_count(client: &mut ChatClient, count: u64) {
    until("the room has this number of members", || {
        let event = client.receive_event();
        (event["count"] == count).then_some(())
    });
}

/// The next event of this type.
fn next_of(client: &mut ChatClient, wanted: &str) -> Value {
    until("an event of a type", || {
        let event = client.receive_event();
        (event["type"] == wanted).then_some(event)
    })
}

/// Members at two gateways are in one room: they see each other come and go, and hear the same in one order.
fn a_room_is_on_all_gateways(engine: &str) {
    let [first, mut second] = [gateway(engine), gateway(engine)];
    let mut ann = ChatClient::join_with_events(first.address(), "/room?user=ann");
    wait_for_count(&mut ann, 1);
    let mut bob = ChatClient::join_with_events(second.address(), "/room?user=bob");
    assert_eq!(next_of(&mut ann, "joined"), json!({ "type": "joined", "name": "bob", "count": 2 }));
    wait_for_count(&mut bob, 2);
    for number in 0..50 {
        ann.send_event(&number.to_string());
        bob.send_event(&number.to_string());
    }
    let heard = [&mut ann, &mut bob]
        .map(|client| (0..100).map(|_| next_of(client, "message").to_string()).collect::<Vec<_>>());
    assert_eq!(heard[0], heard[1], "one order");
    for name in ["ann", "bob"] {
        let own = heard[0].iter().filter(|event| event.contains(&format!("\"{name}\"")));
        let texts: Vec<Value> = own.map(|event| serde_json::from_str(event).unwrap()).collect();
        assert!(texts.iter().map(|own| own["text"].as_str().unwrap()).eq(
            (0..50).map(|number| number.to_string()).collect::<Vec<_>>().iter().map(String::as_str)
        ));
    }
    bob.leave();
    assert_eq!(next_of(&mut ann, "left"), json!({ "type": "left", "name": "bob", "count": 1 }));
    // Those who are at a gateway that is killed leave with it.
    let bob = ChatClient::join_with_events(second.address(), "/room?user=bob");
    assert_eq!(next_of(&mut ann, "joined")["count"], 2);
    second.signal(Signal::KILL);
    second.exit_status();
    assert_eq!(next_of(&mut ann, "left"), json!({ "type": "left", "name": "bob", "count": 1 }));
    drop(bob);
}

/// Where each sender has its own order, its messages are at once with those at its gateway.
fn a_room_with_the_order_of_senders_is_on_all_gateways(engine: &str) {
    let [first, second] = [gateway(engine), gateway(engine)];
    let mut ann = ChatClient::join_with_events(first.address(), "/quick_room?user=ann");
    wait_for_count(&mut ann, 1);
    let mut bob = ChatClient::join_with_events(second.address(), "/quick_room?user=bob");
    wait_for_count(&mut ann, 2);
    wait_for_count(&mut bob, 2);
    for number in 0..50 {
        ann.send_event(&number.to_string());
    }
    for client in [&mut ann, &mut bob] {
        for number in 0..50 {
            assert_eq!(next_of(client, "message")["text"], number.to_string());
        }
    }
}

/// A name has one login on all gateways: the last.
fn a_login_replaces_that_at_another_gateway(engine: &str) {
    let gateways = [gateway(engine), gateway(engine)];
    let join = |at: usize| ChatClient::join_with_events(gateways[at].address(), "/room?user=bob");
    let mut watcher = ChatClient::join_with_events(gateways[0].address(), "/room?user=ann");
    let mut bob = join(0);
    wait_for_count(&mut watcher, 2);
    for at in [1, 0, 1, 1, 0] {
        let next = join(at);
        until("the one before is closed", || {
            let message = bob.message();
            let tungstenite::Message::Close(frame) = message else { return None };
            assert_eq!(u16::from(frame.unwrap().code), 4001);
            Some(())
        });
        bob = next;
    }
    bob.send_event("hi");
    assert_eq!(next_of(&mut watcher, "message")["from"], "bob");
    assert_eq!(next_of(&mut bob, "message")["from"], "bob");
}

/// While the engine is away each gateway has its own members, and tells those who send. Of two logins in that
/// time the later one stays.
fn a_room_outlasts_an_outage(engine: &str, away: impl FnOnce(), back: impl FnOnce()) {
    let gateways = [hearing_gateway(engine), hearing_gateway(engine)];
    let join = |at: usize, user: &str| {
        let path = format!("/room?user={user}");
        ChatClient::join_with_events(gateways[at].address(), &path)
    };
    let mut ann = join(0, "ann");
    wait_for_count(&mut ann, 1);
    let mut cid = join(1, "cid");
    wait_for_count(&mut ann, 2);
    wait_for_count(&mut cid, 2);
    let mut sender = ChatClient::join(gateways[0].address(), "/all");
    away();
    for own in &gateways {
        own.logged("the engine is away");
    }
    sender.send_text("lost");
    assert_eq!(sender.close_frame().0, 1013);
    ann.send_event("lost");
    // The others are gone for each, as nothing is heard of them. On a slow machine that comes first.
    let mut awaited = vec!["error", "left"];
    until("the sender is told, and the other is gone", || {
        let event = ann.receive_event();
        awaited.retain(|own| event["type"] != *own);
        awaited.is_empty().then_some(())
    });
    assert_eq!(next_of(&mut cid, "left")["name"], "ann");
    let mut older = join(0, "bob");
    assert_eq!(next_of(&mut ann, "joined")["name"], "bob");
    // Which is the later one is told by milliseconds of the turns in which they came. An answer to what is sent now
    // is from a turn of the other gateway that is over, so the next one begins later than that of the older login.
    cid.send_event("lost");
    next_of(&mut cid, "error");
    pass(CLOCKS_DIFFER);
    let mut newer = join(1, "bob");
    assert_eq!(next_of(&mut cid, "joined")["name"], "bob");
    back();
    until("the older login is closed", || {
        let tungstenite::Message::Close(frame) = older.message() else { return None };
        assert_eq!(u16::from(frame.unwrap().code), 4001);
        Some(())
    });
    wait_for_count(&mut ann, 3);
    wait_for_count(&mut cid, 3);
    newer.send_event("hi");
    for client in [&mut ann, &mut cid, &mut newer] {
        until("the message comes", || {
            let event = client.receive_event();
            (event["text"] == "hi").then_some(())
        });
    }
}

/// By less than this, where two gateways are on one machine: each counts whole milliseconds.
const CLOCKS_DIFFER: Duration = Duration::from_millis(5);

#[cfg(feature = "redis")]
mod redis {
    use super::*;

    #[test]
    fn members_of_two_gateways_hear_the_same() {
        let Some(redis) = RedisServer::start() else { return };
        super::members_of_two_gateways_hear_the_same(&redis_engine(&redis));
    }

    #[test]
    fn a_client_moves_and_misses_nothing() {
        let Some(redis) = RedisServer::start() else { return };
        super::a_client_moves_and_misses_nothing(&redis_engine(&redis));
    }

    #[test]
    fn all_gateways_answer_as_one() {
        let Some(redis) = RedisServer::start() else { return };
        super::all_gateways_answer_as_one(&redis_engine(&redis));
    }

    #[test]
    fn a_server_that_ends_and_comes_back_is_an_outage() {
        let Some(redis) = RedisServer::start() else { return };
        let redis = std::cell::RefCell::new(redis);
        let engine = redis_engine(&redis.borrow());
        let away = || redis.borrow_mut().stop();
        let back = || redis.borrow_mut().start_again();
        assert_eq!(an_outage_is_told_and_leaves_no_hole(&engine, away, back), 1);
    }

    /// By setting, what is published meanwhile is answered when it is made, and heard by members without a position.
    #[test]
    fn publications_wait_until_the_server_is_back() {
        let Some(mut redis) = RedisServer::start() else { return };
        let queue = "queue_bytes_max = 100000\nqueue_ms = 600000";
        let own = gateway(&format!("{}\n{queue}", redis_engine(&redis)));
        let mut member = Member::connect(own.address(), "bob");
        member.subscribe("x", None).unwrap();
        redis.stop();
        own.logged("the engine is away");
        std::thread::scope(|scope| {
            let first = scope.spawn(|| publish(&own, "x", 1));
            until("it waits", || (own.counter("engine_queued_bytes_now") > 0).then_some(()));
            let large = json!({ "channel": "x", "data": "a".repeat(100_000) });
            assert_eq!(call(own.api_address(), "publish", &large).unwrap_err()["code"], 100);
            redis.start_again();
            first.join().unwrap().unwrap();
        });
        assert_eq!(member.publication().0, 1);
        // They are counted once a second.
        until("it is counted", || {
            let is_empty = own.counter("engine_queued_bytes_now") == 0;
            (is_empty && own.counter("engine_queued") == 1).then_some(())
        });
        assert!(own.counter("engine_refused") >= 1);
    }

    #[test]
    fn what_is_broadcast_reaches_all_gateways() {
        let Some(server) = RedisServer::start() else { return };
        super::what_is_broadcast_reaches_all_gateways(&redis_engine(&server));
    }

    #[test]
    fn a_room_is_on_all_gateways() {
        let Some(server) = RedisServer::start() else { return };
        super::a_room_is_on_all_gateways(&redis_engine(&server));
    }

    #[test]
    fn a_room_with_the_order_of_senders_is_on_all_gateways() {
        let Some(server) = RedisServer::start() else { return };
        super::a_room_with_the_order_of_senders_is_on_all_gateways(&redis_engine(&server));
    }

    #[test]
    fn a_login_replaces_that_at_another_gateway() {
        let Some(server) = RedisServer::start() else { return };
        super::a_login_replaces_that_at_another_gateway(&redis_engine(&server));
    }

    #[test]
    fn a_room_outlasts_an_outage() {
        let Some(server) = RedisServer::start() else { return };
        let engine = redis_engine(&server) + UNTIL_IT_IS_AWAY;
        super::a_room_outlasts_an_outage(&engine, || server.pause(), || server.resume());
    }

    #[test]
    fn a_server_that_stands_still_is_an_outage() {
        let Some(redis) = RedisServer::start() else { return };
        let engine = redis_engine(&redis) + UNTIL_IT_IS_AWAY;
        let outages =
            an_outage_is_told_and_leaves_no_hole(&engine, || redis.pause(), || redis.resume());
        assert_ne!(outages, 0);
    }
}

#[cfg(feature = "nats")]
mod nats {
    use super::*;
    use crate::nats_server::NatsServer;
    use crate::reload::Reloaded;

    fn nats_engine(nats: &NatsServer) -> String {
        format!("kind = \"nats\"\nurls = [\"{}\"]", nats.url())
    }

    #[test]
    fn members_of_two_gateways_hear_the_same() {
        let Some(nats) = NatsServer::start() else { return };
        super::members_of_two_gateways_hear_the_same(&nats_engine(&nats));
    }

    #[test]
    fn a_client_moves_and_misses_nothing() {
        let Some(nats) = NatsServer::start() else { return };
        super::a_client_moves_and_misses_nothing(&nats_engine(&nats));
    }

    #[test]
    fn all_gateways_answer_as_one() {
        let Some(nats) = NatsServer::start() else { return };
        super::all_gateways_answer_as_one(&nats_engine(&nats));
    }

    #[test]
    fn a_server_that_ends_and_comes_back_is_an_outage() {
        let Some(nats) = NatsServer::start() else { return };
        let nats = std::cell::RefCell::new(nats);
        let engine = nats_engine(&nats.borrow());
        let away = || nats.borrow_mut().kill();
        let back = || nats.borrow_mut().start_again();
        assert_eq!(an_outage_is_told_and_leaves_no_hole(&engine, away, back), 1);
    }

    #[test]
    fn what_is_broadcast_reaches_all_gateways() {
        let Some(server) = NatsServer::start() else { return };
        super::what_is_broadcast_reaches_all_gateways(&nats_engine(&server));
    }

    #[test]
    fn a_room_is_on_all_gateways() {
        let Some(server) = NatsServer::start() else { return };
        super::a_room_is_on_all_gateways(&nats_engine(&server));
    }

    #[test]
    fn a_room_with_the_order_of_senders_is_on_all_gateways() {
        let Some(server) = NatsServer::start() else { return };
        super::a_room_with_the_order_of_senders_is_on_all_gateways(&nats_engine(&server));
    }

    #[test]
    fn a_login_replaces_that_at_another_gateway() {
        let Some(server) = NatsServer::start() else { return };
        super::a_login_replaces_that_at_another_gateway(&nats_engine(&server));
    }

    #[test]
    fn a_room_outlasts_an_outage() {
        let Some(server) = NatsServer::start() else { return };
        let engine = nats_engine(&server) + UNTIL_IT_IS_AWAY;
        super::a_room_outlasts_an_outage(&engine, || server.pause(), || server.resume());
    }

    #[test]
    fn a_server_that_stands_still_is_an_outage() {
        let Some(nats) = NatsServer::start() else { return };
        let engine = nats_engine(&nats) + UNTIL_IT_IS_AWAY;
        let outages =
            an_outage_is_told_and_leaves_no_hole(&engine, || nats.pause(), || nats.resume());
        assert_ne!(outages, 0);
    }

    /// Streams are made at the start, so a reload that needs one more is refused, and says what for.
    #[test]
    fn a_reload_that_needs_another_stream_is_refused() {
        let Some(nats) = NatsServer::start() else { return };
        let channels = "[[route]]\npath = \"/connection/websocket\"\nservice = \"channels\"\n";
        let engine = format!("[engine]\n{}\n", nats_engine(&nats));
        let namespace =
            |name: &str, more: &str| format!("[[channels.namespace]]\nname = \"{name}\"\n{more}\n");
        let kept = namespace("kept", "history_size = 10\nhistory_ttl_s = 60");
        let base = format!("{engine}{channels}");
        let mut own = Reloaded::start(&format!("{base}{kept}"));
        own.gateway.logged("the engine is reached");
        for (more, why) in [
            (kept.replace("kept", "late"), "the channels.namespace \"late\" has a history now"),
            (
                namespace("", "history_size = 10\nhistory_ttl_s = 60").replace("name = \"\"\n", ""),
                "the channels.namespace without a name has a history now",
            ),
            (
                "[[route]]\npath = \"/room\"\nservice = \"room\"\n".to_owned(),
                "a room or broadcast with order = \"room\" is new",
            ),
        ] {
            let refused = own.try_reload(&format!("{base}{kept}{more}"));
            assert!(refused.contains(why) && refused.contains("needs a restart"), "{refused}");
        }
        // What has a stream may go and come back, and what needs none may come.
        for toml in [base.clone(), format!("{base}{}{kept}", namespace("late", "presence = true"))]
        {
            let line = own.try_reload(&toml);
            assert!(line.contains("the configuration is reloaded"), "{line}");
        }
    }
}
