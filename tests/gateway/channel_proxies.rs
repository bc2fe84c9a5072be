//! Channels whose backend decides who clients are and what they may do.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::clients::{below_root, run};
use crate::events_backend::{Answer, EventsBackend, Told, reply};
use crate::frames::{TEXT, client_frame};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::port::reserved_address;
use crate::reload::Reloaded;
use crate::skip::skip_without;
use crate::socket::Socket;

/// A gateway in front of this backend, with these keys of its `[[channels.proxy]]`.
fn in_front_of(backend: SocketAddr, more: &str) -> Gateway {
    let example = std::fs::read_to_string(below_root("examples/channels/tidegate.toml")).unwrap();
    let example = example.replace("127.0.0.1:9001", &backend.to_string());
    let route = "service = \"channels\"";
    assert!(example.contains(route));
    let example = example.replace(route, &format!("{route}\norigins = \"*\""));
    let proxy = "path = \"/channels/*\"\n";
    assert!(example.contains(proxy));
    Gateway::with_config(&format!(
        "loops = 2\n{}",
        example.replace(proxy, &format!("{proxy}{more}"))
    ))
}

/// `examples/channels/backend.py`, as it stands in the documents, until this is dropped.
struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    fn start() -> Option<Self> {
        let mut child = Command::new("python3")
            .arg(below_root("examples/channels/backend.py"))
            .arg("0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().strip_prefix("ready ").unwrap().parse().unwrap();
        Some(Self { child, address: ([127, 0, 0, 1], port).into() })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn centrifuge_js_is_decided_on_by_a_backend(package: &str) {
    let clients = below_root("target/clients/centrifuge");
    if !clients.join("node_modules").join(package).exists() {
        return skip_without("centrifuge, which scripts/install-clients installs");
    }
    let Some(example) = Example::start() else { return skip_without("Python 3") };
    let gateway = in_front_of(example.address, "");
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/centrifuge/proxies.mjs"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address()));
    command.arg(clients).arg(package);
    run(command);
}

#[test]
fn a_backend_decides_on_a_new_centrifuge_js() {
    centrifuge_js_is_decided_on_by_a_backend("centrifuge");
}

#[test]
fn a_backend_decides_on_an_old_centrifuge_js() {
    centrifuge_js_is_decided_on_by_a_backend("centrifuge-5.5");
}

#[test]
fn a_backend_decides_on_centrifuge_python() {
    let python = below_root("target/clients/centrifuge/python/bin/python");
    if !python.exists() {
        return skip_without("centrifuge-python, which scripts/install-clients installs");
    }
    let Some(example) = Example::start() else { return skip_without("Python 3") };
    let gateway = in_front_of(example.address, "");
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/centrifuge/proxies.py"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address()));
    run(command);
}

/// A client that sends commands as they are.
struct Client(Socket);

impl Client {
    fn open(gateway: &Gateway) -> Self {
        let request =
            Request::upgrade("/connection/websocket").with("Cookie", "name=ann").with("X-Own", "1");
        let mut socket = Socket::connect(gateway.address());
        socket.send(&request.bytes());
        assert_eq!(socket.receive_head().status, 101);
        Self(socket)
    }

    fn ask(&mut self, command: &Value) -> Value {
        self.0.send(&client_frame(TEXT, command.to_string().as_bytes()));
        serde_json::from_slice(&self.0.receive_frame().payload).unwrap()
    }
}

fn json_reply(body: &Value) -> Answer {
    reply("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}

fn question(told: &Told) -> String {
    let path = told.line.split(' ').nth(1).unwrap();
    path.rsplit('/').next().unwrap().to_owned()
}

fn internal(id: u32) -> Value {
    let error = json!({ "code": 100, "message": "internal server error", "temporary": true });
    json!({ "id": id, "error": error })
}

#[test]
fn questions_are_requests_with_what_is_passed_on() {
    let backend = EventsBackend::start(|_| json_reply(&json!({ "result": { "user": "ann" } })));
    let more = "host = \"app.example\"\nset_headers = [\"X-Key: s3cret\"]\n\
                emulated_headers = [\"Authorization\"]\n";
    let gateway = in_front_of(backend.address, more);
    let mut own = Client::open(&gateway);
    let headers = json!({ "Authorization": "Bearer x", "Cookie": "name=root" });
    let connected = own.ask(&json!({ "id": 1, "connect": { "headers": headers } }));
    assert!(connected["connect"].is_object(), "{connected}");
    let told = backend.told();
    assert_eq!(told.line, "POST /channels/connect HTTP/1.1");
    for (name, value) in [
        ("Host", Some("app.example")),
        ("Content-Type", Some("application/json")),
        ("X-Key", Some("s3cret")),
        ("Cookie", Some("name=ann")),
        ("Authorization", Some("Bearer x")),
        ("X-Own", None),
    ] {
        assert_eq!(told.header(name), value, "{name}");
    }
    let body: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!((&body["transport"], body.get("user")), (&json!("websocket"), None));
    own.ask(&json!({ "id": 2, "rpc": { "method": "x", "data": [1] } }));
    let told = backend.told();
    assert_eq!(told.line, "POST /channels/rpc HTTP/1.1");
    assert_eq!(told.header("Cookie"), Some("name=ann"));
}

#[test]
fn a_slow_a_failing_and_a_lying_backend_come_to_error_100() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let backend = EventsBackend::start(move |told| {
        let body: Value = serde_json::from_slice(&told.body).unwrap();
        match body["method"].as_str() {
            None => json_reply(&json!({ "result": { "user": "ann" } })),
            Some("slow") => {
                // It ends with the test.
                let _ = held.lock().unwrap().recv();
                None
            }
            Some("dead") => None,
            Some("broken") => reply("200 OK", "", "no json"),
            Some("lying") => json_reply(&json!({ "error": { "code": 1, "message": "" } })),
            Some("other") => reply("302 Found", "Location: /x\r\n", ""),
            Some("mapped") => reply("404 Not Found", "", "what?"),
            Some("later") => reply("503 Service Unavailable", "", ""),
            Some(_) => json_reply(&json!({ "result": { "data": "right" } })),
        }
    });
    let more = "failures_max = 100\n\
                statuses = [\"404 error 1404 not found\", \"503 temporary 1503 later\"]\n";
    let gateway = in_front_of(backend.address, more);
    let mut own = Client::open(&gateway);
    own.ask(&json!({ "id": 1, "connect": {} }));
    let mut call =
        |id: u32, method: &str| own.ask(&json!({ "id": id, "rpc": { "method": method } }));
    for (id, method) in [(2, "dead"), (3, "broken"), (4, "lying"), (5, "other")] {
        assert_eq!(call(id, method), internal(id), "{method}");
    }
    let error = json!({ "code": 1404, "message": "not found" });
    assert_eq!(call(7, "mapped"), json!({ "id": 7, "error": error }));
    let error = json!({ "code": 1503, "message": "later", "temporary": true });
    assert_eq!(call(8, "later"), json!({ "id": 8, "error": error }));
    assert_eq!(call(9, "right"), json!({ "id": 9, "rpc": { "data": "right" } }));
    // No other answer depends on how fast this machine is.
    let mut own = Reloaded::start(&asking(backend.address, "/*", "", CONNECT, ALL_CALLS));
    let mut client = Client::open(&own.gateway);
    assert!(client.ask(&json!({ "id": 1, "connect": {} }))["connect"].is_object());
    let impatient = asking(backend.address, "/*", "", CONNECT, ALL_CALLS);
    own.reload(&impatient.replace("timeout_ms = 60000", "timeout_ms = 300"));
    let reply = client.ask(&json!({ "id": 2, "rpc": { "method": "slow" } }));
    assert_eq!(reply, internal(2));
    drop(release);
}

#[test]
fn a_backend_that_fails_again_and_again_is_left_alone() {
    let backend = EventsBackend::start(|told| match question(told).as_str() {
        "connect" => json_reply(&json!({ "result": { "user": "ann" } })),
        _ => reply("500 Internal Server Error", "", ""),
    });
    let gateway = in_front_of(backend.address, "failures_max = 3\n");
    let mut own = Client::open(&gateway);
    own.ask(&json!({ "id": 1, "connect": {} }));
    backend.told();
    for id in 2..8 {
        assert_eq!(own.ask(&json!({ "id": id, "rpc": { "method": "x" } })), internal(id));
    }
    for _ in 0..3 {
        assert_eq!(question(&backend.told()), "rpc");
    }
    assert!(backend.is_quiet(), "it is left alone");
    gateway.logged("channels: the backend of the proxy app fails: its status is 500");
}

#[test]
fn a_client_that_comes_while_no_backend_is_there_is_asked_to_come_again() {
    let gateway = in_front_of(reserved_address(), "");
    let mut own = Client::open(&gateway);
    assert_eq!(own.ask(&json!({ "id": 1, "connect": {} })), internal(1));
}

const CONNECT: &str = "connect_proxy = \"app\"\n";
const ALL_CALLS: &str = "[[channels.rpc]]\nmethod = \"*\"\nproxy = \"app\"\n";

/// A configuration that asks this backend, at this path, what these lines of `[channels]` and `[[channels.rpc]]` say.
fn asking(backend: SocketAddr, path: &str, headers: &str, channels: &str, rpc: &str) -> String {
    format!(
        r#"
        loops = 2
        [[upstream]]
        name = "app"
        servers = ["{backend}"]
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        [channels]
        {channels}
        [[channels.proxy]]
        name = "app"
        upstream = "app"
        path = "{path}"
        headers = [{headers}]
        timeout_ms = 60000
        {rpc}
        [[channels.namespace]]
        name = "room"
        subscribe_proxy = "app"
        "#
    )
}

#[test]
fn other_backends_are_asked_after_a_reload_about_clients_that_are_there() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let old = EventsBackend::start(move |told| {
        let body: Value = serde_json::from_slice(&told.body).unwrap();
        if body["method"] == "slow" {
            // Until the gateway has been reloaded.
            let _ = held.lock().unwrap().recv();
        }
        json_reply(&json!({ "result": { "user": "ann", "data": "old" } }))
    });
    let new = EventsBackend::start(|_| {
        json_reply(&json!({ "result": { "user": "bea", "data": "new" } }))
    });
    let mut own = Reloaded::start(&asking(old.address, "/old/*", "\"Cookie\"", CONNECT, ALL_CALLS));
    let mut client = Client::open(&own.gateway);
    assert!(client.ask(&json!({ "id": 1, "connect": {} }))["connect"].is_object());
    let subscribe =
        |id: u32, channel: &str| json!({ "id": id, "subscribe": { "channel": channel } });
    assert!(client.ask(&subscribe(2, "room:a"))["subscribe"].is_object());
    let call = |id: u32, method: &str| json!({ "id": id, "rpc": { "method": method } });
    for kind in ["connect", "subscribe"] {
        assert_eq!(old.told().line, format!("POST /old/{kind} HTTP/1.1"));
    }
    let slow = call(3, "slow").to_string();
    client.0.send(&client_frame(TEXT, slow.as_bytes()));

    // What is under way is answered by the backend that was asked.
    own.reload(&asking(new.address, "/new/*", "\"Cookie\", \"X-Own\"", CONNECT, ALL_CALLS));
    drop(release);
    let frame = client.0.receive_frame();
    let reply: Value = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!(reply, json!({ "id": 3, "rpc": { "data": "old" } }));
    assert_eq!(old.told().line, "POST /old/rpc HTTP/1.1");

    // What comes next is asked of the other, by whom the old one has let in.
    let reply = client.ask(&call(4, "quick"));
    assert_eq!(reply, json!({ "id": 4, "rpc": { "data": "new" } }));
    let told = new.told();
    assert_eq!(told.line, "POST /new/rpc HTTP/1.1");
    let body: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!((&body["user"], told.header("Cookie")), (&json!("ann"), Some("name=ann")));
    assert!(client.ask(&subscribe(5, "room:b"))["subscribe"].is_object());
    assert_eq!(new.told().line, "POST /new/subscribe HTTP/1.1");
    assert_eq!(client.ask(&subscribe(6, "room:a"))["error"]["code"], 105, "it is in it still");
    let mut other = Client::open(&own.gateway);
    assert!(other.ask(&json!({ "id": 1, "connect": {} }))["connect"].is_object());
    let told = new.told();
    assert_eq!((&*told.line, told.header("X-Own")), ("POST /new/connect HTTP/1.1", Some("1")));

    // Without proxies who is there stays, and what needs one is not available.
    own.reload(&asking(new.address, "/new/*", "", "", ""));
    assert_eq!(client.ask(&call(7, "quick"))["error"]["code"], 108);
    assert_eq!(other.ask(&subscribe(2, "nowhere:a"))["error"]["code"], 102);
    let mut late = Client::open(&own.gateway);
    let connect = json!({ "id": 1, "connect": {} }).to_string();
    late.0.send(&client_frame(TEXT, connect.as_bytes()));
    late.0.assert_close_answered(3501);
    assert!(old.is_quiet() && new.is_quiet());
}
