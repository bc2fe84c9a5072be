//! Replies and pushes in JSON: one object each, in one line, without what is zero or empty.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr2;

use super::code::{ErrorCode, Unsubscribed};
use super::proxy_reply::ProxyError;
use super::reply::{Connected, HistoryPage, Reply, Subscribed, Ttl};
use crate::channels::{ClientInfo, Position, Publication};

/// Writes one object after the other into a buffer of its own.
#[derive(Debug, Default)]
pub(super) struct JsonEncoder {
    buffer: Vec<u8>,
}

impl JsonEncoder {
    /// Gives a buffer back that is far larger than most need.
    pub(super) fn trim(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// The reply to the command with this ID.
    pub(super) fn reply(&mut self, id: u32, reply: &Reply<'_>) -> &[u8] {
        self.begin(id);
        match reply {
            Reply::Connected(own) => self.connected(own),
            Reply::Subscribed(own) => {
                self.text("\"subscribe\":");
                self.subscribed(own);
            }
            Reply::Unsubscribed => self.text("\"unsubscribe\":{}"),
            Reply::Published => self.text("\"publish\":{}"),
            Reply::Presence(members) => {
                self.text("\"presence\":");
                self.presence(members);
            }
            Reply::PresenceStats(clients, users) => {
                self.text("\"presence_stats\":");
                self.presence_stats(*clients, *users);
            }
            Reply::History(page) => {
                self.text("\"history\":");
                self.history(page);
            }
            Reply::Rpc(data) => {
                self.text("\"rpc\":{\"data\":");
                self.raw(data);
                self.text("}");
            }
            Reply::Refreshed(client, ttl) => {
                self.text("\"refresh\":{\"client\":");
                self.quoted(client);
                self.ttl(*ttl, ",");
                self.text("}");
            }
            Reply::SubRefreshed(ttl) => {
                self.text("\"sub_refresh\":{");
                self.ttl(*ttl, "");
                self.text("}");
            }
        }
        self.end()
    }

    /// The reply to a command that fails.
    pub(super) fn error(&mut self, id: u32, error: ErrorCode) -> &[u8] {
        self.begin(id);
        self.text("\"error\":");
        self.error_object(error);
        self.end()
    }

    /// The reply to a command that a backend refuses.
    pub(super) fn backend_error(&mut self, id: u32, error: &ProxyError) -> &[u8] {
        let ProxyError { code, message, is_temporary } = error;
        self.begin(id);
        self.text("\"error\":{\"code\":");
        self.number(code);
        self.text(",\"message\":");
        self.string(message);
        self.text(if *is_temporary { ",\"temporary\":true}" } else { "}" });
        self.end()
    }

    /// What a call of a backend leads to: the object of a reply alone, or the position of a publication.
    pub(super) fn result(&mut self, reply: &Reply<'_>, position: Option<Position>) -> &[u8] {
        self.buffer.clear();
        match reply {
            Reply::Presence(members) => self.presence(members),
            Reply::PresenceStats(clients, users) => self.presence_stats(*clients, *users),
            Reply::History(page) => self.history(page),
            Reply::Connected(_)
            | Reply::Subscribed(_)
            | Reply::Unsubscribed
            | Reply::Published
            | Reply::Rpc(_)
            | Reply::Refreshed(..)
            | Reply::SubRefreshed(_) => {
                self.position(position);
                self.enclose(0);
            }
        }
        &self.buffer
    }

    /// A publication for the members of a channel.
    pub(super) fn publication(
        &mut self,
        channel: &str,
        offset: Option<u64>,
        publication: &Publication,
    ) -> &[u8] {
        self.begin_push(channel, "pub");
        self.publication_object(offset, publication);
        self.end_push()
    }

    /// Tells the members of a channel that one has come.
    pub(super) fn join(&mut self, channel: &str, info: &ClientInfo) -> &[u8] {
        self.presence_event(channel, "join", info)
    }

    /// Tells the members of a channel that one has left.
    pub(super) fn leave(&mut self, channel: &str, info: &ClientInfo) -> &[u8] {
        self.presence_event(channel, "leave", info)
    }

    /// Tells a client that its subscription has ended.
    pub(super) fn unsubscribed(&mut self, channel: &str, why: Unsubscribed) -> &[u8] {
        self.begin_push(channel, "unsubscribe");
        self.text("{\"code\":");
        self.number(why.code());
        self.text(",\"reason\":");
        self.string(why.text());
        self.text("}");
        self.end_push()
    }

    /// Tells a client that the server has subscribed it.
    pub(super) fn server_subscribed(&mut self, channel: &str, subscribed: &Subscribed) -> &[u8] {
        self.begin_push(channel, "subscribe");
        self.subscribed(subscribed);
        self.end_push()
    }

    /// Tells a client that a backend has renewed what its connection is allowed.
    pub(super) fn refreshed(&mut self, ttl: Ttl) -> &[u8] {
        self.buffer.clear();
        self.text("{\"push\":{\"refresh\":{");
        self.ttl(ttl, "");
        self.text("}}}");
        &self.buffer
    }

    fn begin(&mut self, id: u32) {
        self.buffer.clear();
        self.text("{\"id\":");
        self.number(id);
        self.text(",");
    }

    fn end(&mut self) -> &[u8] {
        self.text("}");
        &self.buffer
    }

    fn begin_push(&mut self, channel: &str, kind: &str) {
        self.buffer.clear();
        self.text("{\"push\":{\"channel\":");
        self.string(channel);
        self.text(",\"");
        self.text(kind);
        self.text("\":");
    }

    fn end_push(&mut self) -> &[u8] {
        self.text("}}");
        &self.buffer
    }

    fn presence_event(&mut self, channel: &str, kind: &str, info: &ClientInfo) -> &[u8] {
        self.begin_push(channel, kind);
        self.text("{\"info\":");
        self.client_info(info);
        self.text("}");
        self.end_push()
    }

    fn connected(&mut self, own: &Connected<'_>) {
        self.text("\"connect\":{\"client\":");
        self.quoted(&own.client);
        self.text(",\"version\":");
        self.string(own.version);
        self.ttl(own.ttl, ",");
        if let Some(data) = own.data {
            self.text(",\"data\":");
            self.raw(data);
        }
        if !own.subs.is_empty() {
            self.text(",\"subs\":{");
            self.list(own.subs, |encoder, (channel, subscribed): &(Arc<str>, Subscribed)| {
                encoder.string(channel);
                encoder.text(":");
                encoder.subscribed(subscribed);
            });
            self.text("}");
        }
        if own.ping_s > 0 {
            self.text(",\"ping\":");
            self.number(own.ping_s);
            self.text(if own.pong { ",\"pong\":true" } else { "" });
        }
        self.text("}");
    }

    fn subscribed(&mut self, own: &Subscribed) {
        // Every field is optional, so each begins with a comma, and the first comma is taken out.
        let begin = self.buffer.len();
        self.ttl(own.ttl, ",");
        self.flag(own.is_recoverable, "recoverable");
        self.position(own.position);
        if !own.publications.is_empty() {
            self.text(",\"publications\":");
            self.publications(&own.publications);
        }
        self.flag(own.is_recovered, "recovered");
        self.flag(own.is_positioned, "positioned");
        if let Some(data) = &own.data {
            self.text(",\"data\":");
            self.buffer.extend_from_slice(data);
        }
        self.flag(own.was_recovering, "was_recovering");
        self.enclose(begin);
    }

    fn history(&mut self, page: &HistoryPage) {
        self.text("{\"publications\":");
        self.publications(&page.publications);
        self.position(Some(page.position));
        self.text("}");
    }

    fn publications(&mut self, page: &[(u64, Publication)]) {
        self.text("[");
        self.list(page, |encoder, (offset, publication)| {
            encoder.publication_object(Some(*offset), publication);
        });
        self.text("]");
    }

    fn publication_object(&mut self, offset: Option<u64>, publication: &Publication) {
        let details = publication.details.as_deref();
        match details.is_some_and(|own| own.is_binary) {
            // A backend is told of it so; clients that speak JSON are told of none such.
            true => {
                self.text("{\"b64data\":");
                self.string(&STANDARD.encode(&publication.data));
            }
            false => {
                self.text("{\"data\":");
                self.raw(&publication.data);
            }
        }
        if let Some(details) = details {
            if let Some(info) = &details.info {
                self.text(",\"info\":");
                self.client_info(info);
            }
            if !details.tags.is_empty() {
                self.text(",\"tags\":{");
                self.list(&details.tags, |encoder, (name, value)| {
                    encoder.string(name);
                    encoder.text(":");
                    encoder.string(value);
                });
                self.text("}");
            }
        }
        if let Some(offset) = offset.filter(|offset| *offset > 0) {
            self.text(",\"offset\":");
            self.number(offset);
        }
        self.text("}");
    }

    fn presence(&mut self, members: &[ClientInfo]) {
        self.text("{\"presence\":{");
        self.list(members, |encoder, info| {
            encoder.quoted(&info.client);
            encoder.text(":");
            encoder.client_info(info);
        });
        self.text("}}");
    }

    fn presence_stats(&mut self, clients: usize, users: usize) {
        self.text("{\"num_clients\":");
        self.number(clients);
        self.text(",\"num_users\":");
        self.number(users);
        self.text("}");
    }

    /// JSON, without line breaks, which mean nothing in it but would end the object that it is in: what
    /// comes as Protobuf may have some.
    fn raw(&mut self, mut json: &[u8]) {
        while let Some(at) = memchr2(b'\n', b'\r', json) {
            self.buffer.extend_from_slice(&json[..at]);
            json = &json[at + 1..];
        }
        self.buffer.extend_from_slice(json);
    }

    fn client_info(&mut self, info: &ClientInfo) {
        let ClientInfo { user, client, conn_info, chan_info } = info;
        self.text("{\"user\":");
        self.string(user);
        self.text(",\"client\":");
        self.quoted(client);
        for (name, value) in [("conn_info", conn_info), ("chan_info", chan_info)] {
            if let Some(value) = value {
                self.text(",\"");
                self.text(name);
                self.text("\":");
                self.buffer.extend_from_slice(value);
            }
        }
        self.text("}");
    }

    fn error_object(&mut self, error: ErrorCode) {
        self.text("{\"code\":");
        self.number(error.code());
        self.text(",\"message\":");
        self.string(error.text());
        self.text(if error.is_temporary() { ",\"temporary\":true}" } else { "}" });
    }

    fn position(&mut self, position: Option<Position>) {
        let Some(Position { offset, epoch }) = position else { return };
        self.text(",\"epoch\":");
        self.quoted(&epoch);
        if offset > 0 {
            self.text(",\"offset\":");
            self.number(offset);
        }
    }

    fn ttl(&mut self, Ttl(seconds): Ttl, before: &str) {
        if seconds > 0 {
            self.text(before);
            self.text("\"expires\":true,\"ttl\":");
            self.number(seconds);
        }
    }

    fn flag(&mut self, is_set: bool, name: &str) {
        if is_set {
            self.text(",\"");
            self.text(name);
            self.text("\":true");
        }
    }

    /// Makes an object of the fields behind `begin`, each of which begins with a comma.
    fn enclose(&mut self, begin: usize) {
        match self.buffer.get_mut(begin) {
            Some(comma) => *comma = b'{',
            None => self.text("{"),
        }
        self.text("}");
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            self.text(if index > 0 { "," } else { "" });
            write(self, item);
        }
    }

    fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: impl Display) {
        // Writing to a vector does not fail.
        let _ = write!(self.buffer, "{number}");
    }

    /// What has no character that JSON escapes.
    fn quoted(&mut self, value: &impl Display) {
        let _ = write!(self.buffer, "\"{value}\"");
    }

    fn string(&mut self, text: &str) {
        // Neither writing to a vector nor serializing text fails.
        let _ = serde_json::to_writer(&mut self.buffer, text);
    }
}

/// Bytes for which the buffer keeps room: few replies and pushes are longer.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::centrifugo::without_newlines;
    use crate::channels::{ClientId, Epoch, Page, PublicationDetails};

    const EPOCH: Epoch = Epoch(0xab);

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut own = JsonEncoder::default();
        let data = vec![b'1'; 1 << 20];
        assert!(own.reply(1, &Reply::Rpc(&data)).len() > 1 << 20);
        own.trim();
        assert_eq!(own.buffer.capacity(), 0);
        own.reply(1, &Reply::Published);
        own.trim();
        assert!(own.buffer.capacity() > 0);
    }

    fn value(bytes: &[u8]) -> Value {
        assert!(!bytes.contains(&b'\n'));
        serde_json::from_slice(bytes).unwrap()
    }

    fn data() -> impl Strategy<Value = Arc<[u8]>> {
        let text = "\\PC{0,8}|[\n\"\\\\]{0,4}";
        let pretty = |text: String| serde_json::to_string_pretty(&json!([text, 1])).unwrap();
        text.prop_map(move |text| without_newlines(&pretty(text)).as_bytes().into())
    }

    fn info() -> impl Strategy<Value = ClientInfo> {
        let parts = ("\\PC{0,8}", any::<[u8; 16]>(), prop::option::of(data()));
        (parts, prop::option::of(data())).prop_map(|((user, id, conn_info), chan_info)| {
            ClientInfo { user: user.into(), client: ClientId::new(id), conn_info, chan_info }
        })
    }

    fn publication() -> impl Strategy<Value = Publication> {
        let tags = prop::collection::btree_map("\\PC{0,4}", "\\PC{0,4}", 0..3);
        let details = (prop::option::of(info()), tags).prop_map(|(info, tags)| {
            let tags = tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            Arc::new(PublicationDetails { info, tags, is_binary: false })
        });
        (data(), prop::option::of(details))
            .prop_map(|(data, details)| Publication { data, details })
    }

    /// The naive twin: objects of `Value`, from which what is empty is taken out.
    fn object(fields: &[(&str, Value)]) -> Value {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Bool(own) => !own,
            Value::Number(own) => own.as_u64() == Some(0),
            Value::String(own) => own.is_empty(),
            Value::Array(own) => own.is_empty(),
            Value::Object(own) => own.is_empty(),
        };
        let kept = fields.iter().filter(|(_, value)| !is_empty(value));
        Value::Object(kept.map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn naive_info(info: &ClientInfo) -> Value {
        let raw = |own: &Option<Arc<[u8]>>| own.as_ref().map_or(Value::Null, |own| value(own));
        let mut all = json!({ "user": &*info.user, "client": info.client.to_string() });
        let more =
            object(&[("conn_info", raw(&info.conn_info)), ("chan_info", raw(&info.chan_info))]);
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    }

    fn naive_publication(offset: u64, own: &Publication) -> Value {
        let details = own.details.as_deref().cloned().unwrap_or_default();
        let tags: Map<String, Value> = details
            .tags
            .iter()
            .map(|(name, value)| (name.to_string(), (&**value).into()))
            .collect();
        object(&[
            ("data", value(&own.data)),
            ("offset", offset.into()),
            ("info", details.info.as_ref().map_or(Value::Null, naive_info)),
            ("tags", tags.into()),
        ])
    }

    fn naive_page(page: &Page) -> Value {
        page.iter().map(|(offset, own)| naive_publication(*offset, own)).collect()
    }

    fn naive_subscribed(own: &Subscribed) -> Value {
        let position = |of: fn(&Position) -> Value| own.position.as_ref().map_or(Value::Null, of);
        object(&[
            ("expires", (own.ttl.0 > 0).into()),
            ("ttl", own.ttl.0.into()),
            ("recoverable", own.is_recoverable.into()),
            ("positioned", own.is_positioned.into()),
            ("epoch", position(|own| own.epoch.to_string().into())),
            ("offset", position(|own| own.offset.into())),
            ("publications", naive_page(&own.publications)),
            ("recovered", own.is_recovered.into()),
            ("was_recovering", own.was_recovering.into()),
            ("data", own.data.as_ref().map_or(Value::Null, |own| value(own))),
        ])
    }

    fn subscribed() -> impl Strategy<Value = Subscribed> {
        let page = prop::collection::vec((1..9_u64, publication()), 0..3);
        let position =
            prop::option::of((0..9_u64).prop_map(|offset| Position { offset, epoch: EPOCH }));
        (any::<[bool; 4]>(), 0..3_u32, page, position, prop::option::of(data())).prop_map(
            |(
                [recoverable, positioned, recovering, recovered],
                ttl,
                publications,
                position,
                data,
            )| {
                Subscribed {
                    ttl: Ttl(ttl),
                    is_recoverable: recoverable,
                    is_positioned: positioned,
                    position,
                    was_recovering: recovering,
                    is_recovered: recovered,
                    publications,
                    data,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_would_write(
            id in 1..u32::MAX,
            channel in "\\PC{0,12}",
            (own, members) in (subscribed(), prop::collection::vec(info(), 0..3)),
            (offset, publication) in (prop::option::of(1..9_u64), publication()),
            (ttl, ping_s, pong) in (0..3_u32, 0..3_u32, any::<bool>()),
        ) {
            let mut encoder = JsonEncoder::default();
            let mut reply = |reply: Reply<'_>| value(encoder.reply(id, &reply));
            let subscribed = naive_subscribed(&own);
            prop_assert_eq!(
                reply(Reply::Subscribed(&own)),
                json!({ "id": id, "subscribe": &subscribed })
            );
            let presence: Map<String, Value> =
                members.iter().map(|own| (own.client.to_string(), naive_info(own))).collect();
            prop_assert_eq!(
                reply(Reply::Presence(&members)),
                json!({ "id": id, "presence": { "presence": presence } })
            );
            let position = Position { offset: 4, epoch: EPOCH };
            let page = HistoryPage { publications: own.publications.clone(), position };
            prop_assert_eq!(
                reply(Reply::History(&page)),
                json!({ "id": id, "history": { "publications": naive_page(&own.publications),
                    "offset": 4, "epoch": "000000ab" } })
            );
            let client = ClientId::new([1; 16]);
            let subs = [(channel.as_str().into(), own.clone())];
            let connected = Connected {
                client, version: "v\"", ttl: Ttl(ttl), data: None, subs: &subs, ping_s, pong,
            };
            let naive = object(&[
                ("client", client.to_string().into()),
                ("version", "v\"".into()),
                ("expires", (ttl > 0).into()),
                ("ttl", ttl.into()),
                ("subs", json!({ &channel: &subscribed })),
                ("ping", ping_s.into()),
                ("pong", (ping_s > 0 && pong).into()),
            ]);
            prop_assert_eq!(
                reply(Reply::Connected(connected)),
                json!({ "id": id, "connect": naive })
            );

            prop_assert_eq!(
                value(encoder.publication(&channel, offset, &publication)),
                json!({ "push": { "channel": &channel,
                    "pub": naive_publication(offset.unwrap_or(0), &publication) } })
            );
            for info in &members {
                prop_assert_eq!(
                    value(encoder.join(&channel, info)),
                    json!({ "push": { "channel": &channel, "join": { "info": naive_info(info) } } })
                );
            }
            prop_assert_eq!(
                value(encoder.server_subscribed(&channel, &own)),
                json!({ "push": { "channel": &channel, "subscribe": subscribed } })
            );
        }
    }

    #[test]
    fn short_replies_are_these() {
        let mut encoder = JsonEncoder::default();
        let mut reply =
            |own: Reply<'_>| String::from_utf8(encoder.reply(7, &own).to_vec()).unwrap();
        assert_eq!(reply(Reply::Unsubscribed), r#"{"id":7,"unsubscribe":{}}"#);
        assert_eq!(reply(Reply::Published), r#"{"id":7,"publish":{}}"#);
        let result = |position| {
            let mut encoder = JsonEncoder::default();
            String::from_utf8(encoder.result(&Reply::Published, position).to_vec()).unwrap()
        };
        assert_eq!(result(None), "{}");
        let position = Position { offset: 3, epoch: EPOCH };
        assert_eq!(result(Some(position)), r#"{"epoch":"000000ab","offset":3}"#);
        assert_eq!(reply(Reply::Subscribed(&Subscribed::default())), r#"{"id":7,"subscribe":{}}"#);
        assert_eq!(
            reply(Reply::PresenceStats(0, 0)),
            r#"{"id":7,"presence_stats":{"num_clients":0,"num_users":0}}"#
        );
        assert_eq!(reply(Reply::Rpc(b"[1,\n2]")), r#"{"id":7,"rpc":{"data":[1,2]}}"#);
        assert_eq!(reply(Reply::SubRefreshed(Ttl(0))), r#"{"id":7,"sub_refresh":{}}"#);
        assert_eq!(
            reply(Reply::SubRefreshed(Ttl(9))),
            r#"{"id":7,"sub_refresh":{"expires":true,"ttl":9}}"#
        );
        assert_eq!(encoder.refreshed(Ttl(0)), br#"{"push":{"refresh":{}}}"#);
        assert_eq!(encoder.refreshed(Ttl(9)), br#"{"push":{"refresh":{"expires":true,"ttl":9}}}"#);
        assert_eq!(
            encoder.error(7, ErrorCode::Internal),
            br#"{"id":7,"error":{"code":100,"message":"internal server error","temporary":true}}"#
        );
        assert_eq!(
            encoder.error(7, ErrorCode::UnknownChannel),
            br#"{"id":7,"error":{"code":102,"message":"unknown channel"}}"#
        );
        assert_eq!(
            encoder.unsubscribed("a", Unsubscribed::Server),
            br#"{"push":{"channel":"a","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#
        );
    }
}
