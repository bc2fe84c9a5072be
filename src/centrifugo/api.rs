//! What backends ask for over HTTP: a method and a body of JSON each, or several of both in a batch.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::decode::{is_json, without_newlines};
use super::subscription::{SubscriptionFields, SubscriptionOptions, date_of, json_of};
use crate::channels::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::timer::WallTime;

/// What a backend asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiCall {
    /// To publish to these channels; whether to each by itself, as one is answered otherwise than several.
    Publish(Vec<String>, ApiPublish, bool),
    /// Who is in this channel.
    Presence(String),
    /// How many are in this channel.
    PresenceStats(String),
    /// What was published.
    History(ApiHistory),
    /// To forget what was published to this channel.
    HistoryRemove(String),
    /// The channels with members whose names fit; an empty pattern fits all.
    Channels(String),
    /// What the gateway is.
    Info,
    /// To subscribe connections of a user.
    Subscribe(ApiSubscribe),
    /// To renew or to end connections of a user.
    Refresh(ApiRefresh),
    /// To end subscriptions of a user.
    Unsubscribe(ApiUnsubscribe),
    /// To end connections of a user.
    Disconnect(ApiDisconnect),
    /// A call of the backend that answers those of clients.
    Rpc(ApiRpc),
}

/// What is published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiPublish {
    /// JSON, or other bytes.
    pub data: Vec<u8>,
    /// Whether it is other bytes.
    pub is_binary: bool,
    /// Words for filters and programs, by their names.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// With the same key it is published once in five minutes; empty for none.
    pub idempotency_key: String,
    /// Whether it is not to be kept.
    pub skip_history: bool,
}

/// What of a history is wanted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiHistory {
    /// The channel.
    pub channel: String,
    /// Publications at most: 0 to know the position only, below 0 for all.
    pub limit: i32,
    /// Behind or before which.
    pub since: Option<ApiPosition>,
    /// Whether from the latest downwards.
    pub reverse: bool,
}

/// A position as a backend writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiPosition {
    /// The offset.
    pub offset: u64,
    /// The epoch; empty for any.
    pub epoch: String,
}

/// Subscriptions that are to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiSubscribe {
    /// Whose.
    pub user: String,
    /// The channel.
    pub channel: String,
    /// The one connection; empty for all of the user.
    pub client: String,
    /// The one session; connections by WebSocket have none.
    pub session: String,
    /// Behind which publications are wanted.
    pub recover_since: Option<ApiPosition>,
    /// What the subscriptions have.
    pub options: SubscriptionOptions,
}

/// Connections that are to be renewed or to end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiRefresh {
    /// Whose.
    pub user: String,
    /// The one connection; empty for all of the user.
    pub client: String,
    /// The one session; connections by WebSocket have none.
    pub session: String,
    /// Whether they end now.
    pub expired: bool,
    /// Until when they last; `None` without an end.
    pub expire_at: Option<WallTime>,
    /// What others are told of them, as JSON in one line; `None` to leave it.
    pub info: Option<Arc<[u8]>>,
}

/// Subscriptions that are to end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiUnsubscribe {
    /// Whose.
    pub user: String,
    /// The channel; empty for all.
    pub channel: String,
    /// The one connection; empty for all of the user.
    pub client: String,
    /// The one session; connections by WebSocket have none.
    pub session: String,
}

/// Connections that are to end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiDisconnect {
    /// Whose.
    pub user: String,
    /// The one connection; empty for all of the user.
    pub client: String,
    /// The one session; connections by WebSocket have none.
    pub session: String,
    /// Connections that stay.
    pub whitelist: Vec<String>,
    /// How they end; `None` for code 3503.
    pub disconnect: Option<ApiClose>,
}

/// The code and the reason of a close frame.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiClose {
    /// From 3000 to 4999.
    pub code: u16,
    /// At most 123 bytes, not empty and no JSON, as clients read it otherwise.
    pub reason: String,
}

/// A call of the backend that answers those of clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiRpc {
    /// Which call.
    pub method: String,
    /// What it is given, as JSON in one line.
    pub params: Option<String>,
}

/// Why a request is no call.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadCall {
    /// The body is not JSON, or not of that shape.
    #[error("the body is not the JSON that this method takes")]
    Json,
    /// A field that must be there is missing or makes no sense.
    #[error("a field is missing or makes no sense")]
    Field,
    /// There is no such method.
    #[error("there is no such method")]
    Method,
}

/// A method and its body.
pub type BatchCall = (String, Box<RawValue>);

/// Calls of one batch.
pub const BATCH_MAX: usize = 1000;
/// Channels of one broadcast.
pub const BROADCAST_MAX: usize = 1000;

/// Reads the body of a call.
///
/// # Errors
/// [`BadCall`].
pub fn parse_call(method: &str, body: &[u8]) -> Result<ApiCall, BadCall> {
    let channel = || channel_of(body);
    Ok(match method {
        "publish" | "broadcast" => publish_of(body, method == "broadcast")?,
        "presence" => ApiCall::Presence(channel()?),
        "presence_stats" => ApiCall::PresenceStats(channel()?),
        "history" => {
            let own: ApiHistory = read(body)?;
            present(&own.channel)?;
            ApiCall::History(own)
        }
        "history_remove" => ApiCall::HistoryRemove(channel()?),
        "channels" => {
            let ChannelsFields { pattern } = read(body)?;
            ApiCall::Channels(pattern)
        }
        "info" => {
            let _: serde_json::Map<String, serde_json::Value> = read(body)?;
            ApiCall::Info
        }
        "unsubscribe" => {
            let own: ApiUnsubscribe = read(body)?;
            names_connections(&own.user, &own.client)?;
            ApiCall::Unsubscribe(own)
        }
        "disconnect" => disconnect_of(body)?,
        "subscribe" => subscribe_of(body)?,
        "refresh" => refresh_of(body)?,
        "rpc" => rpc_of(body)?,
        _ => return Err(BadCall::Method),
    })
}

/// The methods and bodies of a batch, in their order, and whether they may be carried out at once.
///
/// # Errors
/// [`BadCall`] if it is none, or has more than [`BATCH_MAX`] calls.
pub fn parse_batch(body: &[u8]) -> Result<(Vec<BatchCall>, bool), BadCall> {
    let BatchFields { commands, parallel } = read(body)?;
    if commands.len() > BATCH_MAX {
        return Err(BadCall::Field);
    }
    let first = |own: std::collections::BTreeMap<String, Box<RawValue>>| own.into_iter().next();
    let calls = commands.into_iter().map(|own| first(own).ok_or(BadCall::Field));
    Ok((calls.collect::<Result<_, _>>()?, parallel))
}

/// The methods and bodies of a request to no method in particular: objects with `method` and `params`, one behind
/// the other, as libraries for early versions of the protocol send them.
///
/// # Errors
/// [`BadCall`] if it has none, or more than [`BATCH_MAX`] calls.
pub fn parse_commands(body: &[u8]) -> Result<Vec<BatchCall>, BadCall> {
    let commands = serde_json::Deserializer::from_slice(body).into_iter::<CommandFields>();
    let mut calls = Vec::new();
    for command in commands {
        let CommandFields { method, params } = command.map_err(|_| BadCall::Json)?;
        if calls.len() >= BATCH_MAX {
            return Err(BadCall::Field);
        }
        // A call without any has none that must be there.
        let params = params.or_else(|| RawValue::from_string("{}".to_owned()).ok());
        calls.push((method, params.ok_or(BadCall::Json)?));
    }
    if calls.is_empty() { Err(BadCall::Json) } else { Ok(calls) }
}

#[derive(Deserialize)]
struct CommandFields {
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct BatchFields {
    commands: Vec<std::collections::BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    parallel: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChannelsFields {
    pattern: String,
}

#[derive(Deserialize)]
struct PublishFields {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    b64data: Option<String>,
    #[serde(default)]
    tags: Option<std::collections::BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    skip_history: Option<bool>,
}

fn publish_of(body: &[u8], is_broadcast: bool) -> Result<ApiCall, BadCall> {
    let fields: PublishFields = read(body)?;
    let channels = if is_broadcast { fields.channels } else { vec![fields.channel] };
    if channels.is_empty() || channels.len() > BROADCAST_MAX {
        return Err(BadCall::Field);
    }
    let data = match (fields.data, fields.b64data) {
        (Some(raw), _) => without_newlines(raw.get()).into_owned().into_bytes(),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|_| BadCall::Field)?,
        (None, None) => return Err(BadCall::Field),
    };
    if data.is_empty() {
        return Err(BadCall::Field);
    }
    let is_binary = !is_json(&data);
    let idempotency_key = fields.idempotency_key.unwrap_or_default();
    if idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(BadCall::Field);
    }
    let publish = ApiPublish {
        data,
        is_binary,
        tags: fields.tags.unwrap_or_default().into_iter().collect(),
        idempotency_key,
        skip_history: fields.skip_history.unwrap_or(false),
    };
    Ok(ApiCall::Publish(channels, publish, is_broadcast))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubscribeFields {
    user: String,
    channel: String,
    client: String,
    session: String,
    recover_since: Option<ApiPosition>,
}

fn subscribe_of(body: &[u8]) -> Result<ApiCall, BadCall> {
    let SubscribeFields { user, channel, client, session, recover_since } = read(body)?;
    present(&channel)?;
    names_connections(&user, &client)?;
    // Read apart, as raw JSON is not found again in fields that are flattened.
    let options: SubscriptionFields = read(body)?;
    let options = options.try_into().map_err(|_| BadCall::Field)?;
    Ok(ApiCall::Subscribe(ApiSubscribe { user, channel, client, session, recover_since, options }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefreshFields {
    user: String,
    client: String,
    session: String,
    expired: bool,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
}

fn refresh_of(body: &[u8]) -> Result<ApiCall, BadCall> {
    let RefreshFields { user, client, session, expired, expire_at, info, b64info } = read(body)?;
    names_connections(&user, &client)?;
    let info = json_of(info.as_deref(), b64info.as_deref()).map_err(|_| BadCall::Field)?;
    let expire_at = date_of(expire_at);
    Ok(ApiCall::Refresh(ApiRefresh { user, client, session, expired, expire_at, info }))
}

fn disconnect_of(body: &[u8]) -> Result<ApiCall, BadCall> {
    let own: ApiDisconnect = read(body)?;
    names_connections(&own.user, &own.client)?;
    if let Some(ApiClose { code, reason }) = &own.disconnect {
        let is_text = !reason.is_empty() && !is_json(reason.as_bytes()) && reason.len() <= 123;
        if !(3000..=4999).contains(code) || !is_text {
            return Err(BadCall::Field);
        }
    }
    Ok(ApiCall::Disconnect(own))
}

fn rpc_of(body: &[u8]) -> Result<ApiCall, BadCall> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Fields {
        method: String,
        params: Option<Box<RawValue>>,
    }
    let Fields { method, params } = read(body)?;
    present(&method)?;
    let params = params.map(|own| without_newlines(own.get()).into_owned());
    Ok(ApiCall::Rpc(ApiRpc { method, params }))
}

fn channel_of(body: &[u8]) -> Result<String, BadCall> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Fields {
        channel: String,
    }
    let Fields { channel } = read(body)?;
    present(&channel)?;
    Ok(channel)
}

/// Whether a call says whose connections it means. Those without a user have to be named one by one, or a call
/// that lacks the field would mean all of them.
fn names_connections(user: &str, client: &str) -> Result<(), BadCall> {
    if user.is_empty() { present(client) } else { Ok(()) }
}

fn present(text: &str) -> Result<(), BadCall> {
    if text.is_empty() { Err(BadCall::Field) } else { Ok(()) }
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, BadCall> {
    serde_json::from_slice(body).map_err(|_| BadCall::Json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::{Deserializer, Error, Visitor, value};
    use serde::forward_to_deserialize_any;
    use serde_json::Value;

    use super::*;

    /// Takes down which fields a type asks for.
    struct Names<'n>(&'n mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
            Err(value::Error::custom("only names"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, value::Error> {
            self.0.extend(fields);
            Self(self.0).deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn names_of<T: for<'de> Deserialize<'de>>() -> Vec<&'static str> {
        let mut names = Vec::new();
        assert!(T::deserialize(Names(&mut names)).is_err());
        assert!(!names.is_empty());
        names
    }

    #[test]
    fn the_description_names_every_field_that_is_read() {
        let description: Value =
            serde_json::from_str(include_str!("../control/api/openapi.json")).unwrap();
        let properties = |method: &str| {
            let path = format!(
                "/paths/~1api~1{method}/post/requestBody/content/application~1json/schema/properties"
            );
            description.pointer(&path).and_then(Value::as_object).unwrap().clone()
        };
        let subscribe = [names_of::<SubscribeFields>(), names_of::<SubscriptionFields>()].concat();
        for (methods, names) in [
            (&["publish", "broadcast"][..], names_of::<PublishFields>()),
            (&["subscribe"], subscribe),
            (&["unsubscribe"], names_of::<ApiUnsubscribe>()),
            (&["disconnect"], names_of::<ApiDisconnect>()),
            (&["refresh"], names_of::<RefreshFields>()),
            (&["history"], names_of::<ApiHistory>()),
            (&["channels"], names_of::<ChannelsFields>()),
            (&["batch"], names_of::<BatchFields>()),
        ] {
            let described: Vec<String> =
                methods.iter().flat_map(|method| properties(method)).map(|own| own.0).collect();
            for name in names {
                assert!(described.iter().any(|own| own == name), "{methods:?}: {name}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>, text in "\\{(\"(channel|data|channels)\":[0-9\"\\[\\]a,]{0,6},?){0,3}\\}") {
            for method in [
                "publish", "broadcast", "history", "disconnect", "batch", "info", "subscribe",
                "refresh", "unsubscribe",
            ] {
                for body in [&body[..], text.as_bytes()] {
                    let _ = (parse_call(method, body), parse_batch(body), parse_commands(body));
                }
            }
        }
    }

    #[test]
    fn calls_have_these_bodies() {
        let publish = |body: &str| parse_call("publish", body.as_bytes());
        let wanted = ApiPublish { data: b"{\"a\": 1}".to_vec(), ..ApiPublish::default() };
        let call = Ok(ApiCall::Publish(vec!["x".to_owned()], wanted.clone(), false));
        assert_eq!(publish("{\"channel\":\"x\",\"data\":{\"a\":\n 1}}"), call);
        let encoded = STANDARD.encode("{\"a\": 1}");
        assert_eq!(publish(&format!("{{\"channel\":\"x\",\"b64data\":\"{encoded}\"}}")), call);
        assert_eq!(publish("{\"channel\":\"x\"}"), Err(BadCall::Field));
        assert_eq!(publish("{\"channel\":\"x\",\"b64data\":\"e30\"}"), Err(BadCall::Field));
        assert_eq!(publish("{\"channel\":\"x\",\"b64data\":\"\"}"), Err(BadCall::Field));
        let Ok(ApiCall::Publish(_, binary, _)) =
            publish("{\"channel\":\"x\",\"b64data\":\"/wA=\"}")
        else {
            panic!("it may be any bytes")
        };
        assert_eq!((&binary.data[..], binary.is_binary), (&[0xFF, 0][..], true));
        assert_eq!(publish("no"), Err(BadCall::Json));
        let broadcast =
            parse_call("broadcast", b"{\"channels\":[\"x\",\"y\"],\"data\":{\"a\": 1}}");
        let both = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(broadcast, Ok(ApiCall::Publish(both, wanted, true)));
        assert_eq!(parse_call("presence", b"{}"), Err(BadCall::Field));
        assert_eq!(parse_call("nothing", b"{}"), Err(BadCall::Method));
        assert_eq!(parse_call("rpc", b"{}"), Err(BadCall::Field));
        let rpc = ApiRpc { method: "x".to_owned(), params: Some("[1]".to_owned()) };
        let found = parse_call("rpc", b"{\"method\":\"x\",\"params\":[1]}");
        assert_eq!(found, Ok(ApiCall::Rpc(rpc)));
    }

    #[test]
    fn a_close_is_one_that_clients_read_as_it_is_meant() {
        let close = |code: u16, reason: &str| {
            let body = format!(
                "{{\"user\":\"a\",\"disconnect\":{{\"code\":{code},\"reason\":{reason:?}}}}}"
            );
            parse_call("disconnect", body.as_bytes()).is_ok()
        };
        assert!(close(4000, "moved") && close(3503, "x"));
        assert!(!close(1000, "moved") && !close(5000, "moved"));
        assert!(!close(4000, "") && !close(4000, "123"));
    }

    #[test]
    fn a_subscription_has_the_options_that_stand_beside_it() {
        let body = r#"{"user":"ann","channel":"x","client":"c","info":{"a":1},"expire_at":7,
            "recover_since":{"offset":3,"epoch":"e"},"override":{"presence":{"value":true}}}"#;
        let overrides = crate::channels::Overrides { presence: Some(true), ..Default::default() };
        let wanted = ApiSubscribe {
            user: "ann".to_owned(),
            channel: "x".to_owned(),
            client: "c".to_owned(),
            session: String::new(),
            recover_since: Some(ApiPosition { offset: 3, epoch: "e".to_owned() }),
            options: SubscriptionOptions {
                info: Some(br#"{"a":1}"#.as_slice().into()),
                expires_at: Some(WallTime(7000)),
                overrides,
                ..SubscriptionOptions::default()
            },
        };
        let call = |body: &str| parse_call("subscribe", body.as_bytes());
        assert_eq!(call(body), Ok(ApiCall::Subscribe(wanted)));
        assert_eq!(call(r#"{"user":"ann"}"#), Err(BadCall::Field));
        assert_eq!(call(r#"{"user":"a","channel":"x","b64info":"%"}"#), Err(BadCall::Field));
        assert_eq!(call(r#"{"user":"a","channel":"x","override":7}"#), Err(BadCall::Json));
    }

    #[test]
    fn a_connection_is_renewed_or_ends() {
        let call = |body: &str| parse_call("refresh", body.as_bytes());
        let wanted = ApiRefresh {
            user: "ann".to_owned(),
            expire_at: Some(WallTime(9000)),
            info: Some(b"[1]".as_slice().into()),
            ..ApiRefresh::default()
        };
        let body = r#"{"user":"ann","expire_at":9,"info":[1]}"#;
        assert_eq!(call(body), Ok(ApiCall::Refresh(wanted)));
        let client = "c".to_owned();
        let over = ApiRefresh { expired: true, client, ..ApiRefresh::default() };
        let body = r#"{"expired":true,"expire_at":0,"client":"c"}"#;
        assert_eq!(call(body), Ok(ApiCall::Refresh(over)));
    }

    #[test]
    fn a_call_says_whose_connections_it_means() {
        for method in ["subscribe", "unsubscribe", "disconnect", "refresh"] {
            let call = |whose: &str| {
                parse_call(method, format!("{{\"channel\":\"x\"{whose}}}").as_bytes())
            };
            assert_eq!(call(""), Err(BadCall::Field), "{method}");
            assert_eq!(call(",\"user\":\"\""), Err(BadCall::Field), "{method}");
            assert!(call(",\"user\":\"\",\"client\":\"c\"").is_ok(), "{method}");
            assert!(call(",\"user\":\"ann\"").is_ok(), "{method}");
        }
    }

    #[test]
    fn a_batch_is_a_list_of_calls() {
        let batch = b"{\"commands\":[{\"publish\":{\"channel\":\"x\"}},{\"info\":{}}]}";
        let (calls, parallel) = parse_batch(batch).unwrap();
        assert!(!parallel);
        let calls: Vec<_> = calls.iter().map(|(method, body)| (&**method, body.get())).collect();
        assert_eq!(calls, [("publish", "{\"channel\":\"x\"}"), ("info", "{}")]);
        assert!(parse_batch(b"{\"commands\":[],\"parallel\":true}").unwrap().1);
        assert!(parse_batch(b"{\"commands\":[{}]}").is_err());
        assert!(parse_batch(b"{}").is_err());
    }

    #[test]
    fn commands_stand_one_behind_the_other() {
        let body =
            b"{\"method\":\"info\"}\n{\"params\": {\"channel\":\"a\"},\"method\":\"x\",\"id\":1}";
        let calls = parse_commands(body).unwrap();
        let calls: Vec<_> = calls.iter().map(|own| (&*own.0, own.1.get())).collect();
        assert_eq!(calls, [("info", "{}"), ("x", "{\"channel\":\"a\"}")]);
        for body in ["", " \n", "{", "[]", "{}", "{\"method\":1}", "{\"method\":\"info\"} x"] {
            assert_eq!(parse_commands(body.as_bytes()).err(), Some(BadCall::Json), "{body}");
        }
        let many = "{\"method\":\"info\"}".repeat(BATCH_MAX + 1);
        assert_eq!(parse_commands(many.as_bytes()).err(), Some(BadCall::Field));
    }
}
