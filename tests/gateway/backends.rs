//! Clients that are known by a backend of the operator's own, in Python: its callback, and its tokens.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::clients::below_root;
use crate::frames::{TEXT, client_frame};
use crate::gateway::{Gateway, Log};
use crate::messages::{Reply, Request};
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::wait::until;

/// `tests/clients/backend.py`, or an example of the documents, as a process that always ends.
struct Backend {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Backend {
    /// `None`, with a note, where PyJWT is not installed.
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut command = python()?;
        command.arg(below_root("tests/clients/backend.py")).arg(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut backend = Self { child, folder, port: 0 };
        backend.port = until("the backend listens", || {
            assert!(backend.child.try_wait().unwrap().is_none(), "the backend has ended");
            fs::read_to_string(backend.folder.path().join("port")).ok()?.parse().ok()
        });
        Some(backend)
    }

    fn tokens(&self) -> HashMap<String, String> {
        let text = fs::read_to_string(self.folder.path().join("tokens.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn rotate(&self) {
        fs::write(self.folder.path().join("rotate"), "").unwrap();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python() -> Option<Command> {
    let python = below_root("target/clients/python/bin/python");
    let has_jwt = Command::new(&python).args(["-c", "import jwt, flask"]).output();
    if !has_jwt.is_ok_and(|output| output.status.success()) {
        skip_without("PyJWT and Flask, which scripts/install-clients installs");
        return None;
    }
    Some(Command::new(python))
}

fn callback(port: u16, keys: &str) -> String {
    format!(
        "loops = 2\n[[identity]]\nname = \"app\"\nkind = \"callback\"\n\
         callback_url = \"http://127.0.0.1:{port}/who?secret=s3cret\"\ncallback_cookies = [\"session\"]\n\
         {keys}\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\nidentity = [\"app\"]\n\
         [[route]]\npath = \"/open\"\nservice = \"echo\"\n"
    )
}

fn tokens(port: u16, keys: &str) -> String {
    format!(
        "loops = 2\n[[identity]]\nname = \"users\"\nkind = \"jwt\"\n\
         jwks_url = \"http://127.0.0.1:{port}/keys\"\naudiences = [\"edge\"]\n\
         token_query = \"token\"\ntoken_cookie = \"jwt\"\ntoken_subprotocol = \"bearer.\"\n\
         jwks_unknown_key_ms = 100\n{keys}\n\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\nidentity = [\"users\"]\n\
         subprotocols = [\"own.v1\"]\n"
    )
}

/// The reply to a request for `path` with this header.
fn reply(address: SocketAddr, path: &str, header: Option<(&str, &str)>) -> Reply {
    let mut request = Request::upgrade(path);
    if let Some((name, value)) = header {
        request = request.with(name, value);
    }
    let mut socket = Socket::connect(address);
    socket.send(&request.bytes());
    let reply = socket.receive_head();
    if reply.status == 101 {
        socket.send(&client_frame(TEXT, b"hello"));
        assert_eq!(socket.receive_frame().payload, b"hello");
    }
    reply
}

#[test]
fn a_backend_says_who_may_come_in() {
    let Some(backend) = Backend::start() else { return };
    let gateway = Gateway::with_config(&callback(backend.port, ""));
    let ask = |session: &str| {
        let cookie = format!("theme=dark; session={session}");
        reply(gateway.address(), "/echo?x=1", Some(("Cookie", &cookie)))
    };
    let admitted = ask("ann");
    assert_eq!(admitted.status, 101);
    assert_eq!(admitted.header("Set-Cookie"), Some("seen=1; HttpOnly"));
    let told = admitted.header("X-Told").unwrap();
    assert_eq!(told, r#"{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Uri": "/echo"}"#);
    let request = Request::upgrade("/echo").with("Cookie", "session=none");
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(&request.bytes()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let refused = Reply::parse(&received);
    assert_eq!((refused.status, &*refused.body), (401, &b"log in first\n"[..]));
    assert_eq!(refused.header("WWW-Authenticate"), Some("Cookie realm=\"app\""));
    assert_eq!(ask("banned").status, 403);
    for session in ["lost", "moved", "html", "header"] {
        assert_eq!(ask(session).status, 503, "{session}");
    }
    assert_eq!(reply(gateway.address(), "/echo", None).status, 401);
    assert_eq!(reply(gateway.address(), "/open", None).status, 101);
    // Nothing of what proves who clients are, and nothing of the URL's query.
    let log = gateway.log_lines().join("\n");
    assert!(log.contains("is of no use"), "{log}");
    assert!(!log.contains("s3cret") && !log.contains("session="), "{log}");
}

#[test]
fn a_backend_that_hangs_or_is_gone_costs_others_nothing() {
    let Some(backend) = Backend::start() else { return };
    let keys = "connections_max = 2\nwaiting_max = 8\ncallback_ms = 4000\nfailures_max = 2\n\
                callback_query = [\"n\"]";
    let gateway = Gateway::with_config(&callback(backend.port, keys));
    let hanging: Vec<Socket> = (0..8)
        .map(|number| {
            let mut socket = Socket::connect(gateway.address());
            // Equal requests would share one.
            let request = Request::upgrade(&format!("/echo?n={number}"));
            let request = request.with("Cookie", "session=hang");
            socket.send(&request.bytes());
            socket
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(reply(gateway.address(), "/open", None).status, 101);
    }
    for mut socket in hanging {
        assert_eq!(socket.receive_head().status, 503);
    }
    drop(backend);
    let ask = |user: &str| {
        let cookie = format!("session={user}");
        reply(gateway.address(), "/echo", Some(("Cookie", &cookie))).status
    };
    for number in 0..10 {
        assert_eq!(ask(&format!("user{number}")), 503);
    }
    gateway.logged("it is asked again in");
    assert_eq!(reply(gateway.address(), "/open", None).status, 101);
}

#[test]
fn a_token_says_who_comes_wherever_it_stands() {
    let Some(backend) = Backend::start() else { return };
    let gateway = Gateway::with_config(&tokens(backend.port, ""));
    let tokens = backend.tokens();
    let address = gateway.address();
    let good = &tokens["good"];
    assert_eq!(reply(address, &format!("/echo?token={good}"), None).status, 101);
    for (name, value) in [
        ("Authorization", format!("Bearer {good}")),
        ("authorization", format!("bearer  {good}")),
        ("Cookie", format!("a=1; jwt={good}")),
    ] {
        assert_eq!(reply(address, "/echo", Some((name, &value))).status, 101, "{name}");
    }
    let offers = format!("bearer.{good}, own.v1");
    let by_subprotocol = reply(address, "/echo", Some(("Sec-WebSocket-Protocol", &offers)));
    assert_eq!(by_subprotocol.status, 101);
    assert_eq!(by_subprotocol.header("Sec-WebSocket-Protocol"), Some("own.v1"));
    let alone = format!("bearer.{good}");
    let alone = reply(address, "/echo", Some(("Sec-WebSocket-Protocol", &alone)));
    assert_eq!((alone.status, alone.header("Sec-WebSocket-Protocol")), (101, None));
    // The first place decides, and a bad token there is not made good by another one.
    let path = format!("/echo?token={good}");
    let bad = format!("Bearer {}", tokens["expired"]);
    assert_eq!(reply(address, &path, Some(("Authorization", &bad))).status, 401);
    assert_eq!(reply(address, "/echo", Some(("Authorization", "Basic eDp5"))).status, 401);

    for name in [
        "forged",
        "expired",
        "early",
        "other_audience",
        "endless",
        "nameless",
        "unsigned",
        "confused",
    ] {
        let refused = reply(address, &format!("/echo?token={}", tokens[name]), None);
        assert_eq!(refused.status, 401, "{name}");
        let challenge = refused.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{name}: {challenge}");
    }
    let log = gateway.log_lines().join("\n");
    assert!(tokens.values().all(|token| !log.contains(token.as_str())), "{log}");
}

#[test]
fn keys_rotate_without_a_restart() {
    let Some(backend) = Backend::start() else { return };
    let gateway = Gateway::with_config(&tokens(backend.port, ""));
    let tokens = backend.tokens();
    let status = |name: &str| {
        reply(gateway.address(), &format!("/echo?token={}", tokens[name]), None).status
    };
    assert_eq!((status("good"), status("next")), (101, 401));
    backend.rotate();
    // The first token of a new key that comes after the pause has the keys fetched.
    until("the new key is known", || (status("next") == 101).then_some(()));
    assert_eq!(status("good"), 401);
    drop(backend);
    // What cannot be fetched now may be the key that is asked for.
    until("the keys cannot be fetched", || (status("good") == 503).then_some(()));
    assert_eq!(status("next"), 101);
    gateway.logged("cannot fetch keys");
}

/// An example of `docs/operations.md`: its application, running, and its configuration.
struct Example {
    backend: Backend,
    toml: String,
}

impl Example {
    fn start(name: &str) -> Option<Self> {
        let page = fs::read_to_string(below_root("docs/operations.md")).unwrap();
        let (_, example) = page.split_once(&format!("<!-- example: {name} -->")).unwrap();
        let block = |fence: &str| {
            let (_, rest) = example.split_once(fence).unwrap();
            rest.split_once("```").unwrap().0.to_owned()
        };
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("app.py"), block("```python\n")).unwrap();
        let mut command = python()?;
        command.args(["-m", "flask", "--app", "app", "run", "--port", "0"]);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let mut backend = Backend { child, folder, port: 0 };
        backend.port = until("the example listens", || {
            assert!(backend.child.try_wait().unwrap().is_none(), "{:?}", log.lines());
            let lines = log.lines();
            let mut urls = lines.iter().filter_map(|line| line.split_once("http://127.0.0.1:"));
            urls.next_back()?.1.trim().parse().ok()
        });
        let toml = block("```toml\n").replace(":5000/", &format!(":{}/", backend.port));
        Some(Self { backend, toml: format!("loops = 2\n{toml}") })
    }

    /// The body of the reply to a POST.
    fn post(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.backend.port)).unwrap();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

fn status(gateway: &Gateway, request: &Request) -> u16 {
    Socket::reply_to(gateway.address(), request).status
}

#[test]
fn the_documented_backend_lets_its_sessions_in() {
    let Some(example) = Example::start("callback") else { return };
    let gateway = Gateway::with_config(&example.toml);
    let ask = |path: &str, session: &str| {
        status(&gateway, &Request::upgrade(path).with("Cookie", &format!("session={session}")))
    };
    assert_eq!(ask("/chat", "5318008"), 101);
    assert_eq!(ask("/chat", "other"), 401);
    assert_eq!(ask("/chat?room=secret", "5318008"), 403);
}

#[test]
fn the_documented_tokens_open_the_room_that_they_name() {
    let Some(example) = Example::start("signed tokens") else { return };
    let gateway = Gateway::with_config(&example.toml);
    let token = example.post("/token");
    let offers = format!("tidegate.chat.v1, bearer.{token}");
    let ask = |path: &str| {
        status(&gateway, &Request::upgrade(path).with("Sec-WebSocket-Protocol", &offers))
    };
    assert_eq!(ask("/chat"), 101);
    assert_eq!(status(&gateway, &Request::upgrade("/chat")), 401);
}
