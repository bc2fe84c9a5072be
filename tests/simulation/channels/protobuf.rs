//! Protobuf as clients write and read it, by a table of the protocol: commands and replies are the same JSON
//! values as those of clients that speak JSON, so every test and every checker holds for both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Flag,
    Text,
    /// Bytes that are JSON; others are an object with `b64data`.
    Data,
    Message(&'static Fields),
    List(&'static Fields),
    Map(&'static Fields),
}

use Kind::{Data, Flag, List, Message, Number, Text};

/// The number, the name and the kind of each field, and whether it stands in JSON also where it is empty.
type Fields = [(u64, &'static str, Kind, bool)];

const EMPTY: &Fields = &[];
const CHANNEL: &Fields = &[(1, "channel", Text, false)];
const POSITION: &Fields = &[(1, "offset", Number, false), (2, "epoch", Text, false)];
const SUBSCRIBE: &Fields = &[
    (1, "channel", Text, false),
    (2, "token", Text, false),
    (3, "recover", Flag, false),
    (6, "epoch", Text, false),
    (7, "offset", Number, false),
    (8, "data", Data, false),
    (9, "positioned", Flag, false),
    (10, "recoverable", Flag, false),
    (11, "join_leave", Flag, false),
    (12, "delta", Text, false),
    (13, "tf", Message(EMPTY), false),
    (14, "flag", Number, false),
    (15, "type", Number, false),
];
const COMMAND: &Fields = &[
    (1, "id", Number, false),
    (
        4,
        "connect",
        Message(&[
            (1, "token", Text, false),
            (2, "data", Data, false),
            (3, "subs", Kind::Map(SUBSCRIBE), false),
            (4, "name", Text, false),
        ]),
        false,
    ),
    (5, "subscribe", Message(SUBSCRIBE), false),
    (6, "unsubscribe", Message(CHANNEL), false),
    (7, "publish", Message(&[(1, "channel", Text, false), (2, "data", Data, false)]), false),
    (8, "presence", Message(CHANNEL), false),
    (9, "presence_stats", Message(CHANNEL), false),
    (
        10,
        "history",
        Message(&[
            (1, "channel", Text, false),
            (7, "limit", Number, false),
            (8, "since", Message(POSITION), false),
            (9, "reverse", Flag, false),
        ]),
        false,
    ),
    (11, "ping", Message(EMPTY), false),
    (12, "send", Message(&[(1, "data", Data, false)]), false),
    (13, "rpc", Message(&[(1, "data", Data, false), (2, "method", Text, false)]), false),
    (14, "refresh", Message(&[(1, "token", Text, false)]), false),
    (15, "sub_refresh", Message(&[(1, "channel", Text, false), (2, "token", Text, false)]), false),
];
const INFO: &Fields = &[
    (1, "user", Text, true),
    (2, "client", Text, true),
    (3, "conn_info", Data, false),
    (4, "chan_info", Data, false),
];
const PUBLICATION: &Fields = &[
    (4, "data", Data, false),
    (5, "info", Message(INFO), false),
    (6, "offset", Number, false),
    (7, "tags", Kind::Map(EMPTY), false),
];
const SUBSCRIBED: &Fields = &[
    (1, "expires", Flag, false),
    (2, "ttl", Number, false),
    (3, "recoverable", Flag, false),
    (6, "epoch", Text, false),
    (7, "publications", List(PUBLICATION), false),
    (8, "recovered", Flag, false),
    (9, "offset", Number, false),
    (10, "positioned", Flag, false),
    (11, "data", Data, false),
    (12, "was_recovering", Flag, false),
];
const PUSH: &Fields = &[
    (2, "channel", Text, false),
    (4, "pub", Message(PUBLICATION), false),
    (5, "join", Message(&[(1, "info", Message(INFO), false)]), false),
    (6, "leave", Message(&[(1, "info", Message(INFO), false)]), false),
    (7, "unsubscribe", Message(&[(2, "code", Number, false), (3, "reason", Text, false)]), false),
    (
        9,
        "subscribe",
        Message(&[
            (1, "recoverable", Flag, false),
            (4, "epoch", Text, false),
            (5, "offset", Number, false),
            (6, "positioned", Flag, false),
            (7, "data", Data, false),
        ]),
        false,
    ),
    (12, "refresh", Message(EXPIRY), false),
];
const EXPIRY: &Fields = &[(1, "expires", Flag, false), (2, "ttl", Number, false)];
const REPLY: &Fields = &[
    (1, "id", Number, false),
    (
        2,
        "error",
        Message(&[
            (1, "code", Number, false),
            (2, "message", Text, false),
            (3, "temporary", Flag, false),
        ]),
        false,
    ),
    (4, "push", Message(PUSH), false),
    (
        5,
        "connect",
        Message(&[
            (1, "client", Text, false),
            (2, "version", Text, false),
            (3, "expires", Flag, false),
            (4, "ttl", Number, false),
            (5, "data", Data, false),
            (6, "subs", Kind::Map(SUBSCRIBED), false),
            (7, "ping", Number, false),
            (8, "pong", Flag, false),
        ]),
        false,
    ),
    (6, "subscribe", Message(SUBSCRIBED), false),
    (7, "unsubscribe", Message(EMPTY), false),
    (8, "publish", Message(EMPTY), false),
    (9, "presence", Message(&[(1, "presence", Kind::Map(INFO), true)]), false),
    (
        10,
        "presence_stats",
        Message(&[(1, "num_clients", Number, true), (2, "num_users", Number, true)]),
        false,
    ),
    (
        11,
        "history",
        Message(&[
            (1, "publications", List(PUBLICATION), true),
            (2, "epoch", Text, false),
            (3, "offset", Number, false),
        ]),
        false,
    ),
    (13, "rpc", Message(&[(1, "data", Data, false)]), false),
    (
        14,
        "refresh",
        Message(&[
            (1, "client", Text, false),
            (3, "expires", Flag, false),
            (4, "ttl", Number, false),
        ]),
        false,
    ),
    (15, "sub_refresh", Message(EXPIRY), false),
];

/// A command with its length in front of it. What the table does not have is left out.
pub(super) fn encoded(command: &Value) -> Vec<u8> {
    delimited(&message(command, COMMAND))
}

/// A command that publishes these bytes as they are.
pub(super) fn raw_publication(channel: &str, data: &[u8]) -> Vec<u8> {
    let (mut publish, mut command) = (Vec::new(), vec![8, 99]);
    field(1, channel.as_bytes(), &mut publish);
    field(2, data, &mut publish);
    field(7, &publish, &mut command);
    delimited(&command)
}

/// The replies of a frame, as JSON would have them.
pub(super) fn replies(mut frame: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    while !frame.is_empty() {
        all.push(object(take(&mut frame), REPLY));
    }
    all
}

fn message(value: &Value, fields: &Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, name, kind, _) in fields {
        let Some(value) = value.get(name) else { continue };
        match kind {
            Number | Flag => {
                let own = value.as_i64().unwrap_or_else(|| value.as_bool().unwrap().into());
                varint(number << 3, &mut bytes);
                varint(own.cast_unsigned(), &mut bytes);
            }
            Text => field(*number, value.as_str().unwrap().as_bytes(), &mut bytes),
            Data => {
                let own = value.get("b64data").and_then(Value::as_str);
                let own = own.map(|own| STANDARD.decode(own).unwrap());
                field(*number, &own.unwrap_or_else(|| value.to_string().into()), &mut bytes);
            }
            Message(fields) => field(*number, &message(value, fields), &mut bytes),
            List(fields) => {
                for own in value.as_array().unwrap() {
                    field(*number, &message(own, fields), &mut bytes);
                }
            }
            Kind::Map(fields) => {
                for (key, own) in value.as_object().unwrap() {
                    let mut entry = Vec::new();
                    field(1, key.as_bytes(), &mut entry);
                    field(2, &message(own, fields), &mut entry);
                    field(*number, &entry, &mut bytes);
                }
            }
        }
    }
    bytes
}

fn object(mut bytes: &[u8], fields: &Fields) -> Value {
    let mut object = Map::new();
    for (_, name, kind, _) in fields.iter().filter(|own| own.3) {
        let empty = match kind {
            Number => json!(0),
            Flag => json!(false),
            Text => json!(""),
            List(_) => json!([]),
            Data | Message(_) | Kind::Map(_) => json!({}),
        };
        object.insert((*name).to_owned(), empty);
    }
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let own = fields.iter().find(|own| own.0 == key >> 3);
        let (_, name, kind, _) = own.unwrap_or_else(|| panic!("no field {key} in the table"));
        let value = match kind {
            Number => number(&mut bytes).into(),
            Flag => (number(&mut bytes) == 1).into(),
            Text => text(take(&mut bytes)).into(),
            Data => {
                let own = take(&mut bytes);
                let binary = || json!({ "b64data": STANDARD.encode(own) });
                serde_json::from_slice(own).unwrap_or_else(|_| binary())
            }
            Message(fields) => self::object(take(&mut bytes), fields),
            List(fields) => {
                let own = self::object(take(&mut bytes), fields);
                let list = object.entry(*name).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().push(own);
                continue;
            }
            Kind::Map(fields) => {
                let kind = if fields.is_empty() { Text } else { Message(fields) };
                let (mut key, mut value) = (String::new(), json!({}));
                let mut entry = take(&mut bytes);
                while !entry.is_empty() {
                    match (number(&mut entry) >> 3, kind) {
                        (1, _) => key = text(take(&mut entry)),
                        (_, Message(fields)) => value = self::object(take(&mut entry), fields),
                        (_, _) => value = text(take(&mut entry)).into(),
                    }
                }
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map.as_object_mut().unwrap().insert(key, value);
                continue;
            }
        };
        object.insert((*name).to_owned(), value);
    }
    Value::Object(object)
}

fn field(number: u64, own: &[u8], bytes: &mut Vec<u8>) {
    varint(number << 3 | 2, bytes);
    bytes.extend(delimited(own));
}

fn delimited(own: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(own.len() as u64, &mut bytes);
    bytes.extend_from_slice(own);
    bytes
}

fn varint(mut own: u64, bytes: &mut Vec<u8>) {
    while own > 0x7F {
        bytes.push((own & 0x7F) as u8 | 0x80);
        own >>= 7;
    }
    bytes.push((own & 0x7F) as u8);
}

fn number(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let own = bytes[..=end].iter().rev().fold(0, |all, byte| all << 7 | u64::from(byte & 0x7F));
    *bytes = &bytes[end + 1..];
    own
}

fn take<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let length = usize::try_from(number(bytes)).unwrap();
    let (own, rest) = bytes.split_at(length);
    *bytes = rest;
    own
}

fn text(own: &[u8]) -> String {
    String::from_utf8(own.to_vec()).unwrap()
}
