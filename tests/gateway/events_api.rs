//! What backends ask of the gateway: publications, with keys and without, and connections.

use serde_json::json;

use crate::admin_client::{AdminReply, request};
use crate::events_backend::{EventsBackend, Told, events};
use crate::frames::{PING, PONG, TEXT, client_frame};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::socket::Socket;

const KEY: &str = "0123456789abcdef";

fn start(backend: &EventsBackend, api: &str, more: &str) -> Gateway {
    Gateway::with_config(&format!(
        "loops = 2\n[api]\naddress = \"127.0.0.1:0\"\n{api}[[upstream]]\nname = \"app\"\n\
         servers = [\"{}\"]\n[[route]]\npath = \"/app/*\"\nservice = \"events\"\nupstream = \"app\"\n{more}",
        backend.address
    ))
}

fn open(gateway: &Gateway) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/app/ws").bytes());
    assert_eq!(socket.receive_head().status, 101);
    socket
}

/// Subscribes every client to `room`; a text that is JSON is a control message.
fn controlled(told: &Told) -> Option<Vec<u8>> {
    let control = |json: &str| format!("TEXT {:x}\r\nc:{json}\r\n", json.len() + 2);
    let text = told.text();
    if text == "OPEN\r\n" {
        let subscribe = r#"{"type": "subscribe", "channel": "room"}"#;
        let lines = "Sec-WebSocket-Extensions: grip\r\n";
        return events(lines, &format!("OPEN\r\n{}", control(subscribe)));
    }
    let asked: String = text.lines().filter(|line| line.starts_with('{')).map(control).collect();
    events("", &asked)
}

fn publish(gateway: &Gateway, item: &str) -> AdminReply {
    let lines = [format!("X-API-Key: {KEY}"), "Accept: application/json".to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let body = format!("{{\"items\": [{item}]}}");
    request(gateway.api_address(), "POST", "/publish", &lines, &body)
}

#[test]
fn a_publication_needs_a_key_where_there_are_keys() {
    let backend = EventsBackend::start(controlled);
    let gateway = start(&backend, &format!("keys = [\"{KEY}\", \"another-key\"]\n"), "");
    let mut client = open(&gateway);
    let item = "{\"items\": [{\"channel\": \"room\", \"ws-message\": {\"content\": \"hi\"}}]}";
    let ask = |lines: &[&str]| request(gateway.api_address(), "POST", "/publish/", lines, item);
    for lines in [&["Authorization: Bearer 0123456789abcdeX"][..], &["X-API-Key: "], &[]] {
        let refused = ask(lines);
        assert_eq!(refused.status, 401, "{refused:?}");
    }
    for line in ["Authorization: Bearer another-key", "X-API-Key: 0123456789abcdef"] {
        let reply = ask(&[line]);
        assert_eq!((reply.status, reply.body.as_str()), (200, "Published\n"));
        assert_eq!(client.receive_frame().payload, b"hi");
    }
    let get =
        |path: &str| request(gateway.api_address(), "GET", path, &["X-API-Key: another-key"], "");
    assert_eq!((get("/publish").status, get("/metrics").status), (405, 404));

    let id = backend.told().header("Connection-Id").unwrap().to_owned();
    let found = get(&format!("/connections/{id}"));
    assert_eq!((found.status, &found.json()["id"]), (200, &json!(id)));
    assert_eq!(get(&format!("/connections/0{id}")).status, 404);
    drop(client);
    backend.told();
    crate::wait::until("the connection is gone", || {
        (get(&format!("/connections/{id}")).status == 404).then_some(())
    });
}

#[test]
fn without_keys_programs_of_this_machine_publish_and_pages_do_not() {
    let backend = EventsBackend::start(controlled);
    let gateway = start(&backend, "body_bytes_max = 2048\n", "");
    let ask = |lines: &[&str], body: &str| {
        request(gateway.api_address(), "POST", "/publish", lines, body).status
    };
    assert_eq!(ask(&[], "{\"items\": []}"), 200);
    assert_eq!(ask(&["Origin: http://evil.example"], "{\"items\": []}"), 403);
    assert_eq!(ask(&["Host: evil.example"], "{\"items\": []}"), 421);
    assert_eq!(ask(&[], &" ".repeat(2049)), 413);
    assert_eq!(ask(&[], "nonsense"), 400);
}

#[test]
fn a_publication_that_comes_twice_or_too_early_is_given_once_and_in_order() {
    let backend = EventsBackend::start(controlled);
    let gateway = start(&backend, &format!("keys = \"{KEY}\"\n"), "");
    let mut client = open(&gateway);
    let item = |id: u32, prev: u32| {
        format!(
            "{{\"channel\": \"room\", \"id\": \"{id}\", \"prev-id\": \"{prev}\", \
             \"ws-message\": {{\"content\": \"{id}\"}}}}"
        )
    };
    let outcome = |id, prev| {
        let reply = publish(&gateway, &item(id, prev)).json();
        [&reply["sent"], &reply["held"], &reply["repeated"]].map(|own| own.as_u64().unwrap())
    };
    assert_eq!(outcome(1, 0), [1, 0, 0]);
    assert_eq!(outcome(3, 2), [0, 1, 0]);
    assert_eq!(outcome(1, 0), [0, 0, 1]);
    assert_eq!(outcome(2, 1), [2, 0, 0]);
    // The one before it never comes.
    assert_eq!(outcome(9, 8), [0, 1, 0]);
    for expected in ["1", "2", "3", "9"] {
        assert_eq!(client.receive_frame().payload, expected.as_bytes());
    }
}

#[test]
fn what_a_backend_keeps_about_a_client_decides_what_it_gets() {
    let backend = EventsBackend::start(controlled);
    let gateway = start(&backend, &format!("keys = \"{KEY}\"\n"), "");
    let mut ann = open(&gateway);
    let mut bob = open(&gateway);
    let say = |socket: &mut Socket, json: &str| socket.send(&client_frame(TEXT, json.as_bytes()));
    for (socket, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        say(socket, &format!(r#"{{"type": "set-meta", "name": "user", "value": "{name}"}}"#));
        say(
            socket,
            r#"{"type": "subscribe", "channel": "room", "filters": ["skip-users", "var-subst"]}"#,
        );
        say(socket, r#"{"type": "send-delayed", "content": "ready", "timeout": 60}"#);
        say(socket, r#"{"type": "flush-delayed"}"#);
        assert_eq!(socket.receive_frame().payload, b"ready");
    }
    let item = r#"{"channel": "room", "ws-message": {"content": "hi %(user)s"}}"#;
    assert_eq!(publish(&gateway, item).json()["sent"], 2);
    assert_eq!(ann.receive_frame().payload, b"hi ann");
    assert_eq!(bob.receive_frame().payload, b"hi bob");
    let item = r#"{"channel": "room", "meta": {"skip_users": "ann, eve"}, "ws-message": {"content": "x"}}"#;
    assert_eq!(publish(&gateway, item).json()["sent"], 1);
    assert_eq!(bob.receive_frame().payload, b"x");
    // A quiet client is sent what keeps it alive.
    say(&mut ann, r#"{"type": "keep-alive", "content": "ka", "timeout": 1}"#);
    assert_eq!(ann.receive_frame().payload, b"ka");
    assert_eq!(ann.receive_frame().payload, b"ka");
    say(&mut ann, r#"{"type": "keep-alive", "message-type": "ping", "timeout": 1}"#);
    assert_eq!(ann.receive_frame().first, PING);
}

#[test]
fn a_refresh_asks_the_backend_about_each_member() {
    let backend = EventsBackend::start(controlled);
    let gateway = start(&backend, &format!("keys = \"{KEY}\"\n"), "");
    let _client = open(&gateway);
    backend.told();
    let refresh = r#"{"channel": "room", "ws-message": {"action": "refresh"}}"#;
    assert_eq!(publish(&gateway, refresh).json()["sent"], 1);
    assert_eq!(backend.told().text(), "");
    let hint = r#"{"channel": "room", "ws-message": {"action": "hint"}}"#;
    assert_eq!(publish(&gateway, hint).json()["sent"], 0);
}

#[test]
fn pings_are_answered_by_the_backend_where_it_wants_that() {
    let backend = EventsBackend::start(|told| {
        let text = told.text();
        match text.as_str() {
            "OPEN\r\n" => events("", "OPEN\r\nPING 1\r\nq\r\n"),
            _ => events("", &text.replace("PING", "PONG").replace("PONG 1\r\nq\r\n", "")),
        }
    });
    let gateway = start(&backend, "", "pings = \"pass\"\n");
    let mut client = open(&gateway);
    backend.told();
    let ping = client.receive_frame();
    assert_eq!((ping.first, ping.payload), (PING, b"q".to_vec()));
    client.send(&client_frame(PONG, b"q"));
    assert_eq!(backend.told().text(), "PONG 1\r\nq\r\n");
    client.send(&client_frame(PING, b"abc"));
    let pong = client.receive_frame();
    assert_eq!((pong.first, pong.payload), (PONG, b"abc".to_vec()));
    assert_eq!(backend.told().text(), "PING 3\r\nabc\r\n");
    client.send(&client_frame(crate::frames::CLOSE, &[0x0f, 0xa0, b'b', b'y', b'e']));
    client.assert_close_answered(4000);
    assert_eq!(backend.told().body, b"CLOSE 5\r\n\x0f\xa0bye\r\n");
}
