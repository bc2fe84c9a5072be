//! Backends by the libraries of GRIP, unmodified: django-grip, gripcontrol and pubcontrol in Python,
//! @fanoutio/grip and @fanoutio/serve-grip in Node.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{fs, thread};

use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::clients::{below_root, run};
use crate::events_backend::{EventsBackend, Told, events};
use crate::frames::{BINARY, CLOSE, PING, TEXT, client_frame, close_payload};
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::Request;
use crate::skip::skip_without;
use crate::socket::Socket;

const KEY: &str = "a-key-for-both-of-them-of-32-bytes";

/// A gateway with a listener for backends, whose own backend is started when that is known.
struct Edge {
    gateway: Gateway,
    file: NamedTempFile,
}

fn config(port: u16, more: &str) -> String {
    format!(
        "loops = 2\n[api]\naddress = \"127.0.0.1:0\"\nkeys = \"{KEY}\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:{port}\"]\n\
         [[route]]\npath = \"/chat/*\"\nservice = \"events\"\nupstream = \"app\"\n\
         grip_key = \"{KEY}\"\ngrip_iss = \"edge\"\n{more}"
    )
}

impl Edge {
    fn start() -> Self {
        let file = config_file(&config(1, ""));
        let gateway = Gateway::launch_with(&Launch::default(), Some(file.path()));
        Self { gateway, file }
    }

    /// Where the listener for backends is.
    fn api(&self) -> String {
        format!("http://{}", self.gateway.api_address())
    }

    /// Has the backend at this port be asked from now on.
    fn use_backend(&self, port: u16) {
        write_config(self.file.path(), &config(port, ""));
        self.gateway.signal(Signal::HUP);
        self.gateway.logged("the configuration is reloaded");
    }

    fn open(&self, path: &str) -> Socket {
        let mut socket = Socket::connect(self.gateway.address());
        socket.send(&Request::upgrade(path).bytes());
        assert_eq!(socket.receive_head().status, 101);
        socket
    }
}

/// A backend that is a process of its own.
struct Backend {
    child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Backend {
    /// Starts it, and waits until it says that it is ready.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let port = line.strip_prefix("ready ").unwrap().parse().unwrap();
        Self { child, _lines: lines, port }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python with the libraries, if it is there.
fn python(module: &str) -> Option<Command> {
    let python = below_root("target/clients/python/bin/python");
    let mut probe = Command::new(&python);
    probe
        .args([
            "-c",
            &format!(
                "import importlib.util, sys; sys.exit(importlib.util.find_spec({module:?}) is None)"
            ),
        ])
        .stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        skip_without(&format!("{module} for Python, which scripts/install-clients installs"));
        return None;
    }
    Some(Command::new(python))
}

fn say(socket: &mut Socket, text: &str) {
    socket.send(&client_frame(TEXT, text.as_bytes()));
}

fn hear(socket: &mut Socket) -> String {
    let frame = socket.receive_frame();
    assert_eq!(frame.first, TEXT, "{frame:?}");
    String::from_utf8(frame.payload).unwrap()
}

/// `examples/django-grip`, as it stands in the documents.
#[test]
fn django_grip_keeps_a_chat_room() {
    let Some(mut command) = python("django_grip") else { return };
    let edge = Edge::start();
    command.arg(below_root("examples/django-grip/app.py")).arg("0");
    command.env("GRIP_URL", format!("{}?iss=edge&key={KEY}", edge.api()));
    let backend = Backend::start(&mut command);
    edge.use_backend(backend.port);
    let mut ann = edge.open("/chat/lobby?name=ann");
    assert_eq!(hear(&mut ann), "welcome to lobby, ann");
    let mut bob = edge.open("/chat/lobby?name=bob");
    assert_eq!(hear(&mut bob), "welcome to lobby, bob");
    say(&mut ann, "hello");
    assert_eq!(hear(&mut bob), "ann: hello");
    say(&mut bob, "hi");
    // Her own message was not among what she got.
    assert_eq!(hear(&mut ann), "bob: hi");
    // Detached, she is a member as before, and what she says is not told.
    say(&mut ann, "/quiet");
    assert_eq!(hear(&mut ann), "you are not heard any more");
    say(&mut ann, "not heard");
    say(&mut bob, "still there?");
    assert_eq!(hear(&mut ann), "bob: still there?");
    let mut eve = edge.open("/chat/lobby?name=eve");
    assert_eq!(hear(&mut eve), "welcome to lobby, eve");
    eve.send(&client_frame(CLOSE, &close_payload(1000, "")));
    eve.assert_close_answered(1000);
    assert_eq!(hear(&mut bob), "eve: has left");
    let gone = edge.open("/chat/lobby?name=gone");
    drop(gone);
    assert_eq!(hear(&mut bob), "gone: is gone");
    say(&mut bob, "/quit");
    bob.assert_closed_with(1000);
    // Without the signature of the gateway no request is answered.
    let mut stranger = Socket::connect(([127, 0, 0, 1], backend.port).into());
    let head = "POST /chat/lobby HTTP/1.1\r\nHost: a\r\nContent-Type: application/websocket-events\r\n\
                Content-Length: 6\r\nConnection: close\r\n\r\nOPEN\r\n";
    stranger.send(head.as_bytes());
    // Its server speaks an older HTTP than the gateway's own replies.
    assert_eq!(stranger.take("HTTP/1.x 403".len())[9..], *b"403");
}

/// Lets clients into `room`, under the name that the path ends with.
fn members(told: &Told) -> Option<Vec<u8>> {
    let control = |json: &str| format!("TEXT {:x}\r\nc:{json}\r\n", json.len() + 2);
    let name = told.line.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap();
    let meta = format!(r#"{{"type": "set-meta", "name": "user", "value": "{name}"}}"#);
    let subscribe = r#"{"type": "subscribe", "channel": "room", "filters": ["skip-self"]}"#;
    match told.text().as_str() {
        "OPEN\r\n" => events(
            "Sec-WebSocket-Extensions: grip\r\n",
            &format!("OPEN\r\n{}{}", control(&meta), control(subscribe)),
        ),
        _ => events("", ""),
    }
}

#[test]
fn gripcontrol_publishes_in_every_form() {
    let Some(mut command) = python("gripcontrol") else { return };
    let edge = Edge::start();
    let backend = EventsBackend::start(members);
    edge.use_backend(backend.address.port());
    let mut ann = edge.open("/chat/ann");
    let mut bob = edge.open("/chat/bob");
    command.arg(below_root("tests/clients/grip_publish.py")).args([&edge.api(), KEY]);
    let publishing = thread::spawn(move || run(command));
    for (socket, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        assert_eq!((hear(socket), hear(socket)), ("by token".into(), "by key".into()));
        let frame = socket.receive_frame();
        assert_eq!((frame.first, frame.payload), (BINARY, vec![1, 2]));
        for number in 0..3 {
            assert_eq!(hear(socket), format!("later {number}"));
        }
        for id in 1..=3 {
            assert_eq!(hear(socket), format!("id {id}"));
        }
        let frame = socket.receive_frame();
        assert_eq!((frame.first, frame.payload), (PING, b"p".to_vec()));
        if name != "ann" {
            assert_eq!(hear(socket), "not for ann");
        }
        socket.assert_closed_with(4001);
    }
    let output = publishing.join().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
}

#[test]
fn serve_grip_publishes_subscribes_and_detaches() {
    let folder = below_root("target/clients");
    if !folder.join("node_modules/@fanoutio/serve-grip").exists() {
        return skip_without("@fanoutio/serve-grip, which scripts/install-clients installs");
    }
    let edge = Edge::start();
    // Modules are found from where the file is.
    let script = tempfile::Builder::new().suffix(".mjs").tempfile_in(&folder).unwrap();
    fs::copy(below_root("tests/clients/grip.mjs"), script.path()).unwrap();
    let backend = Backend::start(Command::new("node").arg(script.path()).args([&edge.api(), KEY]));
    edge.use_backend(backend.port);
    let mut one = edge.open("/chat/one");
    let mut two = edge.open("/chat/two");
    say(&mut one, "a");
    say(&mut one, "b");
    assert_eq!((hear(&mut one), hear(&mut one)), ("1: a".into(), "2: b".into()));
    say(&mut one, "all");
    for socket in [&mut one, &mut two] {
        assert_eq!(hear(socket), "to all");
        let frame = socket.receive_frame();
        assert_eq!((frame.first, frame.payload), (BINARY, vec![1, 2]));
    }
    say(&mut one, "later");
    assert_eq!(hear(&mut one), "delayed");
    say(&mut two, "leave");
    assert_eq!(hear(&mut two), "left");
    say(&mut two, "end");
    one.assert_closed_with(4001);
    say(&mut two, "detach");
    two.send(&client_frame(CLOSE, &close_payload(1000, "")));
    two.assert_close_answered(1000);
    assert_eq!(edge.gateway.counter("event_failures"), 0);
}

/// What clients get and what the backend is told is the same through Pushpin.
#[test]
fn pushpin_holds_the_same_conversation() {
    let Some(mut command) = python("websockets") else { return };
    let servers = below_root("target/servers");
    if !servers.join("pushpin-handler").exists() {
        return skip_without("Pushpin, which scripts/install-servers installs");
    }
    command.arg(below_root("tests/clients/pushpin.py"));
    command.args([env!("CARGO_BIN_EXE_tidegate").as_ref(), servers.as_os_str()]);
    assert_eq!(String::from_utf8_lossy(&run(command).stdout), "same\n");
}
