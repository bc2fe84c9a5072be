//! Every code of the tables in `docs/channels.md` against the real process: what has to be done to meet it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::channels_client::{ChannelsClient, KEY, Received, call};
use crate::clients::below_root;
use crate::gateway::Gateway;
use crate::port::reserved_port;
use crate::wait::until;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Codes that the gateway has for backends and for what cannot be brought about from outside, and why.
const NOT_PROVOKED: [(u16, &str); 5] = [
    (101, "an error of backends; the gateway lets no client in that it would answer so"),
    (3004, "the kernel has random bytes"),
    (3011, "an end by backends"),
    (
        3013,
        "a client is not read while its first command is answered, so a read brings less than is held",
    ),
    (3504, "limits of connections refuse the upgrade"),
];

/// HMAC (RFC 2104) with SHA-256, whose blocks have 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        key.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([&padded(0x36), message].concat());
    Sha256::digest([&padded(0x5C), &*inner].concat()).to_vec()
}

fn token(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(hmac(SECRET, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A date this number of seconds from now.
#[expect(clippy::disallowed_methods, reason = "tokens expire by the real clock")]
fn date_in(seconds: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs() + seconds
}

/// What expires soon, but not before it was used: does something with a longer and a longer life until that
/// succeeds.
fn with_short_life<T>(mut attempt: impl FnMut(u64) -> Option<T>) -> T {
    [2, 4, 8, 16, 32, 64].into_iter().find_map(&mut attempt).expect("it is used before it expires")
}

fn gateway(connect_proxy: u16, ping_ms: u64, stale_ms: u64) -> Gateway {
    let secret = str::from_utf8(SECRET).unwrap();
    let open = "allow_subscribe_for_client = true\nallow_publish_for_client = true\n\
                allow_history_for_client = true\n";
    Gateway::with_config(&format!(
        r#"
        loops = 2
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [socket]
        send_buffer_bytes = 65536
        [[upstream]]
        name = "nothing"
        servers = ["127.0.0.1:{connect_proxy}"]
        [[channels.proxy]]
        name = "nothing"
        upstream = "nothing"
        path = "/*"
        timeout_ms = 100
        [[channels.rpc]]
        method = "known"
        proxy = "nothing"
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        backlog_messages_max = 8
        [[identity]]
        name = "users"
        kind = "jwt"
        leeway_ms = 0
        exp_required = false
        [[identity.keys]]
        algorithm = "HS256"
        secret = "{secret}"
        [channels]
        tokens = "users"
        subscription_tokens = "users"
        disallow_anonymous_tokens = true
        connection_channels_max = 2
        expired_close_ms = 500
        ping_ms = {ping_ms}
        pong_ms = {pong_ms}
        stale_ms = {stale_ms}
        [[channels.namespace]]
        {open}
        [[channels.namespace]]
        name = "kept"
        history_size = 10
        history_ttl_s = 3600
        {open}
        [[channels.namespace]]
        name = "late"
        history_size = 10000
        history_ttl_s = 3600
        force_recovery = true
        slow_policy = "keep_latest"
        {open}
        [[channels.namespace]]
        name = "rare"
        publications_per_s = 1
        publications_burst = 1
        {open}
        [[channels.namespace]]
        name = "closed"
        "#,
        pong_ms = ping_ms / 2,
    ))
}

/// A test in progress: what was met so far.
struct Codes {
    gateway: Gateway,
    met: BTreeSet<u16>,
}

impl Codes {
    /// A client with this user.
    fn client(&self) -> ChannelsClient {
        ChannelsClient::connected(
            &self.gateway,
            json!({ "token": token(&json!({ "sub": "ann" })) }),
        )
    }

    fn meet(&mut self, code: u16, found: &Value) {
        assert_eq!(found["code"], code, "{found}");
        self.met.insert(code);
    }

    /// A command that fails with this error.
    fn error(&mut self, client: &mut ChannelsClient, method: &str, content: Value, code: u16) {
        let reply = client.ask(u32::from(code), method, content);
        self.meet(code, &reply["error"]);
    }

    /// A first command that fails with this error.
    fn connect_error(&mut self, connect: Value, code: u16) {
        let mut own = ChannelsClient::open(&self.gateway);
        self.error(&mut own, "connect", connect, code);
    }

    /// The connection ends with this code, and a reason that is none of another end.
    fn closed(&mut self, mut client: ChannelsClient, code: u16) {
        let (found, reason) = client.closed();
        assert_eq!(found, code, "{reason}");
        assert!(!reason.is_empty());
        self.met.insert(code);
    }

    /// A connection whose first command has this content ends with this code.
    fn connect_closed(&mut self, connect: Value, code: u16) {
        let mut own = ChannelsClient::open(&self.gateway);
        own.command(1, "connect", connect);
        self.closed(own, code);
    }

    /// A subscription ends with this code.
    fn unsubscribed(&mut self, client: &mut ChannelsClient, code: u16) {
        loop {
            let message = client.message();
            let end = &message["push"]["unsubscribe"];
            if end.is_object() {
                return self.meet(code, end);
            }
        }
    }

    fn subscribed(&self, channel: &str) -> ChannelsClient {
        let mut own = self.client();
        let reply = own.ask(2, "subscribe", json!({ "channel": channel }));
        assert!(reply["subscribe"].is_object(), "{reply}");
        own
    }

    fn errors(&mut self) {
        let mut own = self.client();
        self.error(&mut own, "rpc", json!({ "method": "known" }), 100);
        self.error(&mut own, "subscribe", json!({ "channel": "nowhere:x" }), 102);
        self.error(&mut own, "subscribe", json!({ "channel": "closed:x" }), 103);
        self.error(&mut own, "rpc", json!({ "method": "unknown" }), 104);
        own.ask(2, "subscribe", json!({ "channel": "a" }));
        self.error(&mut own, "subscribe", json!({ "channel": "a" }), 105);
        own.ask(3, "subscribe", json!({ "channel": "b" }));
        self.error(&mut own, "subscribe", json!({ "channel": "c" }), 106);
        self.error(&mut own, "publish", json!({ "channel": "a" }), 107);
        self.error(&mut own, "presence", json!({ "channel": "a" }), 108);
        self.connect_error(json!({ "token": token(&json!({ "sub": "ann", "exp": 1 })) }), 109);
        let claims = |channel: &str, exp| json!({ "sub": "ann", "channel": channel, "exp": exp });
        let mut own = self.client();
        let valid = token(&claims("$a", date_in(3600)));
        let reply = own.ask(2, "subscribe", json!({ "channel": "$a", "token": valid }));
        assert!(reply["subscribe"].is_object(), "{reply}");
        let past = token(&claims("$a", 1));
        self.error(&mut own, "sub_refresh", json!({ "channel": "$a", "token": past }), 110);
        let publish = json!({ "channel": "rare:a", "data": 1 });
        // A machine that is busy for a second makes room for another.
        let refused = until("publications are limited", || {
            let reply = own.ask(3, "publish", publish.clone());
            reply.get("error").cloned()
        });
        self.meet(111, &refused);
        let other = json!({ "offset": 1, "epoch": "other" });
        let history = json!({ "channel": "kept:a", "limit": 1, "since": other });
        self.error(&mut own, "history", history, 112);
    }

    fn ends_of_subscriptions(&mut self) {
        let mut own = self.subscribed("a");
        call(&self.gateway, "unsubscribe", &json!({ "user": "ann", "channel": "a" }));
        self.unsubscribed(&mut own, 2000);
        let mut own = with_short_life(|seconds| {
            let mut own = self.client();
            let exp = date_in(seconds);
            let claims = json!({ "sub": "ann", "channel": "$b", "exp": exp });
            let request = json!({ "channel": "$b", "token": token(&claims) });
            own.ask(2, "subscribe", request)["subscribe"].is_object().then_some(own)
        });
        self.unsubscribed(&mut own, 2501);
        let mut own = self.subscribed("late:a");
        self.publish_until("late:a", "channel_members_behind");
        self.unsubscribed(&mut own, 2500);
    }

    fn publish_until(&self, channel: &str, counter: &str) {
        let body = json!({ "channel": channel, "data": "x".repeat(20_000) });
        until("what waits is too much", || {
            for _ in 0..20 {
                call(&self.gateway, "publish", &body);
            }
            (self.gateway.counter(counter) > 0).then_some(())
        });
    }

    fn ends_by_tokens(&mut self) {
        let own = with_short_life(|seconds| {
            let claims = json!({ "sub": "ann", "exp": date_in(seconds) });
            let mut own = ChannelsClient::open(&self.gateway);
            let reply = own.ask(1, "connect", json!({ "token": token(&claims) }));
            reply["connect"].is_object().then_some(own)
        });
        self.closed(own, 3005);
        let own = self.client();
        let expire_at = date_in(1);
        let request = json!({ "user": "ann", "channel": "c", "expire_at": expire_at });
        call(&self.gateway, "subscribe", &request);
        self.closed(own, 3006);
        let claims = json!({ "sub": "ann", "exp": date_in(3600) });
        let mut own = ChannelsClient::connected(&self.gateway, json!({ "token": token(&claims) }));
        let other = json!({ "sub": "ann", "channels": ["a"], "exp": date_in(3600) });
        own.command(2, "refresh", json!({ "token": token(&other) }));
        self.closed(own, 3010);
        self.connect_closed(json!({ "token": "a.b.c" }), 3500);
        let many = json!({ "sub": "ann", "channels": ["a", "b", "c"] });
        self.connect_closed(json!({ "token": token(&many) }), 3505);
        self.connect_closed(json!({ "token": token(&json!({ "sub": "" })) }), 3507);
    }

    fn ends_otherwise(&mut self) {
        let own = self.subscribed("slow");
        self.publish_until("slow", "closed_slow");
        self.closed(own, 3008);
        let mut own = self.client();
        own.send("no command");
        self.closed(own, 3501);
        let own = self.client();
        call(&self.gateway, "disconnect", &json!({ "user": "ann" }));
        self.closed(own, 3503);
        let own = self.subscribed("bytes");
        call(&self.gateway, "publish", &json!({ "channel": "bytes", "b64data": "AAH/Cg==" }));
        self.closed(own, 3506);
        let mut own = self.client();
        own.send(&json!({ "send": { "data": 1 } }).to_string());
        self.closed(own, 3508);
    }
}

/// The codes that stand in the tables.
fn documented() -> BTreeSet<u16> {
    let text = std::fs::read_to_string(below_root("docs/channels.md")).unwrap();
    let (_, tables) = text.split_once("\n## Codes\n").unwrap();
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.filter_map(|cell| cell.parse().ok()).collect()
}

#[test]
fn every_code_is_met_by_what_leads_to_it() {
    let nothing = reserved_port();
    let mut own = Codes { gateway: gateway(nothing, 0, 3_600_000), met: BTreeSet::new() };
    own.errors();
    own.ends_of_subscriptions();
    own.ends_by_tokens();
    own.ends_otherwise();

    // Clients have to answer pings there, and to connect soon.
    let pinging = gateway(nothing, 1000, 500);
    own.closed(ChannelsClient::open(&pinging), 3502);
    let pinged = with_short_life(|_| {
        let mut client = ChannelsClient::open(&pinging);
        client.command(1, "connect", json!({ "token": token(&json!({ "sub": "ann" })) }));
        // One that came too late is stale.
        matches!(client.receive(), Received::Message(_)).then_some(client)
    });
    own.closed(pinged, 3012);

    let last = own.client();
    own.gateway.signal(Signal::TERM);
    own.closed(last, 3001);

    let known: BTreeSet<u16> = NOT_PROVOKED.iter().map(|own| own.0).collect();
    assert!(known.is_disjoint(&own.met), "{:?}", own.met);
    assert_eq!(&known | &own.met, documented());
}
