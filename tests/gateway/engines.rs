//! Several gateways with one engine: what is published on one reaches the members of all, and a client finds
//! what it has missed wherever it comes back.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::clients::curl;
use crate::gateway::Gateway;
use crate::member::Member;
use crate::redis_server::RedisServer;
use crate::wait::{eventually, until};

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
    fn a_server_that_stands_still_is_an_outage() {
        let Some(nats) = NatsServer::start() else { return };
        let engine = nats_engine(&nats) + UNTIL_IT_IS_AWAY;
        let outages =
            an_outage_is_told_and_leaves_no_hole(&engine, || nats.pause(), || nats.resume());
        assert_ne!(outages, 0);
    }
}
