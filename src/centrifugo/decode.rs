//! Commands in JSON: objects, with line breaks between those of a frame.
//!
//! Unknown fields are passed over, `null` is the same as nothing, and line breaks inside an object's raw
//! values are taken out, because what is embedded elsewhere must be one line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::command::{
    Command, Connect, Data, HistoryRequest, Method, OwnSubscription, Publish, Rpc, SinceRequest,
    SubscribeRequest,
};

/// Headers that a client may name in its first command, as in a request.
pub(super) const HEADERS_MAX: usize = 64;

/// What a client has sent is no frame of commands.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a command, or a frame without any")]
pub struct BadFrame;

/// JSON in one line: a line break in JSON stands between values only, so it means nothing.
#[must_use]
pub fn without_newlines(json: &str) -> Cow<'_, str> {
    match json.contains(['\n', '\r']) {
        true => Cow::Owned(json.replace(['\n', '\r'], "")),
        false => Cow::Borrowed(json),
    }
}

/// Whether bytes are one JSON value.
#[must_use]
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// A command, whose list of channels has up to one entry more than `channels_max`.
pub(super) fn command(line: &[u8], channels_max: usize) -> Result<Command<'_>, BadFrame> {
    let line = std::str::from_utf8(line).map_err(|_| BadFrame)?;
    // A list would be taken for the fields in their order.
    if !line.trim_start().starts_with('{') {
        return Err(BadFrame);
    }
    let mut fields: CommandFields<'_> = serde_json::from_str(line).map_err(|_| BadFrame)?;
    let id = fields.id.unwrap_or(0);
    let method = match fields.connect.take() {
        Some(own) => Some(Method::Connect(connect(own, channels_max)?)),
        None => method(fields),
    };
    let method = method.unwrap_or(if id == 0 { Method::Pong } else { Method::Unknown });
    Ok(Command { id, method })
}

/// The first method in the order of the protocol, but for the very first, which is not there.
fn method(fields: CommandFields<'_>) -> Option<Method<'_>> {
    if let Some(own) = fields.subscribe {
        return Some(Method::Subscribe(own.into()));
    }
    if let Some(own) = fields.unsubscribe {
        return Some(Method::Unsubscribe(own.channel.into()));
    }
    if let Some(PublishFields { channel, data }) = fields.publish {
        return Some(Method::Publish(Publish { channel: channel.into(), data: raw(data) }));
    }
    if let Some(own) = fields.presence {
        return Some(Method::Presence(own.channel.into()));
    }
    if let Some(own) = fields.presence_stats {
        return Some(Method::PresenceStats(own.channel.into()));
    }
    if let Some(own) = fields.history {
        return Some(Method::History(own.into()));
    }
    if fields.ping.is_some() {
        // It has no handler, so it is no command (sheet of the protocol: §12).
        return None;
    }
    if fields.send.is_some() {
        return Some(Method::Send);
    }
    if let Some(RpcFields { method, data }) = fields.rpc {
        return Some(Method::Rpc(Rpc { method: method.into(), data: raw(data) }));
    }
    if let Some(own) = fields.refresh {
        return Some(Method::Refresh(own.token.into()));
    }
    let own = fields.sub_refresh?;
    Some(Method::SubRefresh(own.channel.into(), own.token.into()))
}

/// Text that is not copied unless it has escapes, and is empty where it is missing or `null`.
#[derive(Debug, Default)]
struct Text<'t>(Cow<'t, str>);

/// Text that is not copied unless it has escapes.
#[derive(Deserialize)]
struct Borrowed<'t>(#[serde(borrow)] Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Text<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Borrowed<'t>>::deserialize(deserializer)?;
        Ok(Self(text.map_or(Cow::Borrowed(""), |Borrowed(text)| text)))
    }
}

impl<'t> From<Text<'t>> for Cow<'t, str> {
    fn from(text: Text<'t>) -> Self {
        text.0
    }
}

/// A value that is its default where it is `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A raw value, `null` included: a client may publish that.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn raw(value: Option<&RawValue>) -> Option<Data<'_>> {
    value.map(|own| match without_newlines(own.get()) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

#[derive(Deserialize)]
struct CommandFields<'c> {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default, borrow)]
    connect: Option<ConnectFields<'c>>,
    #[serde(default, borrow)]
    subscribe: Option<SubscribeFields<'c>>,
    #[serde(default, borrow)]
    unsubscribe: Option<ChannelField<'c>>,
    #[serde(default, borrow)]
    publish: Option<PublishFields<'c>>,
    #[serde(default, borrow)]
    presence: Option<ChannelField<'c>>,
    #[serde(default, borrow)]
    presence_stats: Option<ChannelField<'c>>,
    #[serde(default, borrow)]
    history: Option<HistoryFields<'c>>,
    #[serde(default, borrow)]
    ping: Option<&'c RawValue>,
    #[serde(default, borrow)]
    send: Option<&'c RawValue>,
    #[serde(default, borrow)]
    rpc: Option<RpcFields<'c>>,
    #[serde(default, borrow)]
    refresh: Option<TokenField<'c>>,
    #[serde(default, borrow)]
    sub_refresh: Option<SubRefreshFields<'c>>,
}

#[derive(Deserialize)]
struct ChannelField<'c> {
    #[serde(default, borrow)]
    channel: Text<'c>,
}

#[derive(Deserialize)]
struct TokenField<'c> {
    #[serde(default, borrow)]
    token: Text<'c>,
}

#[derive(Deserialize)]
struct SubRefreshFields<'c> {
    #[serde(default, borrow)]
    channel: Text<'c>,
    #[serde(default, borrow)]
    token: Text<'c>,
}

#[derive(Deserialize)]
struct PublishFields<'c> {
    #[serde(default, borrow)]
    channel: Text<'c>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'c RawValue>,
}

#[derive(Deserialize)]
struct RpcFields<'c> {
    #[serde(default, borrow)]
    method: Text<'c>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'c RawValue>,
}

#[derive(Deserialize)]
struct ConnectFields<'c> {
    #[serde(default, borrow)]
    token: Text<'c>,
    #[serde(default, borrow)]
    data: Option<&'c RawValue>,
    #[serde(default, borrow)]
    subs: Option<&'c RawValue>,
    #[serde(default, borrow)]
    name: Text<'c>,
    #[serde(default, borrow)]
    version: Text<'c>,
    #[serde(default, borrow)]
    headers: Option<&'c RawValue>,
}

#[derive(Deserialize)]
struct OwnFields<'c> {
    #[serde(default, deserialize_with = "or_default")]
    recover: bool,
    #[serde(default, deserialize_with = "or_default")]
    offset: u64,
    #[serde(default, borrow)]
    epoch: Text<'c>,
}

#[derive(Deserialize)]
struct SubscribeFields<'c> {
    #[serde(default, borrow)]
    channel: Text<'c>,
    #[serde(default, borrow)]
    token: Text<'c>,
    #[serde(default, deserialize_with = "or_default")]
    recover: bool,
    #[serde(default, deserialize_with = "or_default")]
    offset: u64,
    #[serde(default, borrow)]
    epoch: Text<'c>,
    #[serde(default, borrow)]
    data: Option<&'c RawValue>,
    #[serde(default, deserialize_with = "or_default")]
    positioned: bool,
    #[serde(default, deserialize_with = "or_default")]
    recoverable: bool,
    #[serde(default, deserialize_with = "or_default")]
    join_leave: bool,
    #[serde(default, borrow)]
    delta: Text<'c>,
    #[serde(default, borrow)]
    tf: Option<&'c RawValue>,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: i64,
    #[serde(default, deserialize_with = "or_default")]
    flag: i64,
}

#[derive(Deserialize)]
struct HistoryFields<'c> {
    #[serde(default, borrow)]
    channel: Text<'c>,
    #[serde(default, deserialize_with = "or_default")]
    limit: i32,
    #[serde(default, borrow)]
    since: Option<SinceFields<'c>>,
    #[serde(default, deserialize_with = "or_default")]
    reverse: bool,
}

#[derive(Deserialize)]
struct SinceFields<'c> {
    #[serde(default, deserialize_with = "or_default")]
    offset: u64,
    #[serde(default, borrow)]
    epoch: Text<'c>,
}

fn connect(fields: ConnectFields<'_>, channels_max: usize) -> Result<Connect<'_>, BadFrame> {
    let ConnectFields { token, data, subs, name, version, headers } = fields;
    let subs: BTreeMap<_, OwnFields<'_>> = entries(subs, channels_max)?;
    let headers: BTreeMap<_, Text<'_>> = entries(headers, HEADERS_MAX)?;
    if headers.len() > HEADERS_MAX {
        return Err(BadFrame);
    }
    let subs = subs.into_iter().map(|(channel, own)| {
        let OwnFields { recover, offset, epoch } = own;
        (channel, OwnSubscription { recover, offset, epoch: epoch.into() })
    });
    Ok(Connect {
        token: token.into(),
        data: raw(data),
        subs: subs.collect(),
        name: name.into(),
        version: version.into(),
        headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
    })
}

/// The entries of an object, up to one more than `count_max`: it may have as many as its frame has room for, and no
/// more of them is read than shows that there are too many. They come sorted, so that what follows does not depend on
/// a hash.
fn entries<'c, T: Deserialize<'c>>(
    object: Option<&'c RawValue>,
    count_max: usize,
) -> Result<BTreeMap<Cow<'c, str>, T>, BadFrame> {
    let mut all = BTreeMap::new();
    let Some(object) = object else { return Ok(all) };
    let mut deserializer = serde_json::Deserializer::from_str(object.get());
    let first = FirstEntries { all: &mut all, count_max };
    match deserializer.deserialize_map(first) {
        Ok(()) => Ok(all),
        Err(_) if all.len() > count_max => Ok(all),
        Err(_) => Err(BadFrame),
    }
}

/// Reads the entries of an object until there are too many of them.
struct FirstEntries<'m, 'c, T> {
    all: &'m mut BTreeMap<Cow<'c, str>, T>,
    count_max: usize,
}

impl<'c, T: Deserialize<'c>> Visitor<'c> for FirstEntries<'_, 'c, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'c>>(self, mut object: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some((Borrowed(name), value)) = object.next_entry()? {
            self.all.insert(name, value);
            count += 1;
            // The same name may stand there any number of times.
            if count > self.count_max {
                return Err(A::Error::custom("too many entries"));
            }
        }
        Ok(())
    }
}

impl<'c> From<SubscribeFields<'c>> for SubscribeRequest<'c> {
    fn from(fields: SubscribeFields<'c>) -> Self {
        Self {
            channel: fields.channel.into(),
            token: fields.token.into(),
            recover: fields.recover,
            offset: fields.offset,
            epoch: fields.epoch.into(),
            data: raw(fields.data),
            positioned: fields.positioned,
            recoverable: fields.recoverable,
            join_leave: fields.join_leave,
            delta: fields.delta.into(),
            is_filtered: fields.tf.is_some(),
            kind: fields.kind,
            flag: fields.flag,
        }
    }
}

impl<'c> From<HistoryFields<'c>> for HistoryRequest<'c> {
    fn from(fields: HistoryFields<'c>) -> Self {
        let HistoryFields { channel, limit, since, reverse } = fields;
        let since =
            since.map(|SinceFields { offset, epoch }| SinceRequest { offset, epoch: epoch.into() });
        Self { channel: channel.into(), limit, since, reverse }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::centrifugo::{COMMANDS_MAX, commands};

    fn only(line: &str) -> Result<Command<'_>, BadFrame> {
        let all: Vec<_> = commands(line.as_bytes()).collect();
        assert_eq!(all.len(), 1, "{line}");
        all.into_iter().next().unwrap()
    }

    /// Any JSON, nested a little.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "\\PC{0,8}|[a\n\"\\\\]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z\n]{0,4}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The naive twin reads the command as a `Value`, field by field.
        #[test]
        fn a_command_says_what_its_json_says(
            id in 1..u32::MAX,
            (channel, token) in ("\\PC{0,12}", "[a-z.]{0,12}"),
            data in any_json(),
            (offset, epoch, recover) in (0..1_u64 << 53, "[0-9a-f]{0,8}", any::<bool>()),
            is_pretty: bool,
        ) {
            let all = [
                json!({ "id": id, "publish": { "channel": channel, "data": data } }),
                json!({ "subscribe": { "channel": channel, "token": token, "recover": recover,
                    "offset": offset, "epoch": epoch, "x": data, "flag": 1 }, "id": id }),
                json!({ "id": id, "rpc": { "method": channel, "data": data } }),
            ];
            let text = |value: &Value| match is_pretty {
                // Line breaks end a command, so none may stand in it: as carriage returns they may.
                true => serde_json::to_string_pretty(value).unwrap().replace('\n', "\r"),
                false => value.to_string(),
            };
            let frame = all.iter().map(text).collect::<Vec<_>>().join("\n");
            let found: Vec<_> = commands(frame.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert!(found.iter().all(|own| own.id == id));
            let same = |raw: &Option<Data<'_>>| {
                let raw = std::str::from_utf8(raw.as_ref().unwrap()).unwrap();
                !raw.contains(['\n', '\r']) && serde_json::from_str::<Value>(raw).unwrap() == data
            };
            let Method::Publish(own) = &found[0].method else { panic!("{found:?}") };
            prop_assert!(own.channel == channel && same(&own.data));
            let Method::Subscribe(own) = &found[1].method else { panic!("{found:?}") };
            prop_assert_eq!((&*own.channel, &*own.token, own.flag), (&*channel, &*token, 1));
            prop_assert_eq!((own.recover, own.offset, &*own.epoch), (recover, offset, &*epoch));
            let Method::Rpc(own) = &found[2].method else { panic!("{found:?}") };
            prop_assert!(own.method == channel && same(&own.data));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            bytes: Vec<u8>,
            text in "(\\{?\"(id|connect|subscribe|publish|subs|data)\":[0-9{}\\[\\]\", ]*\\}?\n?){0,4}",
        ) {
            for frame in [&bytes[..], text.as_bytes()] {
                let all: Vec<_> = commands(frame).collect();
                prop_assert!(!all.is_empty());
                prop_assert!(all.iter().rev().skip(1).all(Result::is_ok));
            }
        }
    }

    #[test]
    fn a_frame_holds_commands_with_line_breaks_between_them() {
        let ids = |frame: &str| -> Vec<Result<u32, BadFrame>> {
            commands(frame.as_bytes()).map(|own| own.map(|own| own.id)).collect()
        };
        assert_eq!(ids("{\"id\":1}\n{\"id\":2}"), [Ok(1), Ok(2)]);
        assert_eq!(ids("{\"id\":1}\n{\"id\":2}\n"), [Ok(1), Ok(2)]);
        assert_eq!(ids(""), [Err(BadFrame)]);
        assert_eq!(ids("\n"), [Err(BadFrame)]);
        assert_eq!(ids("{\"id\":1}\n\n{\"id\":2}"), [Ok(1), Err(BadFrame)]);
        assert_eq!(ids("{\"id\":1}\nno\n{\"id\":2}"), [Ok(1), Err(BadFrame)]);
        let many = vec!["{\"id\":1}"; COMMANDS_MAX + 5].join("\n");
        let found = ids(&many);
        assert_eq!((found.len(), found.last()), (COMMANDS_MAX + 1, Some(&Err(BadFrame))));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in [
            "x",
            "[]x",
            "[]",
            "[1]",
            "7",
            "null",
            "{\"id\":-1}",
            "{\"id\":4294967296}",
            "{\"id\":\"1\"}",
            "{\"id\":1,\"subscribe\":{\"channel\":5}}",
            "{\"id\":1,\"subscribe\":7}",
            "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":}}",
            "{\"id\":1} {\"id\":2}",
        ] {
            assert_eq!(only(line), Err(BadFrame), "{line}");
        }
        assert_eq!(commands(b"\xFF").next(), Some(Err(BadFrame)));
        let deep = format!("{{\"id\":1,\"rpc\":{{\"data\":{}}}}}", "[".repeat(5000));
        assert_eq!(only(&deep), Err(BadFrame));
    }

    #[test]
    fn no_more_channels_are_read_than_show_that_there_are_too_many() {
        let connect = |names: &mut dyn Iterator<Item = usize>, what: &str| {
            let all: Vec<_> = names.map(|own| format!("\"{own}\":{{\"offset\":{own}}}")).collect();
            let line = format!("{{\"id\":1,\"connect\":{{\"{what}\":{{{}}}}}}}", all.join(","));
            let Method::Connect(own) = command(line.as_bytes(), 3)?.method else {
                panic!("{line}")
            };
            Ok(own.subs.iter().map(|own| own.1.offset).collect())
        };
        assert_eq!(connect(&mut (1..4).rev(), "subs"), Ok(vec![1, 2, 3]));
        assert_eq!(connect(&mut (1..50_000), "subs"), Ok(vec![1, 2, 3, 4]));
        // None has the same name.
        assert_eq!(connect(&mut [1, 1].into_iter(), "subs"), Ok(vec![1]));
        assert_eq!(connect(&mut [1, 1, 1, 1].into_iter(), "subs"), Err(BadFrame));
        assert_eq!(connect(&mut (1..100), "other"), Ok(Vec::new()));
        let headers = |count: usize| {
            let all: Vec<_> = (0..count).map(|own| format!("\"{own}\":\"x\"")).collect();
            let line = format!("{{\"connect\":{{\"headers\":{{{}}}}}}}", all.join(","));
            command(line.as_bytes(), 3).map(|_| ())
        };
        assert_eq!(headers(HEADERS_MAX), Ok(()));
        assert_eq!(headers(HEADERS_MAX + 1), Err(BadFrame));
    }

    #[test]
    fn the_first_method_in_the_order_of_the_protocol_counts() {
        let method = |line: &'static str| only(line).unwrap().method;
        assert_eq!(method("{}"), Method::Pong);
        assert_eq!(method("{\"x\":{}}"), Method::Pong);
        assert_eq!(method("{\"id\":1}"), Method::Unknown);
        assert_eq!(method("{\"id\":1,\"ping\":{}}"), Method::Unknown);
        assert_eq!(method("{\"send\":{\"data\":1}}"), Method::Send);
        let both = "{\"id\":1,\"rpc\":{},\"presence\":{\"channel\":\"a\"}}";
        assert_eq!(method(both), Method::Presence("a".into()));
        assert_eq!(
            method("{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":null}}"),
            Method::Publish(Publish { channel: "a".into(), data: Some(b"null"[..].into()) })
        );
        assert_eq!(
            method("{\"id\":1,\"publish\":{\"channel\":null}}"),
            Method::Publish(Publish::default())
        );
    }
}
