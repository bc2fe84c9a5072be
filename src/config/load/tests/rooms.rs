//! Rooms and line listeners.

use super::{PATH_RULE, refusal, refused};
use crate::config::Config;

#[test]
fn a_key_must_mean_something_to_its_service() {
    let room_keys = [
        ("name", "\"first\""),
        ("room", "\"hall\""),
        ("line", "\"bare\""),
        ("hears_itself", "false"),
        ("newlines", "\"space\""),
        ("logins", "\"one\""),
        ("join_lines", "true"),
    ];
    let order = ("order", "\"sender\"");
    let socket_keys = [
        ("origins", "\"*\""),
        ("origins", "[\"null\"]"),
        ("subprotocols", "[\"a\"]"),
        ("message_bytes_max", "1000"),
        ("backlog_messages_max", "10"),
        ("slow_policy", "\"drop_newest\""),
    ];
    for (service, is_taken) in [("echo", true), ("broadcast", true), ("page", false)] {
        let route = |(key, value): (&str, &str)| {
            format!("[[route]]\npath = \"/\"\nservice = \"{service}\"\n{key} = {value}")
        };
        let refused = |(key, value): (&str, &str)| {
            let rule = format!("must be left out where the service is \"{service}\"");
            let line = format!("tidegate.toml: route[0].{key} = {value}: {rule}");
            assert_eq!(refusal(&route((key, value))), line);
        };
        room_keys.into_iter().for_each(refused);
        if service != "broadcast" {
            refused(order);
        }
        if is_taken {
            for given in socket_keys {
                Config::from_toml(&route(given), "tidegate.toml").unwrap();
            }
        } else {
            socket_keys.into_iter().for_each(refused);
        }
    }
    let broadcast = "[[route]]\npath = \"/\"\nservice = \"broadcast\"\norder = \"sender\"";
    Config::from_toml(broadcast, "tidegate.toml").unwrap();
    for service in ["hall", "page"] {
        refused(&[(
            &format!("[[route]]\npath = \"/\"\nservice = \"{service}\"\nidentity = [\"a\"]"),
            &format!(
                "route[0].identity = [\"a\"]: must be left out where the service is \"{service}\": \
                 only routes that speak WebSocket take an identity"
            ),
        )]);
    }
}

#[test]
fn rooms_are_held_to_their_rules() {
    let room = |rest: &str| format!("[[route]]\npath = \"/\"\nservice = \"room\"\n{rest}");
    let name = "must be 1 to 64 bytes of text that can be seen, without white space around it";
    let line = "must be \"bare\", \"console\", \"from\", \"named\" or a line with {message} once \
                and {name} at most once";
    for (value, rule) in [
        (
            "name = \"anything\"",
            "must be one of \"address\", \"first\", \"identity\", \"path\", \"query\", \"token\"",
        ),
        ("room = \"\"", name),
        ("room = \" hall\"", name),
        ("line = \"{name}\"", line),
        ("line = \"plain\"", line),
        ("newlines = \"drop\"", "must be one of \"keep\", \"space\""),
        ("logins = 2", "must be one of \"many\", \"one\""),
        ("order = \"topic\"", "must be one of \"room\", \"sender\""),
        ("join_lines = 1", "must be true or false"),
    ] {
        assert_eq!(refusal(&room(value)), format!("tidegate.toml: route[0].{value}: {rule}"));
    }
    let long = "x".repeat(65);
    assert_eq!(
        refusal(&room(&format!("room = \"{long}\""))),
        format!("tidegate.toml: route[0].room = \"{long}\": {name}")
    );
    Config::from_toml(&room("line = \"<{name}> {message}\""), "tidegate.toml").unwrap();
}

/// A route of these paths whose members' names come from `name`.
fn room(name: &str, paths: &[&str]) -> String {
    let (path, aliases) = paths.split_first().unwrap();
    let service = "service = \"room\"";
    format!("[[route]]\npath = \"{path}\"\n{service}\nname = \"{name}\"\naliases = {aliases:?}")
}

/// The paths are refused with this rule, which the one called `key` breaks.
fn paths_refused(name: &str, paths: &[&str], key: &str, rule: &str) {
    let path = if key == "path" { paths[0] } else { paths[1] };
    let line = format!("tidegate.toml: route[0].{key} = \"{path}\": {rule}");
    assert_eq!(refusal(&room(name, paths)), line);
}

#[test]
fn paths_may_have_parameters() {
    for (name, paths) in [
        ("path", &["/:name"][..]),
        ("path", &["/a/:name", "/b/:name/x", "/c/:name/x"]),
        ("path", &["/:room/:name"]),
        ("token", &["/:token/:name", "/:token/:name/x"]),
        ("query", &["/a", "/a/:room", "/"]),
    ] {
        Config::from_toml(&room(name, paths), "tidegate.toml").unwrap();
    }
}

#[test]
fn parameters_are_those_that_are_looked_at() {
    let needs_name = "must hold the segment :name where the route's name is \"path\"";
    for (name, paths, key, rule) in [
        (
            "first",
            &["/:name"][..],
            "path",
            "must not hold the segment :name where the route's name is \"first\"",
        ),
        ("path", &["/a"], "path", needs_name),
        ("path", &["/:name", "/"], "aliases[0]", needs_name),
        (
            "token",
            &["/:name"],
            "path",
            "must hold the segment :token where the route's name is \"token\"",
        ),
        (
            "path",
            &["/:name/:token"],
            "path",
            "must not hold the segment :token where the route's name is \"path\"",
        ),
        ("path", &["/:name/:name"], "path", "must hold :name only once"),
        ("query", &["/:user"], "path", "must hold no segments with : but :name, :room and :token"),
        ("query", &["/a", "b"], "aliases[0]", PATH_RULE),
    ] {
        paths_refused(name, paths, key, rule);
    }
    refused(&[
        (
            "[[route]]\npath = \"/a/:room\"\nservice = \"echo\"",
            "route[0].path = \"/a/:room\": must not hold :room, which only a room's path may",
        ),
        (
            "[[route]]\npath = \"/a\"\nservice = \"page\"\naliases = \"/b\"",
            "route[0].aliases = \"/b\": must be a list of paths",
        ),
    ]);
}

#[test]
fn parameters_stand_in_the_same_place() {
    for (name, paths, key, same) in [
        ("query", ["/a/:room", "/a/b"], "aliases[0]", ":room in the same place as /a/:room"),
        ("query", ["/a/b/c", "/:room"], "path", ":room in the same place as /:room"),
        ("path", ["/a/:name", "/:name"], "path", ":name in the same place as /:name"),
    ] {
        paths_refused(name, &paths, key, &format!("must have {same}, or end before"));
    }
}

#[test]
fn paths_are_unique_among_requests_of_a_kind() {
    let route = |path: &str, service: &str, rest: &str| {
        format!("[[route]]\npath = \"{path}\"\nservice = \"{service}\"\n{rest}\n")
    };
    for (routes, line) in [
        (
            [route("/a", "echo", ""), route("/b", "room", "aliases = [\"/c\", \"/a\"]")],
            "route[1].aliases[1] = \"/a\": must not be the path of two WebSocket routes",
        ),
        (
            [route("/a/:room", "room", ""), route("/a/:name", "room", "name = \"path\"")],
            "route[1].path = \"/a/:name\": must not be the path of two WebSocket routes",
        ),
        (
            [route("/a", "echo", "aliases = [\"/a\"]"), String::new()],
            "route[0].aliases[0] = \"/a\": must not be the path of two WebSocket routes",
        ),
        (
            [route("/a", "hall", ""), route("/a", "page", "")],
            "route[1].path = \"/a\": must not be the path of two pages",
        ),
        (
            [
                route("/a", "echo", "hosts = [\"a.example\", \"*.b.example\"]"),
                route("/b", "room", "hosts = [\"*.B.example\"]\naliases = [\"/a\"]"),
            ],
            "route[1].aliases[0] = \"/a\": must not be the path of two WebSocket routes of *.b.example",
        ),
        (
            [route("/a", "echo", "hosts = [\"a.example\", \"A.example\"]"), String::new()],
            "route[0].hosts[1] = \"a.example\": must not be listed twice",
        ),
    ] {
        assert_eq!(refusal(&routes.concat()), format!("tidegate.toml: {line}"));
    }
    let hosts = [route("/a", "echo", "hosts = [\"a.example\"]"), route("/a", "echo", "")];
    Config::from_toml(&hosts.concat(), "tidegate.toml").unwrap();
    let both = [route("/a", "echo", ""), route("/a", "page", ""), route("/:room", "room", "")];
    Config::from_toml(&both.concat(), "tidegate.toml").unwrap();
}

#[test]
fn line_listeners_lead_to_a_websocket_route() {
    let listener = |rest: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{rest}\n");
    let needed = "is required where the kind is \"line\", and must be a path of a route whose \
                  service speaks WebSocket";
    refused(&[
        (&listener("kind = \"line\""), &format!("listener[0].route: {needed}")),
        (
            &listener("route = \"/ws\""),
            "listener[0].route = \"/ws\": must be left out where the kind is \"http\"",
        ),
        (
            &listener("kind = \"tcp\""),
            "listener[0].kind = \"tcp\": must be one of \"http\", \"line\"",
        ),
        (
            &listener("kind = \"line\"\nroute = \"/chatroom\""),
            "listener[0].route = \"/chatroom\": must be a path of a route whose service speaks \
             WebSocket",
        ),
        (
            &listener("kind = \"line\"\nroute = \"/chatroom/ws/:name/:token\""),
            "listener[0].route = \"/chatroom/ws/:name/:token\": must not be a room whose name is \
             \"token\": a line client has none",
        ),
    ]);
    for path in ["/ws", "/", "/echo"] {
        let text = listener(&format!("kind = \"line\"\nroute = \"{path}\""));
        Config::from_toml(&text, "tidegate.toml").unwrap();
    }
}
