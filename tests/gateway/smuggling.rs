//! Attempts to have the gateway and a backend read one stream of bytes as different requests: each is
//! refused, or a second, strict parser finds in what the backend has received exactly the requests that
//! the gateway has passed on.
//!
//! The attempts are those of the literature: CL.TE, TE.CL and TE.TE ("HTTP Desync Attacks", Kettle 2019),
//! lengths and spellings ("HTTP Request Smuggling", Linhart et al. 2005; RFC 9112 §11.2), chunks with
//! odd sizes and extensions, and what other proxies have let through.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::gateway::Gateway;
use crate::messages::{connect, find};

/// What comes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The gateway refuses it with this status, and the backend hears nothing.
    Refused(u16),
    /// The backend receives these requests, each by its method and target, and the client as many replies.
    Passed(&'static [&'static str]),
    /// The same, and then a refusal with this status.
    PassedThenRefused(&'static [&'static str], u16),
    /// It is refused within the body of a request, of which the backend receives a part that is none.
    Cut(u16),
}

use Outcome::{Cut, Passed, PassedThenRefused, Refused};

struct Attempt {
    name: &'static str,
    bytes: &'static str,
    outcome: Outcome,
}

const fn attempt(name: &'static str, bytes: &'static str, outcome: Outcome) -> Attempt {
    Attempt { name, bytes, outcome }
}

const A: Outcome = Passed(&["POST /app/a"]);
const A_AND_B: Outcome = Passed(&["POST /app/a", "GET /app/b"]);

/// `{P}` is the beginning of a POST, `{B}` a further request, `{U}` the beginning of a handshake.
const ATTEMPTS: &[Attempt] = &[
    // Two ways to tell the length.
    attempt(
        "CL.TE",
        "{P}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG{B}",
        Refused(400),
    ),
    attempt(
        "TE.CL",
        "{P}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2e\r\n{B}0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "CL.TE, empty",
        "{P}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "CL, TE that is none",
        "{P}Content-Length: 1\r\nTransfer-Encoding: identity\r\n\r\na{B}",
        Refused(400),
    ),
    // Spellings of the coding.
    attempt("TE xchunked", "{P}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    attempt(
        "TE chunked, identity",
        "{P}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt("TE identity", "{P}Transfer-Encoding: identity\r\n\r\n{B}", Refused(400)),
    attempt(
        "TE gzip, chunked",
        "{P}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refused(501),
    ),
    attempt(
        "TE twice",
        "{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "TE twice, x",
        "{P}Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt("TE quoted", "{P}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
    attempt(
        "TE with a vertical tab",
        "{P}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt("TE empty", "{P}Transfer-Encoding:\r\n\r\n{B}", Refused(400)),
    attempt(
        "TE space before colon",
        "{P}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt("TE LF before colon", "{P}Transfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    attempt("TE folded", "{P}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    attempt("TE behind a space", "{P} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    attempt(
        "TE behind a bare LF",
        "{P}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "TE behind a bare CR",
        "{P}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "TE in HTTP/1.0",
        "POST /app/a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "TE in another case, with a tab",
        "{P}tRANSFER-eNCODING:\tChUnKeD\r\n\r\n0\r\n\r\n{B}",
        A_AND_B,
    ),
    attempt(
        "TE with an underscore",
        "{P}Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{B}",
        A_AND_B,
    ),
    // Lengths.
    attempt("CL twice", "{P}Content-Length: 1\r\nContent-Length: 1\r\n\r\na", Refused(400)),
    attempt(
        "CL twice, other",
        "{P}Content-Length: 0\r\nContent-Length: 46\r\n\r\n{B}",
        Refused(400),
    ),
    attempt("CL list", "{P}Content-Length: 1, 1\r\n\r\na", Refused(400)),
    attempt("CL plus", "{P}Content-Length: +1\r\n\r\na", Refused(400)),
    attempt("CL minus", "{P}Content-Length: -1\r\n\r\n{B}", Refused(400)),
    attempt("CL hex", "{P}Content-Length: 0x1\r\n\r\na", Refused(400)),
    attempt("CL with a space", "{P}Content-Length: 1 1\r\n\r\na", Refused(400)),
    attempt("CL decimal", "{P}Content-Length: 1.0\r\n\r\na", Refused(400)),
    attempt("CL empty", "{P}Content-Length:\r\n\r\n{B}", Refused(400)),
    attempt("CL overflow", "{P}Content-Length: 18446744073709551617\r\n\r\na", Refused(400)),
    attempt("CL space before colon", "{P}Content-Length : 1\r\n\r\na", Refused(400)),
    attempt("CL with zeros", "{P}Content-Length: 0001\r\n\r\na{B}", A_AND_B),
    attempt("CL with an underscore", "{P}Content_Length: 44\r\n\r\n{B}", A_AND_B),
    attempt(
        "GET with a body",
        "GET /app/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET{B}",
        Passed(&["GET /app/a", "GET /app/b"]),
    ),
    // Chunks.
    attempt("size 0x", "{P}{T}0x1\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size plus", "{P}{T}+1\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size behind a space", "{P}{T} 1\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size before a space", "{P}{T}1 \r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size missing", "{P}{T}\r\n0\r\n\r\n", Cut(400)),
    attempt("size overflow", "{P}{T}10000000000000001\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size underscore", "{P}{T}1_0\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("size LF", "{P}{T}1\na\r\n0\r\n\r\n", Cut(400)),
    attempt("extension LF", "{P}{T}1;x\na\r\n0\r\n\r\n{B}", Cut(400)),
    attempt("extension CR", "{P}{T}1;x\rb\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("extension NUL", "{P}{T}1;\0\r\na\r\n0\r\n\r\n", Cut(400)),
    attempt("data without end", "{P}{T}1\r\nab0\r\n\r\n", Cut(400)),
    attempt("data end LF", "{P}{T}1\r\na\n0\r\n\r\n", Cut(400)),
    attempt("last chunk LF", "{P}{T}0\n\n{B}", Cut(400)),
    attempt("trailer LF", "{P}{T}0\r\nX: y\n\r\n{B}", Cut(400)),
    attempt("extension", "{P}{T}1;x=\"y\"\r\na\r\n0;z\r\n\r\n{B}", A_AND_B),
    attempt(
        "trailers",
        "{P}{T}1\r\na\r\n0\r\nContent-Length: 46\r\nHost: evil\r\n\r\n{B}",
        A_AND_B,
    ),
    attempt(
        "behind the last chunk",
        "{P}{T}0\r\n\r\nSMUGGLED\r\n\r\n",
        PassedThenRefused(&["POST /app/a"], 400),
    ),
    // Heads.
    attempt("HTTP/0.9", "GET /app/a\r\n\r\n", Refused(400)),
    attempt("HTTP/2.0", "GET /app/a HTTP/2.0\r\nHost: a\r\n\r\n", Refused(505)),
    attempt("lower version", "GET /app/a http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    attempt("tabs between words", "GET\t/app/a\tHTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    attempt("space in the target", "GET /app/a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    // An empty line before a request says nothing, and does not reach the backend (RFC 9112 §2.2).
    attempt(
        "empty line before",
        "\r\nGET /app/a HTTP/1.1\r\nHost: a\r\n\r\n",
        Passed(&["GET /app/a"]),
    ),
    attempt("lines in LF", "GET /app/a HTTP/1.1\nHost: a\n\n", Refused(400)),
    attempt("NUL in a value", "{P}X: a\0b\r\nContent-Length: 0\r\n\r\n", Refused(400)),
    attempt("NUL in a name", "{P}Content-Length\0: 1\r\n\r\na", Refused(400)),
    attempt("no colon", "{P}Content-Length\r\n\r\n{B}", Refused(400)),
    attempt("first line folded", "POST /app/a HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
    attempt("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n{B}", Refused(400)),
    attempt("TRACE", "TRACE /app/a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(501)),
    attempt("method in another case", "post /app/a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(501)),
    attempt("Host twice", "{P}Host: b\r\nContent-Length: 0\r\n\r\n", Refused(400)),
    attempt("Host missing", "GET /app/a HTTP/1.1\r\n\r\n", Refused(400)),
    attempt("Host list", "GET /app/a HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
    attempt("Host with a path", "GET /app/a HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused(400)),
    attempt("Host with a user", "GET /app/a HTTP/1.1\r\nHost: a@b\r\n\r\n", Refused(400)),
    attempt(
        "Host behind a space",
        "GET /app/a HTTP/1.1\r\nHost: a\r\n Host: b\r\n\r\n",
        Refused(400),
    ),
    attempt(
        "absolute target",
        "GET http://b/app/a HTTP/1.1\r\nHost: a\r\n\r\n",
        Passed(&["GET /app/a"]),
    ),
    attempt(
        "Connection names framing",
        "{P}Connection: content-length, host\r\nContent-Length: 1\r\n\r\na{B}",
        A_AND_B,
    ),
    attempt(
        "Connection names forwarded",
        "{P}Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 0\r\n\r\n",
        A,
    ),
    attempt(
        "forwarded with underscores",
        "{P}X_Forwarded_For: 6.6.6.6\r\nContent-Length: 0\r\n\r\n",
        A,
    ),
    attempt(
        "h2c",
        "{P}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 0\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // What follows is answered in frames of HTTP/2.
        Passed(&["POST /app/a"]),
    ),
    attempt("dot segments", "GET /app/../admin HTTP/1.1\r\nHost: a\r\n\r\n", Refused(404)),
    attempt("encoded slash", "GET /app/..%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n", Refused(404)),
    attempt("CRLF in the target", "GET /app/a%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n", Refused(404)),
    // Handshakes.
    attempt("handshake with CL", "{U}Content-Length: 46\r\n\r\n{B}", Refused(400)),
    attempt("handshake with TE", "{U}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{B}", Refused(400)),
    attempt(
        "handshake by POST",
        "POST /app/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        Refused(405),
    ),
    attempt("handshake, and a request behind it", "{U}\r\n{B}", Passed(&["GET /app/u"])),
    attempt(
        "handshake of another version",
        "GET /app/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{B}",
        Refused(426),
    ),
];

fn bytes_of(attempt: &Attempt) -> Vec<u8> {
    let handshake = "GET /app/u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let text = attempt.bytes.replace("{P}", "POST /app/a HTTP/1.1\r\nHost: a\r\n");
    let text = text.replace("{B}", "GET /app/b HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = text.replace("{T}", "Transfer-Encoding: chunked\r\n\r\n");
    text.replace("{U}", handshake).into_bytes()
}

/// What a strict reader finds in the bytes of one connection.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// One request, by its method and target, its host and its body, and nothing behind it.
    One { line: String, host: String, body: Vec<u8> },
    /// It is not whole.
    Part,
    /// What no recipient may take for a request, or more than one.
    Broken(String),
}

/// Reads the bytes of a connection as strictly as the grammar allows.
fn strict(bytes: &[u8]) -> Reading {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Reading::Part };
    let broken = |why: &str| Reading::Broken(format!("{why}: {}", bytes.escape_ascii()));
    let Ok(head) = str::from_utf8(&bytes[..end]) else { return broken("no text") };
    if head.replace("\r\n", "").contains(|own: char| own.is_control()) {
        return broken("a control character");
    }
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return broken("the first line") };
    let (mut hosts, mut lengths, mut codings) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return broken("a header") };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return broken("a name");
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts.push(value),
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "x-forwarded-for" if value != "127.0.0.1" => return broken("a forged address"),
            "upgrade" if value != "websocket" => return broken("an upgrade"),
            _ => {}
        }
    }
    let rest = &bytes[end + 4..];
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let bytes: usize = length.parse().unwrap();
            rest.get(..bytes).map(|body| (body.to_vec(), bytes))
        }
        ([], ["chunked"]) => match strict_chunks(rest) {
            Ok(found) => found,
            Err(why) => return broken(why),
        },
        _ => return broken("the framing"),
    };
    let Some((body, end)) = body else { return Reading::Part };
    match (&hosts[..], end == rest.len()) {
        ([host], true) => {
            Reading::One { line: format!("{method} {target}"), host: (*host).to_owned(), body }
        }
        ([_], false) => broken("bytes behind the request"),
        _ => broken("the hosts"),
    }
}

type Chunks = Result<Option<(Vec<u8>, usize)>, &'static str>;

fn strict_chunks(bytes: &[u8]) -> Chunks {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let digits = &bytes[at..at + line];
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("the size of a chunk");
        }
        let size = usize::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        at += line + 2;
        let Some(data) = bytes.get(at..at + size) else { return Ok(None) };
        body.extend_from_slice(data);
        at += size;
        match bytes.get(at..at + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("the end of a chunk"),
        }
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// A backend that writes down what it reads of each connection, and answers a request that is whole.
struct Recorder {
    address: SocketAddr,
    recorded: Receiver<Vec<u8>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, recorded) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || record(stream.unwrap(), &sender));
            }
        });
        Self { address, recorded }
    }
}

fn record(mut stream: TcpStream, sender: &Sender<Vec<u8>>) {
    let (mut bytes, mut part, mut is_answered) = (Vec::new(), [0; 4096], false);
    loop {
        if !is_answered && strict(&bytes) != Reading::Part {
            is_answered = true;
            let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(reply);
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
    let _ = sender.send(bytes);
}

/// The statuses of all that the gateway answers, until it ends the connection.
fn statuses(address: SocketAddr, attempt: &Attempt) -> Vec<u16> {
    let mut stream = connect(address);
    stream.write_all(&bytes_of(attempt)).unwrap();
    // Handshakes are given up where the client ends its half.
    if !attempt.bytes.contains("{U}") {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let (mut received, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => received.extend_from_slice(&part[..count]),
        }
    }
    let text = String::from_utf8(received).unwrap();
    // What is said to clients of HTTP/2 names this version as well, with no status behind it.
    let statuses = text.split("HTTP/1.1 ").skip(1);
    statuses.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[test]
fn attempts_to_smuggle_are_refused_or_read_alike_by_both() {
    let recorder = Recorder::start();
    let config = format!(
        "loops = 1\n[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = \"*\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/app/*\"\nservice = \"relay\"\nupstream = \"app\"\nhttp = true\norigins = \"*\"\n",
        recorder.address
    );
    let gateway = Gateway::with_config(&config);
    for attempt in ATTEMPTS {
        let name = attempt.name;
        let before = gateway.counter("relay_connects");
        let found = statuses(gateway.address(), attempt);
        let connections = gateway.counter("relay_connects") - before;
        let recorded: Vec<Reading> =
            (0..connections).map(|_| strict(&recorder.recorded.recv().unwrap())).collect();
        let lines =
            |own: &[&str]| -> Vec<String> { own.iter().map(|&line| line.to_owned()).collect() };
        let mut whole: Vec<String> = recorded
            .iter()
            .filter_map(|reading| match reading {
                Reading::One { line, host, .. } => {
                    assert_eq!(host, if name == "absolute target" { "b" } else { "a" }, "{name}");
                    Some(line.clone())
                }
                Reading::Part => None,
                Reading::Broken(why) => panic!("{name}: the backend reads {why}"),
            })
            .collect();
        let (passed, refused) = match attempt.outcome {
            Refused(status) => (&[][..], Some(status)),
            Passed(passed) => (passed, None),
            PassedThenRefused(passed, status) => (passed, Some(status)),
            Cut(status) => (&[][..], Some(status)),
        };
        // Each connection is written down when it has ended, in any order.
        let mut expected = lines(passed);
        whole.sort_unstable();
        expected.sort_unstable();
        assert_eq!(whole, expected, "{name}");
        let expected: Vec<u16> = passed.iter().map(|_| 200).chain(refused).collect();
        assert_eq!(found, expected, "{name}");
        let parts = recorded.len() - whole.len();
        let may_have_parts = matches!(attempt.outcome, Cut(_));
        assert!(parts == 0 || may_have_parts, "{name}: {recorded:?}");
    }
}
