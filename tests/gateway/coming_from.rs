//! The configurations in docs/coming-from.md, as they stand there: the same requests through the program that
//! is left behind and through the gateway come to the same backend alike. Only addresses are replaced.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;
use tidegate::jwt::SharedSecret;

use crate::admin_client::request as request_of_api;
use crate::events_backend::{EventsBackend, events};
use crate::frames::{TEXT, client_frame};
use crate::gateway::Gateway;
use crate::messages::{ACCEPT, KEY, Reply, Request};
use crate::proxies::{block_of, replaced};
use crate::proxy_server::ProxyServer;
use crate::socket::{Frame, Socket};
use crate::wait::TIMEOUT;

const GUIDE: &str = include_str!("../../docs/coming-from.md");

/// The headers that the guide says are the same.
const SAME: [&str; 12] = [
    "Host",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Origin",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Api-Key",
    "Cookie",
];

#[test]
fn a_backend_of_nginx_notices_no_difference() {
    let backend = Recorder::start();
    let config = |address: SocketAddr| {
        let text = backend.put_into(&block("nginx", 0));
        replaced(&text, "listen 80;", &format!("listen {address};"))
    };
    let Some(nginx) = ProxyServer::nginx(config) else { return };
    assert_same(nginx.address(), &backend);
}

#[test]
fn a_backend_of_haproxy_notices_no_difference() {
    let backend = Recorder::start();
    let config = |address: SocketAddr| {
        let text = backend.put_into(&block("haproxy", 0));
        replaced(&text, "bind :80", &format!("bind {address}"))
    };
    let Some(haproxy) = ProxyServer::haproxy(config) else { return };
    assert_same(haproxy.address(), &backend);
}

#[test]
fn what_pushpin_did_over_http_is_done_as_the_guide_says() {
    let backend = EventsBackend::start(|told| {
        let answer = told.text().replace("TEXT 5\r\nhello", "TEXT 8\r\nm:HELLO!");
        events("Sec-WebSocket-Extensions: grip\r\n", &answer)
    });
    let text = replaced(&block("toml", 1), "127.0.0.1:9001", &backend.address.to_string());
    let gateway = Gateway::with_config(&text);
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/any/path").bytes());
    assert_eq!(socket.receive_head().status, 101);
    socket.send(&client_frame(TEXT, b"hello"));
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"HELLO!".to_vec() });
    let target = "127.0.0.1:9001,over_http";
    assert_eq!(block("text", 0), format!("* {target}\n"), "the target of both is the same");
}

#[test]
fn a_configuration_of_centrifugo_becomes_what_the_guide_shows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, block("json", 0)).unwrap();
    let import = |file: &Path| {
        let run = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["import", "centrifugo"])
            .arg(file)
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap())
    };
    let shown = block("toml", 2);
    assert_eq!(import(&file), (Some(0), shown.clone()));
    assert_eq!(import(&folder.path().join("none.json")).0, Some(2));

    let secret = "bbe7d157-a253-4094-9759-06a8236543f9";
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let text = replaced(&shown, "[[listener]]\naddress = \"0.0.0.0:80\"\n", "");
    let text = replaced(&text, "127.0.0.1:9000", "127.0.0.1:0");
    let engine = "[engine]\nkind = \"redis\"\nurls = [\"redis://10.0.0.7:6379\"]\n";
    let text = replaced(&text, engine, "");
    let keys = write("keys", "d7627bb6-2292-4911-82e1-615c0ed3eebb\n");
    let text = replaced(&text, "/etc/tidegate/api_keys", &keys);
    let text = replaced(&text, "/etc/tidegate/users_hmac_secret", &write("secret", secret));
    let gateway = Gateway::with_config(&text);
    let claims = "{\"sub\":\"42\",\"aud\":\"centrifugo\",\"channels\":[\"chat:index\"]}";
    let token = SharedSecret::new(secret.as_bytes()).sign(claims);
    let mut socket = Socket::connect(gateway.address());
    let request = Request::upgrade("/connection/websocket").with("Origin", "https://app.example");
    socket.send(&request.bytes());
    assert_eq!(socket.receive_head().status, 101);
    let connect = format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}");
    socket.send(&client_frame(TEXT, connect.as_bytes()));
    let reply: Value = serde_json::from_slice(&socket.receive_frame().payload).unwrap();
    let subs = &reply["connect"]["subs"];
    assert_eq!(subs["chat:index"]["recoverable"], true, "{reply}");
    assert!(subs["#42"].is_object(), "{reply}");
    let key = ["Authorization: apikey d7627bb6-2292-4911-82e1-615c0ed3eebb"];
    let body = "{\"channel\":\"chat:index\",\"data\":1}";
    let published = request_of_api(gateway.api_address(), "POST", "/api/publish", &key, body);
    assert_eq!(published.json()["result"]["offset"], 1);
}

/// The same requests, first through the other program, then through the gateway.
fn assert_same(other: SocketAddr, backend: &Recorder) {
    let text = backend.put_into(&block("toml", 0));
    let listen = "[[listener]]\naddress = \"0.0.0.0:80\"\n";
    let gateway = Gateway::with_config(&replaced(&text, listen, ""));
    let requests = [
        Request::upgrade("/ws/a%20b/c?d=%2F&e"),
        Request::upgrade("/ws/")
            .with("Cookie", "session=1")
            .with("X-Forwarded-Proto", "https")
            .with("X-Api-Key", "of the client")
            .with("User-Agent", "a client")
            .with("Sec-WebSocket-Protocol", "v1, v2")
            .with("Sec-WebSocket-Extensions", "permessage-deflate"),
    ];
    for request in requests {
        let [expected, got] = [other, gateway.address()].map(|address| {
            let mut socket = Socket::connect(address);
            socket.send(&request.bytes());
            let reply = socket.receive_head();
            assert_eq!(reply.status, 101, "{reply:?}");
            // What the backend echoes, byte for byte.
            let frame = client_frame(TEXT, b"hello");
            socket.send(&frame);
            assert_eq!(socket.take(frame.len()), frame);
            (backend.next(), without_names(&reply))
        });
        assert_eq!(got, expected, "{request:?}");
    }
}

/// What a client is told, apart from what each server says of itself.
fn without_names(reply: &Reply) -> Vec<Option<String>> {
    let names = ["Upgrade", "Sec-WebSocket-Accept", "X-Of-The-Backend"];
    names.map(|name| reply.header(name).map(str::to_owned)).to_vec()
}

/// A backend that answers every handshake, says what it was asked, and echoes bytes.
struct Recorder {
    addresses: [SocketAddr; 2],
    requests: Mutex<Receiver<Vec<String>>>,
}

impl Recorder {
    fn start() -> Self {
        let (sender, requests) = channel();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        for listener in listeners {
            let sender = sender.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let sender = sender.clone();
                    // Proxies may connect only to see whether it is there.
                    thread::spawn(move || {
                        let stream = stream.unwrap();
                        if let Some(request) = answer(&stream) {
                            sender.send(request).unwrap();
                            std::io::copy(&mut &stream, &mut &stream).ok();
                        }
                    });
                }
            });
        }
        Self { addresses, requests: Mutex::new(requests) }
    }

    /// A configuration with the addresses of this backend.
    fn put_into(&self, text: &str) -> String {
        let text = replaced(text, "127.0.0.1:9001", &self.addresses[0].to_string());
        replaced(&text, "127.0.0.1:9002", &self.addresses[1].to_string())
    }

    /// The next request: its line, then the headers that are the same.
    fn next(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.recv_timeout(TIMEOUT).expect("a request comes")
    }
}

fn answer(mut stream: &TcpStream) -> Option<Vec<String>> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    if head.is_empty() {
        return None;
    }
    let line = head.remove(0);
    let value = |name: &str| {
        let own = head.iter().filter_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        own.collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(value("Sec-WebSocket-Key"), KEY);
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nX-Of-The-Backend: 1\r\n\r\n"
    );
    stream.write_all(reply.as_bytes()).ok()?;
    let same = SAME.map(|name| format!("{name}: {}", value(name)));
    Some([vec![line], same.to_vec()].concat())
}

/// A block of the guide, by its language and its number among those.
fn block(language: &str, number: usize) -> String {
    block_of(GUIDE, language, number)
}
