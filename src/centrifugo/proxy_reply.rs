//! What a backend answers that was asked about a connection: the body of its reply, one JSON object with
//! `result`, `error` or `disconnect`.
//!
//! What makes no sense is refused whole, so that a backend that errs lets no client do more than it would.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;

use super::decode::{is_json, without_newlines};
use super::subscription::{
    ServerSubscription, SubscriptionFields, SubscriptionOptions, server_subscriptions,
};
use crate::channels::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::timer::WallTime;

/// What a backend was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// Who a client is.
    Connect,
    /// Whether it may stay.
    Refresh,
    /// Whether it may stay in a channel.
    SubRefresh,
    /// Whether it may subscribe.
    Subscribe,
    /// Whether it may publish.
    Publish,
    /// A call of the backend.
    Rpc,
}

/// What a backend says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyReply {
    /// Who the client is; `None` if the backend does not say.
    Connect(Option<Box<ConnectResult>>),
    /// Whether it may stay, or may stay in a channel; `None` if the backend does not say.
    Refresh(Option<RefreshResult>),
    /// It may subscribe.
    Subscribe(SubscriptionOptions),
    /// It may publish.
    Publish(PublishResult),
    /// What the call gives, as bytes; `None` for nothing.
    Rpc(Option<Arc<[u8]>>),
    /// The command fails.
    Error(ProxyError),
    /// The connection ends.
    Disconnect(ProxyDisconnect),
}

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectResult {
    /// The user; empty for a client without.
    pub user: Box<str>,
    /// Until when the connection may last.
    pub expires_at: Option<WallTime>,
    /// What others are told of the connection, as JSON.
    pub info: Option<Arc<[u8]>>,
    /// For the client.
    pub data: Option<Arc<[u8]>>,
    /// What the backend wants to be told of the connection with each further question, as JSON.
    pub meta: Option<Arc<[u8]>>,
    /// The channels to which it is subscribed, sorted by their names.
    pub subscriptions: Vec<ServerSubscription>,
}

/// Whether a connection or a subscription lasts longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshResult {
    /// Whether it has ended.
    pub expired: bool,
    /// Until when it may last from now on.
    pub expires_at: Option<WallTime>,
    /// What others are told, as JSON; `None` for what they were told before.
    pub info: Option<Arc<[u8]>>,
    /// As [`ConnectResult::meta`]; `None` for that of before.
    pub meta: Option<Arc<[u8]>>,
}

/// How a publication differs from what the client has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishResult {
    /// What is published in its place.
    pub data: Option<Arc<[u8]>>,
    /// Words for filters and programs, by their names.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// With the same key it is published once in five minutes.
    pub idempotency_key: Option<Box<str>>,
    /// Whether it is not kept.
    pub skip_history: bool,
}

/// An error with a code and a text of the backend's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyError {
    /// From 100 on.
    pub code: u32,
    /// At most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: Box<str>,
    /// Whether the client may try the same again.
    pub is_temporary: bool,
}

/// An end with a code and a reason of the backend's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyDisconnect {
    /// From 3000 to 4999.
    pub code: u16,
    /// At most 123 bytes, not empty and no JSON, as clients read it otherwise.
    pub reason: Box<str>,
}

/// A reply is of no use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadProxyReply {
    /// It is not JSON, or not of that shape.
    #[error("it is not the JSON that this question is answered with")]
    Json,
    /// A field has a value that makes no sense.
    #[error("its field {0} makes no sense")]
    Field(&'static str),
}

/// The longest `info` and `meta`, in bytes: they are kept as long as the connection.
pub const PROXY_INFO_BYTES_MAX: usize = 4096;
/// The longest user, in bytes.
pub const PROXY_USER_BYTES_MAX: usize = 256;
/// The longest text of an error, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// The longest reason that a close frame has room for (RFC 6455 §5.5).
const REASON_BYTES_MAX: usize = 123;
/// What a client is told where a reason is missing, or would be read as something else than a reason.
const REASON: &str = "disconnected by the backend";

/// Reads the body of a reply with a status of success.
///
/// # Errors
/// [`BadProxyReply`].
pub fn parse_proxy_reply(kind: ProxyKind, body: &[u8]) -> Result<ProxyReply, BadProxyReply> {
    match kind {
        ProxyKind::Connect => read(body, |own: ConnectFields<'_>| own.result())
            .map(|own| own.or_refusal(|result| ProxyReply::Connect(result.map(Box::new)))),
        ProxyKind::Refresh | ProxyKind::SubRefresh => {
            read(body, |own: RefreshFields<'_>| own.result())
                .map(|own| own.or_refusal(ProxyReply::Refresh))
        }
        ProxyKind::Subscribe => read(body, subscribe_result)
            .map(|own| own.or_refusal(|result| ProxyReply::Subscribe(result.unwrap_or_default()))),
        ProxyKind::Publish => read(body, |own: PublishFields<'_>| own.result())
            .map(|own| own.or_refusal(|result| ProxyReply::Publish(result.unwrap_or_default()))),
        ProxyKind::Rpc => read(body, |own: RpcFields<'_>| bytes(own.data, own.b64data, "data"))
            .map(|own| own.or_refusal(|result| ProxyReply::Rpc(result.flatten()))),
    }
}

impl ProxyReply {
    /// Bytes on the heap, as far as they may be many.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let len = |own: &Option<Arc<[u8]>>| own.as_ref().map_or(0, |own| own.len());
        match self {
            Self::Connect(own) => own.as_ref().map_or(0, |own| {
                let subscriptions = own.subscriptions.iter().map(|(name, options)| {
                    size_of::<ServerSubscription>() + name.len() + options.held_bytes()
                });
                size_of::<ConnectResult>()
                    + subscriptions.sum::<usize>()
                    + own.user.len()
                    + len(&own.info)
                    + len(&own.data)
                    + len(&own.meta)
            }),
            Self::Refresh(own) => own.as_ref().map_or(0, |own| len(&own.info) + len(&own.meta)),
            Self::Subscribe(own) => own.held_bytes(),
            Self::Publish(own) => {
                let tags = own.tags.iter().map(|(name, value)| name.len() + value.len());
                len(&own.data) + tags.sum::<usize>()
            }
            Self::Rpc(data) => len(data),
            Self::Error(own) => own.message.len(),
            Self::Disconnect(own) => own.reason.len(),
        }
    }
}

impl ProxyError {
    /// An error; `None` if its code or its text cannot be one.
    #[must_use]
    pub fn new(code: u32, message: &str, is_temporary: bool) -> Option<Self> {
        let is_code = (CODE_MIN..=CODE_MAX).contains(&code);
        let is_text = message.len() <= MESSAGE_BYTES_MAX;
        (is_code && is_text).then(|| Self { code, message: message.into(), is_temporary })
    }
}

impl ProxyDisconnect {
    /// An end; `None` if its code cannot be one. A reason that clients would take for something else gives
    /// way to one that they do not.
    #[must_use]
    pub fn new(code: u16, reason: &str) -> Option<Self> {
        let is_reason =
            !reason.is_empty() && reason.len() <= REASON_BYTES_MAX && !is_json(reason.as_bytes());
        let reason = if is_reason { reason } else { REASON };
        (3000..=4999).contains(&code).then(|| Self { code, reason: reason.into() })
    }
}

/// Clients take errors below for failures of their own.
const CODE_MIN: u32 = 100;
/// Codes of HTTP and those of applications are below.
const CODE_MAX: u32 = 99_999;

/// What a reply comes to: a result that may be missing, or a refusal.
enum Outcome<R> {
    Result(Option<R>),
    Error(ProxyError),
    Disconnect(ProxyDisconnect),
}

impl<R> Outcome<R> {
    fn or_refusal(self, reply: impl FnOnce(Option<R>) -> ProxyReply) -> ProxyReply {
        match self {
            Self::Result(result) => reply(result),
            Self::Error(error) => ProxyReply::Error(error),
            Self::Disconnect(disconnect) => ProxyReply::Disconnect(disconnect),
        }
    }
}

fn read<'b, F, R>(
    body: &'b [u8],
    result: impl FnOnce(F) -> Result<R, BadProxyReply>,
) -> Result<Outcome<R>, BadProxyReply>
where
    F: Deserialize<'b>,
{
    // A list would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(BadProxyReply::Json);
    }
    let own: ReplyFields<F> = serde_json::from_slice(body).map_err(|_| BadProxyReply::Json)?;
    if let Some(DisconnectFields { code, reason }) = own.disconnect {
        let disconnect = ProxyDisconnect::new(code, &reason);
        return disconnect.map(Outcome::Disconnect).ok_or(BadProxyReply::Field("disconnect"));
    }
    if let Some(ErrorFields { code, message, temporary }) = own.error {
        let error = ProxyError::new(code, &message, temporary);
        return error.map(Outcome::Error).ok_or(BadProxyReply::Field("error"));
    }
    own.result.map(result).transpose().map(Outcome::Result)
}

#[derive(Deserialize)]
struct ReplyFields<F> {
    #[serde(default = "Option::default")]
    result: Option<F>,
    #[serde(default)]
    error: Option<ErrorFields>,
    #[serde(default)]
    disconnect: Option<DisconnectFields>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ErrorFields {
    code: u32,
    message: String,
    temporary: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DisconnectFields {
    code: u16,
    reason: String,
}

#[derive(Deserialize)]
struct ConnectFields<'b> {
    #[serde(default)]
    user: String,
    #[serde(default)]
    expire_at: Option<u64>,
    #[serde(default, borrow)]
    info: Option<&'b RawValue>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'b RawValue>,
    #[serde(default)]
    b64data: Option<String>,
    #[serde(default, borrow)]
    meta: Option<&'b RawValue>,
    #[serde(default)]
    channels: Option<Value>,
    #[serde(default)]
    subs: Option<Value>,
}

#[derive(Deserialize)]
struct RefreshFields<'b> {
    #[serde(default)]
    expired: bool,
    #[serde(default)]
    expire_at: Option<u64>,
    #[serde(default, borrow)]
    info: Option<&'b RawValue>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default, borrow)]
    meta: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct PublishFields<'b> {
    #[serde(default, borrow)]
    data: Option<&'b RawValue>,
    #[serde(default)]
    b64data: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    idempotency_key: Option<Box<str>>,
    #[serde(default)]
    skip_history: bool,
}

#[derive(Deserialize)]
struct RpcFields<'b> {
    #[serde(default, borrow)]
    data: Option<&'b RawValue>,
    #[serde(default)]
    b64data: Option<String>,
}

impl ConnectFields<'_> {
    fn result(self) -> Result<ConnectResult, BadProxyReply> {
        let is_user = self.user.len() <= PROXY_USER_BYTES_MAX;
        if !is_user || self.user.chars().any(char::is_control) {
            return Err(BadProxyReply::Field("user"));
        }
        let named = [("channels", self.channels), ("subs", self.subs)];
        let named = named.into_iter().filter_map(|(name, own)| Some((name.to_owned(), own?)));
        let subscriptions = server_subscriptions(&named.collect::<Map<_, _>>());
        Ok(ConnectResult {
            subscriptions: subscriptions.map_err(|_| BadProxyReply::Field("subs"))?,
            user: self.user.into(),
            expires_at: date(self.expire_at)?,
            info: kept_json(self.info, self.b64info, "info")?,
            data: bytes(self.data, self.b64data, "data")?,
            meta: kept_json(self.meta, None, "meta")?,
        })
    }
}

impl RefreshFields<'_> {
    fn result(self) -> Result<RefreshResult, BadProxyReply> {
        Ok(RefreshResult {
            expired: self.expired,
            expires_at: date(self.expire_at)?,
            info: kept_json(self.info, self.b64info, "info")?,
            meta: kept_json(self.meta, None, "meta")?,
        })
    }
}

fn subscribe_result(fields: SubscriptionFields) -> Result<SubscriptionOptions, BadProxyReply> {
    fields.try_into().map_err(|_| BadProxyReply::Field("result"))
}

impl PublishFields<'_> {
    fn result(self) -> Result<PublishResult, BadProxyReply> {
        let key = self.idempotency_key.filter(|own| !own.is_empty());
        if key.as_ref().is_some_and(|own| own.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
            return Err(BadProxyReply::Field("idempotency_key"));
        }
        Ok(PublishResult {
            data: bytes(self.data, self.b64data, "data")?,
            tags: self.tags.unwrap_or_default().into_iter().collect(),
            idempotency_key: key,
            skip_history: self.skip_history,
        })
    }
}

/// A date in seconds; 0 is never.
fn date(seconds: Option<u64>) -> Result<Option<WallTime>, BadProxyReply> {
    match seconds {
        None | Some(0) => Ok(None),
        Some(seconds) => {
            let ms = seconds.checked_mul(1000).ok_or(BadProxyReply::Field("expire_at"))?;
            Ok(Some(WallTime(ms)))
        }
    }
}

/// JSON in one line, or else the bytes that stand encoded beside it.
fn bytes(
    json: Option<&RawValue>,
    encoded: Option<String>,
    name: &'static str,
) -> Result<Option<Arc<[u8]>>, BadProxyReply> {
    match (encoded.filter(|own| !own.is_empty()), json) {
        (Some(encoded), _) => {
            let decoded = STANDARD.decode(encoded).map_err(|_| BadProxyReply::Field(name))?;
            match serde_json::from_slice::<&RawValue>(&decoded) {
                Ok(json) => Ok(Some(without_newlines(json.get()).as_bytes().into())),
                Err(_) => Ok(Some(decoded.into())),
            }
        }
        (None, json) => Ok(json.map(|own| without_newlines(own.get()).as_bytes().into())),
    }
}

/// As above, of what is JSON in any case and is kept.
fn kept_json(
    json: Option<&RawValue>,
    encoded: Option<String>,
    name: &'static str,
) -> Result<Option<Arc<[u8]>>, BadProxyReply> {
    let found = bytes(json, encoded, name)?;
    match &found {
        Some(own) if own.len() > PROXY_INFO_BYTES_MAX || !is_json(own) => {
            Err(BadProxyReply::Field(name))
        }
        Some(_) | None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KINDS: [ProxyKind; 6] = [
        ProxyKind::Connect,
        ProxyKind::Refresh,
        ProxyKind::SubRefresh,
        ProxyKind::Subscribe,
        ProxyKind::Publish,
        ProxyKind::Rpc,
    ];

    fn parse(kind: ProxyKind, body: &Value) -> Result<ProxyReply, BadProxyReply> {
        parse_proxy_reply(kind, body.to_string().as_bytes())
    }

    fn json_bytes(text: &str) -> Option<Arc<[u8]>> {
        Some(text.as_bytes().into())
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(
            bytes: Vec<u8>,
            text in "\\{(\"(result|error|disconnect|user|code|data|info|meta)\":[0-9{}\\[\\]\", ]{0,6}){0,5}\\}*",
        ) {
            for kind in KINDS {
                for body in [&bytes[..], text.as_bytes()] {
                    if let Ok(reply) = parse_proxy_reply(kind, body) {
                        prop_assert!(reply.held_bytes() < 1000 + 2 * body.len());
                    }
                }
            }
        }

        /// Whatever a backend writes as a refusal, a client takes it as one.
        #[test]
        fn a_refusal_is_never_taken_for_something_else(code: u16, reason in "\\PC{0,130}|[0-9]{0,3}") {
            let body = json!({ "result": {}, "disconnect": { "code": code, "reason": reason } });
            match parse(ProxyKind::Publish, &body) {
                Ok(ProxyReply::Disconnect(own)) => {
                    prop_assert!((3000..5000).contains(&own.code) && own.code == code);
                    prop_assert!(!own.reason.is_empty() && own.reason.len() <= REASON_BYTES_MAX);
                    prop_assert!(!is_json(own.reason.as_bytes()));
                }
                other => prop_assert_eq!(other, Err(BadProxyReply::Field("disconnect"))),
            }
        }
    }

    #[test]
    fn results_have_these_fields() {
        let body = json!({ "result": { "user": "ann", "expire_at": 7, "info": { "a": 1 },
            "b64data": STANDARD.encode("\u{1}"), "meta": [1], "caps": [],
            "channels": ["a"], "subs": { "b": { "info": 1 } } } });
        let connected = ConnectResult {
            user: "ann".into(),
            expires_at: Some(WallTime(7000)),
            info: json_bytes("{\"a\":1}"),
            data: json_bytes("\u{1}"),
            meta: json_bytes("[1]"),
            subscriptions: vec![
                ("a".to_owned(), SubscriptionOptions::default()),
                (
                    "b".to_owned(),
                    SubscriptionOptions { info: json_bytes("1"), ..SubscriptionOptions::default() },
                ),
            ],
        };
        let wanted = ProxyReply::Connect(Some(Box::new(connected)));
        assert_eq!(parse(ProxyKind::Connect, &body), Ok(wanted));
        let body = json!({ "result": { "expired": true, "expire_at": 0 } });
        let refreshed = RefreshResult { expired: true, ..RefreshResult::default() };
        assert_eq!(parse(ProxyKind::Refresh, &body), Ok(ProxyReply::Refresh(Some(refreshed))));
        let body = json!({ "result": { "data": null, "skip_history": true,
            "tags": { "a": "b" }, "idempotency_key": "k" } });
        let published = PublishResult {
            tags: vec![("a".into(), "b".into())],
            idempotency_key: Some("k".into()),
            skip_history: true,
            data: None,
        };
        assert_eq!(parse(ProxyKind::Publish, &body), Ok(ProxyReply::Publish(published)));
        let body = json!({ "result": { "info": 1, "data": 2, "expire_at": 3 } });
        let subscribed = SubscriptionOptions {
            info: json_bytes("1"),
            data: json_bytes("2"),
            expires_at: Some(WallTime(3000)),
            ..SubscriptionOptions::default()
        };
        assert_eq!(parse(ProxyKind::Subscribe, &body), Ok(ProxyReply::Subscribe(subscribed)));
        let body = json!({ "result": { "data": { "year": 2026 } } });
        let data = json_bytes("{\"year\":2026}");
        assert_eq!(parse(ProxyKind::Rpc, &body), Ok(ProxyReply::Rpc(data)));
    }

    #[test]
    fn without_a_result_there_is_none() {
        for body in [json!({}), json!({ "result": null, "error": null, "disconnect": null })] {
            assert_eq!(parse(ProxyKind::Connect, &body), Ok(ProxyReply::Connect(None)));
            assert_eq!(parse(ProxyKind::SubRefresh, &body), Ok(ProxyReply::Refresh(None)));
            assert_eq!(parse(ProxyKind::Rpc, &body), Ok(ProxyReply::Rpc(None)));
            let published = ProxyReply::Publish(PublishResult::default());
            assert_eq!(parse(ProxyKind::Publish, &body), Ok(published));
        }
    }

    #[test]
    fn errors_have_codes_of_the_backend() {
        let error = json!({ "code": 1000, "message": "no", "temporary": true });
        let wanted = ProxyError { code: 1000, message: "no".into(), is_temporary: true };
        for kind in KINDS {
            let found = parse(kind, &json!({ "error": error, "result": {} }));
            assert_eq!(found, Ok(ProxyReply::Error(wanted.clone())));
            let lie = json!({ "error": { "code": 1 }, "result": {} });
            assert_eq!(parse(kind, &lie), Err(BadProxyReply::Field("error")));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_whole() {
        let long = "x".repeat(PROXY_INFO_BYTES_MAX);
        for (kind, result, field) in [
            (ProxyKind::Connect, json!({ "user": "a\nb" }), "user"),
            (ProxyKind::Connect, json!({ "user": "x".repeat(257) }), "user"),
            (ProxyKind::Connect, json!({ "info": long }), "info"),
            (ProxyKind::Connect, json!({ "meta": long }), "meta"),
            (ProxyKind::Connect, json!({ "b64data": "?" }), "data"),
            (ProxyKind::Refresh, json!({ "expire_at": u64::MAX }), "expire_at"),
            (ProxyKind::Subscribe, json!({ "b64info": STANDARD.encode("no json") }), "result"),
            (ProxyKind::Connect, json!({ "b64info": STANDARD.encode("no json") }), "info"),
            (ProxyKind::Refresh, json!({ "b64info": STANDARD.encode([0xFF]) }), "info"),
            (ProxyKind::SubRefresh, json!({ "b64info": "?" }), "info"),
            (ProxyKind::Connect, json!({ "channels": [1] }), "subs"),
            (ProxyKind::Publish, json!({ "idempotency_key": "x".repeat(1000) }), "idempotency_key"),
        ] {
            let body = json!({ "result": result });
            assert_eq!(parse(kind, &body), Err(BadProxyReply::Field(field)), "{field}");
        }
        for body in
            ["", "x", "[]", "[{}]", "null", "{\"result\":1}", "{\"result\":{\"expire_at\":-1}}"]
        {
            let found = parse_proxy_reply(ProxyKind::Connect, body.as_bytes());
            assert_eq!(found, Err(BadProxyReply::Json), "{body}");
        }
    }
}
