//! Members of channels that do not read, in the real process.

use serde_json::{Value, json};

use crate::channels_client::{ChannelsClient, KEY, call};
use crate::gateway::Gateway;
use crate::wait::until;

fn gateway() -> Gateway {
    let options = "slow_policy = \"keep_latest\"\nallow_subscribe_for_anonymous = true\n";
    Gateway::with_config(&format!(
        r#"
        loops = 2
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [socket]
        send_buffer_bytes = 65536
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        backlog_messages_max = 8
        [channels]
        allow_anonymous = true
        ping_ms = 0
        [[channels.namespace]]
        {options}
        [[channels.namespace]]
        name = "kept"
        history_size = 10000
        history_ttl_s = 3600
        force_recovery = true
        {options}
        "#
    ))
}

/// Publishes numbers in both channels until this is counted; the last.
fn publish_until(gateway: &Gateway, counter: &str) -> u64 {
    let mut number = 0;
    let text = "x".repeat(20_000);
    until("what waits is too much", || {
        for _ in 0..20 {
            number += 1;
            let body = json!({ "channels": ["a", "kept:a"], "data": [number, text] });
            call(gateway, "broadcast", &body);
        }
        (gateway.counter(counter) > 0).then_some(number)
    })
}

fn number(message: &Value) -> Option<u64> {
    message["push"]["pub"]["data"][0].as_u64()
}

#[test]
fn a_slow_member_gets_the_latest_and_stays() {
    let gateway = gateway();
    let mut slow = ChannelsClient::connected(&gateway, json!({}));
    slow.ask(2, "subscribe", json!({ "channel": "a" }));
    let last = publish_until(&gateway, "channel_publications_superseded");
    let (mut latest, mut count) = (0, 0);
    while latest < last {
        let next = number(&slow.message()).unwrap();
        assert!(next > latest, "{next} behind {latest}");
        (latest, count) = (next, count + 1);
    }
    assert!(count < last, "nothing was left out");
    call(&gateway, "publish", &json!({ "channel": "a", "data": [last + 1] }));
    assert_eq!(number(&slow.message()), Some(last + 1));
    assert_eq!(gateway.counter("closed_slow"), 0);
    gateway.assert_counter("channel_publications_superseded", last - count);
}

#[test]
fn a_slow_member_by_position_is_told_and_recovers() {
    let gateway = gateway();
    let mut slow = ChannelsClient::connected(&gateway, json!({}));
    let reply = slow.ask(2, "subscribe", json!({ "channel": "kept:a" }));
    let epoch = reply["subscribe"]["epoch"].clone();
    publish_until(&gateway, "channel_members_behind");
    let mut latest = 0;
    let end = loop {
        let message = slow.message();
        match number(&message) {
            Some(next) => assert_eq!(next, latest + 1, "without a hole"),
            None => break message,
        }
        latest += 1;
    };
    let wanted = json!({ "code": 2500, "reason": "insufficient state" });
    assert_eq!(end["push"]["unsubscribe"], wanted);
    let recover = json!({
        "channel": "kept:a", "recover": true, "offset": latest, "epoch": epoch,
    });
    let reply = slow.ask(3, "subscribe", recover);
    assert_eq!(reply["subscribe"]["was_recovering"], true);
    let missed = reply["subscribe"]["publications"].as_array().map_or(0, Vec::len);
    assert!(missed > 0, "{reply}");
    assert_eq!(reply["subscribe"]["publications"][0]["data"][0], latest + 1);
    assert_eq!(gateway.counter("closed_slow"), 0);
}
