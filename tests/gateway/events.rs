//! Connections whose backend speaks plain HTTP.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::admin_client::{CONFIG, post, request};
use crate::clients::below_root;
use crate::events_backend::{Answer, EventsBackend, Told, events, reply};
use crate::frames::{BINARY, CLOSE, PING, TEXT, client_frame, close_payload};
use crate::gateway::Gateway;
use crate::messages::{Reply, Request};
use crate::port::reserved_address;
use crate::reload::Reloaded;
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::wait::until;

/// A gateway whose route `/app/*` tells this backend.
fn in_front_of(backend: SocketAddr, more: &str) -> Gateway {
    Gateway::with_config(&(upstream(backend) + &route(more)))
}

fn upstream(backend: SocketAddr) -> String {
    format!("loops = 2\n[[upstream]]\nname = \"app\"\nservers = [\"{backend}\"]\n")
}

fn route(more: &str) -> String {
    format!("[[route]]\npath = \"/app/*\"\nservice = \"events\"\nupstream = \"app\"\n{more}")
}

/// Asks for the path, and gives what comes of it.
fn ask(gateway: &Gateway, request: &Request) -> (Socket, Reply) {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&request.bytes());
    let reply = socket.receive_head();
    (socket, reply)
}

fn open(gateway: &Gateway) -> Socket {
    let (socket, reply) = ask(gateway, &Request::upgrade("/app/ws"));
    assert_eq!(reply.status, 101);
    socket
}

/// Lets everyone in, and sends every text and byte back.
fn echo(told: &Told) -> Answer {
    match told.body.as_slice() {
        b"OPEN\r\n" => events("", "OPEN\r\n"),
        body if body.starts_with(b"TEXT") || body.starts_with(b"BINARY") => {
            events("", &told.text())
        }
        _ => events("", ""),
    }
}

#[test]
fn a_backend_is_told_of_a_connection_from_its_beginning_to_its_end() {
    let backend = EventsBackend::start(|told| match told.body.as_slice() {
        b"OPEN\r\n" => events(
            "Set-Meta-User: ann\r\nSet-Cookie: a=b\r\nSec-WebSocket-Protocol: chat\r\nX-Own: 1\r\n",
            "OPEN\r\nTEXT 7\r\nwelcome\r\nPING\r\n",
        ),
        _ => echo(told),
    });
    let gateway = in_front_of(backend.address, "");
    let request = Request::upgrade("/app/ws?x=1")
        .with("Sec-WebSocket-Protocol", "chat, other")
        .with("Cookie", "session=1")
        .with("Meta-User", "root")
        .with("Content-Bytes-Replayed", "9");
    let (mut socket, reply) = ask(&gateway, &request);
    assert_eq!(reply.status, 101);
    assert_eq!(reply.header("Set-Cookie"), Some("a=b"));
    assert_eq!(reply.header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(reply.header("X-Own"), Some("1"));
    assert_eq!((reply.header("Set-Meta-User"), reply.header("Content-Type")), (None, None));
    assert_eq!(socket.receive_frame().payload, b"welcome");
    assert_eq!(socket.receive_frame().first, PING);
    let opening = backend.told();
    assert_eq!(opening.line, "POST /app/ws?x=1 HTTP/1.1");
    assert_eq!(opening.header("Content-Type"), Some("application/websocket-events"));
    assert_eq!(opening.header("Accept"), Some("application/websocket-events"));
    assert_eq!(opening.header("Cookie"), Some("session=1"));
    assert_eq!(opening.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(opening.header("X-Tidegate-Sequence"), Some("1"));
    let absent = ["Meta-User", "Sec-WebSocket-Key", "Upgrade", "Content-Bytes-Replayed"];
    assert!(absent.iter().all(|name| opening.header(name).is_none()), "{opening:?}");
    let id = opening.header("Connection-Id").unwrap();

    socket.send(&client_frame(TEXT, b"hello"));
    assert_eq!(socket.receive_frame().payload, b"hello");
    let message = backend.told();
    assert_eq!(message.text(), "TEXT 5\r\nhello\r\n");
    assert_eq!(
        (message.header("Meta-User"), message.header("Connection-Id")),
        (Some("ann"), Some(id))
    );
    socket.send(&client_frame(BINARY, &[1, 2]));
    let frame = socket.receive_frame();
    assert_eq!((frame.first, frame.payload), (BINARY, vec![1, 2]));
    backend.told();
    socket.send(&client_frame(CLOSE, &close_payload(1000, "")));
    socket.assert_close_answered(1000);
    let end = backend.told();
    assert_eq!(end.body, b"CLOSE 2\r\n\x03\xe8\r\n");
    assert_eq!(
        (end.header("X-Tidegate-Sequence"), end.header("Meta-User")),
        (Some("4"), Some("ann"))
    );

    let socket = open(&gateway);
    assert_ne!(backend.told().header("Connection-Id"), Some(id));
    drop(socket);
    assert_eq!(backend.told().text(), "DISCONNECT\r\n");
    until("the counters are those of these requests", || {
        (gateway.counter("event_requests") == 6).then_some(())
    });
    assert_eq!((gateway.counter("event_failures"), gateway.counter("event_drops")), (0, 0));
    assert!(backend.is_quiet());
}

/// Texts in one reply, which a loop does in many parts.
const MANY: usize = 20_000;

/// Answers "many" by as many texts, of which each is its number, and others as [`echo`].
fn many(told: &Told) -> Answer {
    if told.text() != "TEXT 4\r\nmany\r\n" {
        return echo(told);
    }
    let event = |number: usize| {
        let content = number.to_string();
        format!("TEXT {:x}\r\n{content}\r\n", content.len())
    };
    events("", &(0..MANY).map(event).collect::<String>())
}

#[test]
fn a_long_reply_is_obeyed_in_order_and_before_the_next_request() {
    let backend = EventsBackend::start(many);
    let gateway = in_front_of(backend.address, "");
    let mut socket = open(&gateway);
    socket.send(&client_frame(TEXT, b"many"));
    let first = socket.receive_frame();
    assert_eq!(first.payload, b"0");
    socket.send(&client_frame(TEXT, b"next"));
    for number in 1..MANY {
        assert_eq!(socket.receive_frame().payload, number.to_string().as_bytes());
    }
    assert_eq!(socket.receive_frame().payload, b"next");
    assert_eq!((gateway.counter("event_drops"), gateway.counter("effects_ignored")), (0, 0));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_long_reply_leaves_nothing_behind() {
    let backend = EventsBackend::start(many);
    let gateway = in_front_of(backend.address, "");
    let before = gateway.counter("pool_bytes_now");
    for _ in 0..4 {
        let mut socket = open(&gateway);
        assert_eq!(backend.told().text(), "OPEN\r\n");
        socket.send(&client_frame(TEXT, b"many"));
        backend.told();
        socket.receive_frame();
        drop(socket);
        assert_eq!(backend.told().text(), "DISCONNECT\r\n");
    }
    until("all memory is given back", || {
        (gateway.counter("pool_bytes_now") == before).then_some(())
    });
}

#[test]
fn a_route_that_comes_back_knows_whom_it_has_let_in() {
    let backend = EventsBackend::start(echo);
    let with = upstream(backend.address) + &route("");
    let without = "loops = 2\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n".to_owned();
    let mut own = Reloaded::start(&with);
    let mut socket = open(&own.gateway);
    let id = backend.told().header("Connection-Id").map(str::to_owned);
    for toml in [&without, &with] {
        own.reload(toml);
        socket.send(&client_frame(TEXT, b"hello"));
        assert_eq!(socket.receive_frame().payload, b"hello");
        assert_eq!(backend.told().header("Connection-Id").map(str::to_owned), id);
    }
    drop(socket);
    assert_eq!(backend.told().text(), "DISCONNECT\r\n");
    assert_eq!(own.gateway.counter("event_drops"), 0);
}

#[test]
fn what_comes_while_the_backend_thinks_travels_in_one_request() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let backend = EventsBackend::start(move |told| {
        if told.text().ends_with("first\r\n") {
            wait.lock().unwrap().recv().unwrap();
        }
        echo(told)
    });
    let gateway = in_front_of(backend.address, "");
    let mut socket = open(&gateway);
    backend.told();
    socket.send(&client_frame(TEXT, b"first"));
    // Another connection is not held up.
    let mut other = open(&gateway);
    backend.told();
    other.send(&client_frame(TEXT, b"other"));
    assert_eq!(other.receive_frame().payload, b"other");
    assert_eq!(backend.told().text(), "TEXT 5\r\nother\r\n");
    for number in 0..20 {
        socket.send(&client_frame(TEXT, format!("{number}").as_bytes()));
    }
    // The gateway has taken all of them once it answers a ping behind them.
    socket.send(&client_frame(PING, b""));
    assert_eq!(socket.receive_frame().payload, b"");
    go.send(()).unwrap();
    assert_eq!(socket.receive_frame().payload, b"first");
    for number in 0..20 {
        assert_eq!(socket.receive_frame().payload, format!("{number}").as_bytes());
    }
    backend.told();
    let batch = backend.told().text();
    assert_eq!(batch.matches("TEXT").count(), 20, "{batch}");
}

#[test]
fn a_client_is_not_read_while_too_much_of_it_waits() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let backend = EventsBackend::start(move |told| {
        if told.text().ends_with("first\r\n") {
            wait.lock().unwrap().recv().unwrap();
        }
        let bytes = told.body.len();
        match told.body.as_slice() {
            b"OPEN\r\n" => events("", "OPEN\r\n"),
            _ => events("", &format!("TEXT {:x}\r\n{bytes}\r\n", bytes.to_string().len())),
        }
    });
    let gateway = in_front_of(backend.address, "waiting_bytes_max = 4096\n");
    let mut socket = open(&gateway);
    socket.send(&client_frame(TEXT, b"first"));
    backend.told();
    for _ in 0..8 {
        socket.send(&client_frame(BINARY, &[b'x'; 1000]));
    }
    socket.send(&client_frame(TEXT, b"end"));
    go.send(()).unwrap();
    let mut bytes = 0;
    while bytes < 8003 {
        let told = backend.told();
        bytes += told.body.iter().filter(|byte| **byte == b'x').count();
        bytes += if told.text().contains("end") { 3 } else { 0 };
    }
    assert_eq!(bytes, 8003);
    drop(socket);
    assert!(
        until("the end is told", || Some(backend.told().text()).filter(|own| own.contains("DISC")))
            .contains("DISC")
    );
}

#[test]
fn a_refusal_of_the_backend_reaches_the_client() {
    let backend = EventsBackend::start(|told| match told.line.split(' ').nth(1) {
        Some("/app/login") => reply(
            "401 Unauthorized",
            "Content-Type: application/json\r\nWWW-Authenticate: Bearer\r\nSet-Cookie: x=y\r\n",
            "{\"error\":\"who\"}",
        ),
        Some("/app/page") => reply("200 OK", "Content-Type: text/html\r\n", "<html>"),
        Some("/app/empty") => events("", ""),
        Some("/app/garbage") => events("", "hello"),
        _ => reply("503 Service Unavailable", "Retry-After: 7\r\n", ""),
    });
    let gateway = in_front_of(backend.address, "failures_max = 100\n");
    let asked = |path: &str| {
        let (mut socket, reply) = ask(&gateway, &Request::upgrade(path));
        let length: usize = reply.header("Content-Length").unwrap().parse().unwrap();
        let body = socket.take(length);
        (reply, String::from_utf8(body).unwrap())
    };
    let (refused, body) = asked("/app/login");
    assert_eq!((refused.status, body.as_str()), (401, "{\"error\":\"who\"}"));
    assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
    assert_eq!(refused.header("Content-Type"), Some("application/json"));
    assert_eq!(refused.header("Set-Cookie"), Some("x=y"));
    for (path, status) in
        [("/app/page", 502), ("/app/empty", 502), ("/app/garbage", 502), ("/app/busy", 503)]
    {
        assert_eq!(asked(path).0.status, status, "{path}");
    }
    assert_eq!(asked("/app/busy").0.header("Retry-After"), Some("7"));
}

#[test]
fn the_backend_closes_a_connection_with_a_code_that_may_be_sent() {
    let backend = EventsBackend::start(|told| match told.text().as_str() {
        "OPEN\r\n" => events("", "OPEN\r\n"),
        "TEXT 4\r\ncode\r\n" => events("", "CLOSE 5\r\n\u{f}\u{7f}bye\r\n"),
        "TEXT 4\r\nnone\r\n" => events("", "CLOSE 2\r\n\0\0\r\n"),
        "TEXT 4\r\ndrop\r\n" => events("", "DISCONNECT\r\n"),
        "TEXT 4\r\ngone\r\n" => reply("404 Not Found", "", ""),
        _ => events("", "rubbish"),
    });
    let gateway = in_front_of(backend.address, "");
    for (text, code) in
        [("code", 3967), ("none", 1000), ("drop", 1011), ("gone", 1011), ("odd", 1011)]
    {
        let mut socket = open(&gateway);
        socket.send(&client_frame(TEXT, text.as_bytes()));
        socket.assert_closed_with(code);
    }
}

#[test]
fn without_a_backend_clients_are_refused_and_those_inside_dropped() {
    let gateway = in_front_of(reserved_address(), "failures_max = 2\n");
    for status in [502, 502, 503] {
        let (_, reply) = ask(&gateway, &Request::upgrade("/app/ws"));
        assert_eq!(reply.status, status);
    }
    gateway.assert_counter("event_stops", 1);

    let backend = EventsBackend::start(|told| match told.body.as_slice() {
        b"OPEN\r\n" => events("", "OPEN\r\n"),
        // What was told may have been done, so it is not told again.
        _ => None,
    });
    let gateway = in_front_of(backend.address, "");
    let mut socket = open(&gateway);
    backend.told();
    socket.send(&client_frame(TEXT, b"hello"));
    socket.assert_closed_with(1011);
    assert_eq!(backend.told().text(), "TEXT 5\r\nhello\r\n");
    // The end is told until it is taken, each time with the same number.
    let ends = [backend.told(), backend.told()];
    for end in &ends {
        assert_eq!(end.text(), "DISCONNECT\r\n");
        assert_eq!(end.header("X-Tidegate-Sequence"), Some("3"));
    }
}

/// `examples/events/backend.py`, as it stands in the documents.
#[test]
fn the_example_greets_and_echoes() {
    let Ok(mut child) = Command::new("python3")
        .arg(below_root("examples/events/backend.py"))
        .arg("0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return skip_without("Python 3");
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let port: u16 = line().strip_prefix("ready ").unwrap().parse().unwrap();
    let gateway = in_front_of(([127, 0, 0, 1], port).into(), "");
    let (mut socket, reply) = ask(&gateway, &Request::upgrade("/app/ann"));
    assert_eq!(reply.status, 101);
    assert_eq!(socket.receive_frame().payload, b"welcome, ann");
    socket.assert_echoes(b"hello");
    socket.close();
    assert_eq!(line(), "ann has left");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Subscribes every client to `room`, and the words that it sends to `c:`.
fn with_grip(told: &Told) -> Answer {
    let subscribe = r#"c:{"channel": "room", "type": "subscribe"}"#;
    match told.text().as_str() {
        "OPEN\r\n" => events(
            "Sec-WebSocket-Extensions: grip; message-prefix=\"\"\r\n",
            &format!("OPEN\r\nTEXT {:x}\r\n{subscribe}\r\n", subscribe.len()),
        ),
        "TEXT 5\r\nleave\r\n" => {
            let leave = r#"c:{"channel": "room", "type": "unsubscribe"}"#;
            events("", &format!("TEXT {:x}\r\n{leave}\r\nTEXT 4\r\nleft\r\n", leave.len()))
        }
        _ => events("", ""),
    }
}

#[test]
fn what_is_published_reaches_the_members_of_a_channel_on_all_loops() {
    let backend = EventsBackend::start(with_grip);
    let gateway = in_front_of(backend.address, CONFIG);
    let admin = gateway.admin_address();
    let publish = |json: &str| post(admin, "/publish/", &format!("{{\"items\": [{json}]}}"));
    let mut clients: Vec<Socket> = (0..4).map(|_| open(&gateway)).collect();
    let reply = publish(r#"{"channel": "room", "ws-message": {"content": "hello"}}"#);
    assert_eq!((reply.status, reply.body.as_str()), (200, "Published\n"));
    assert_eq!(reply.header("X-Tidegate-Sent"), Some("4"));
    for client in &mut clients {
        assert_eq!(client.receive_frame().payload, b"hello");
    }
    clients[0].send(&client_frame(TEXT, b"leave"));
    assert_eq!(clients[0].receive_frame().payload, b"left");
    let bytes = r#"{"channel": "room", "formats": {"ws-message": {"content-bin": "AQI="}}}"#;
    assert_eq!(publish(bytes).header("X-Tidegate-Sent"), Some("3"));
    for client in &mut clients[1..] {
        let frame = client.receive_frame();
        assert_eq!((frame.first, frame.payload), (BINARY, vec![1, 2]));
    }
    let elsewhere = r#"{"channel": "other", "ws-message": {"content": "hello"}}"#;
    assert_eq!(publish(elsewhere).header("X-Tidegate-Sent"), Some("0"));
    assert_eq!(publish(r#"{"channel": "room"}"#).status, 400);
    let close = r#"{"channel": "room", "ws-message": {"action": "close", "code": 4001}}"#;
    assert_eq!(publish(close).header("X-Tidegate-Sent"), Some("3"));
    for client in &mut clients[1..] {
        client.assert_close_answered(4001);
    }
    // No client is a member of what it has left, by itself or with its connection.
    until("all have left", || {
        let reply = publish(r#"{"channel": "room", "ws-message": {"content": "late"}}"#);
        (reply.header("X-Tidegate-Sent") == Some("0")).then_some(())
    });
    let none = request(admin, "POST", "/publish", &[], "{\"items\": []}");
    assert_eq!(none.status, 401);
    let json = ["Accept: application/json", "Authorization: Bearer 0123456789abcdef"];
    let reply = request(admin, "POST", "/publish", &json, "{\"items\": []}").json();
    assert_eq!((reply["message"].as_str(), reply["sent"].as_u64()), (Some("Published"), Some(0)));
}
