use std::collections::BTreeMap;

use toml::{Table, Value};

use super::*;
use crate::config::{
    Config, Listener, MachineLimits, NameKind, Origins, RoomOptions, Route, RouteDeflate, Secret,
    ServiceKind, Token,
};
use crate::ws::CLIENT_CONTROL_FRAME_BYTES_MAX;

/// The dotted names and values of everything in `table`; arrays of tables lose their indices.
fn leaves(prefix: &str, table: &Table, found: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let inner: Vec<&Table> =
            value.as_table().into_iter().chain(items.iter().filter_map(Value::as_table)).collect();
        if inner.is_empty() {
            found.insert(name.clone(), value.clone());
        }
        for table in inner {
            leaves(&format!("{name}."), table, found);
        }
    }
}

fn leaves_of(config: &Config) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    leaves("", &Table::try_from(config).unwrap(), &mut found);
    found
}

fn token_room() -> Route {
    let room = RoomOptions { name: NameKind::Token, ..RoomOptions::default() };
    Route { room, ..Route::new("/:name/:token", ServiceKind::Room) }
}

fn taking_over() -> RouteDeflate {
    RouteDeflate { context_takeover: true, ..RouteDeflate::default() }
}

#[test]
fn the_table_holds_exactly_the_keys_of_the_types() {
    let mut config = Config::default();
    config.limits.connections_max = Some(1000);
    config.limits.half_open_max = Some(10);
    config.socket.send_buffer_bytes = Some(65_536);
    config.listeners = vec![Listener::line("127.0.0.1:1".parse().unwrap(), "/")];
    config.routes = vec![Route {
        aliases: vec!["/alias".to_owned()],
        origins: Origins::Any,
        subprotocols: Some(vec![]),
        message_bytes_max: Some(1000),
        backlog_messages_max: Some(10),
        deflate: taking_over(),
        ..token_room()
    }];
    config.tokens = vec![Token { name: "bob".to_owned(), token: Secret::new("s3cret") }];
    let written: Vec<String> = leaves_of(&config).into_keys().collect();
    let mut listed: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    listed.sort_unstable();
    assert_eq!(listed, written);
}

#[test]
fn the_defaults_of_the_table_are_the_defaults_of_the_types() {
    let with_route = |route| Config { routes: vec![route], ..Config::default() };
    // A room takes most keys; one that asks for tokens and takes over contexts takes them all.
    let mut written = leaves_of(&with_route(Route { deflate: taking_over(), ..token_room() }));
    written.extend(leaves_of(&with_route(Route::new("/", ServiceKind::Room))));
    for key in KEYS.iter().filter(|key| !key.is_required()) {
        match written.get(key.name) {
            Some(Value::String(text)) => assert_eq!(text, key.default, "{}", key.name),
            Some(value) => assert_eq!(value.to_string(), key.default, "{}", key.name),
            None => assert!(
                DERIVED.contains(&key.default),
                "{} has a default the types do not know",
                key.name
            ),
        }
    }
}

/// The defaults that no value can express.
const DERIVED: &[&str] = &[
    "[]",
    "by bytes",
    "by service",
    "derived",
    "kernel",
    "limits.message_bytes_max",
    "none",
    "same host",
];

#[test]
fn every_section_of_a_key_is_listed() {
    for key in KEYS {
        let section = key.section();
        assert!(section.is_empty() || SECTIONS.iter().any(|known| known.name == section));
    }
    for section in SECTIONS {
        assert!(KEYS.iter().any(|key| key.section() == section.name));
    }
}

#[test]
fn the_words_of_the_table_are_the_words_of_the_types() {
    for key in KEYS {
        if let Rule::OneOf(words) = key.rule {
            for word in words {
                let (head, given) = match (key.name, *word) {
                    ("listener.kind", "line") => {
                        (LISTENER, "kind = \"line\"\nroute = \"/ws\"".to_owned())
                    }
                    ("listener.kind", _) => (LISTENER, format!("kind = \"{word}\"")),
                    ("route.service", _) => {
                        ("[[route]]\npath = \"/\"", format!("service = \"{word}\""))
                    }
                    ("route.name", "path") => (PATH_ROOM, "name = \"path\"".to_owned()),
                    ("route.name", "token") => (TOKEN_ROOM, String::new()),
                    ("route.tokens", _) => (TOKEN_ROOM, format!("tokens = \"{word}\"")),
                    _ => (ROOM, format!("{} = \"{word}\"", key.leaf())),
                };
                Config::from_toml(&format!("{head}\n{given}\n"), "words.toml").unwrap();
            }
        }
    }
}

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:1\"";
const ROOM: &str = "[[route]]\npath = \"/\"\nservice = \"room\"";
const PATH_ROOM: &str = "[[route]]\npath = \"/:name\"\nservice = \"room\"";
const TOKEN_ROOM: &str =
    "[[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"";

#[test]
fn the_largest_backlog_fits_the_counter_of_a_connection() {
    let max = |name: &str| {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let Rule::Integer { max, .. } = key.rule else { panic!("{name} is a number") };
        usize::try_from(max).unwrap()
    };
    let mut config = Config::default();
    config.limits.message_bytes_max = max("limits.message_bytes_max");
    config.limits.backlog_high_bytes = max("limits.backlog_high_bytes");
    config.limits.backlog_hard_bytes = max("limits.backlog_hard_bytes");
    let limits = config.resolve(MachineLimits { descriptors: 1024, cores: 1 }).limits;
    // Replies until reading stops: nearly the high mark waits, and then all of a read buffer may be
    // sent back.
    let buffer = limits.message_bytes_largest + CLIENT_CONTROL_FRAME_BYTES_MAX;
    let buffer = buffer.max(max("turn.receive_buffer_bytes").next_power_of_two());
    let replies = 2 * limits.backlog_high_bytes + buffer;
    // JSON writes a control character as six.
    let pushed = 6 * limits.message_bytes_largest + FRAME_AROUND_TEXT_BYTES;
    for waiting in [
        // Pushed up to the hard mark, or one message to an empty queue.
        limits.backlog_hard_bytes.max(pushed),
        // The one that is partly written, and the latest.
        2 * pushed,
    ] {
        assert!(u32::try_from(waiting + replies).is_ok(), "{waiting} + {replies}");
    }
}

/// More than a name, a header and the rest of an event need.
const FRAME_AROUND_TEXT_BYTES: usize = 1024;
