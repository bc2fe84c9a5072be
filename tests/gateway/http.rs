//! Pages and refusals: status, headers and body of each, and an orderly end even where the client
//! goes on sending.

use std::io::Read as _;

use proptest::prelude::*;

use crate::gateway::Gateway;
use crate::messages::{Ending, Reply, Request, exchange};
use crate::socket::Socket;

/// A request, the status it must get, and a word its body must hold.
type Case = (Request, u16, &'static str);

fn upgrade() -> Request {
    Request::upgrade("/echo")
}

fn malformed() -> Vec<Case> {
    vec![
        (upgrade().with("X", "a\nY: b"), 400, "CRLF"),
        (upgrade().with("X", "a\0b"), 400, "NUL"),
        (upgrade().with("X", "a\rb"), 400, "CR"),
        (upgrade().with("X", "a\x1bb"), 400, "control"),
        (upgrade().with("X", "a\r\n folded"), 400, "whitespace"),
        (upgrade().with("X ", "a"), 400, "colon"),
        (upgrade().with("X\r\nno colon here\r\nY", "a"), 400, "Name: value"),
        (upgrade().with("", "a"), 400, "token"),
        (upgrade().without("Host"), 400, "Host"),
        (upgrade().with("Host", "localhost"), 400, "Host"),
        (upgrade().set("Host", "a/b"), 400, "Host"),
        (upgrade().line("GET  /echo HTTP/1.1"), 400, "first line"),
        (upgrade().line("GET /echo"), 400, "first line"),
        (upgrade().line("G(T /echo HTTP/1.1"), 400, "method"),
        (upgrade().line("GET /echo http/1.1"), 400, "version"),
        (upgrade().line("GET /echo#here HTTP/1.1"), 400, ""),
        (upgrade().line("GET /ec%6 HTTP/1.1"), 400, ""),
        (upgrade().line("GET echo HTTP/1.1"), 400, ""),
        (upgrade().line("GET /echo HTTP/2.0"), 505, "HTTP/1"),
        (Request::of_line("PRI * HTTP/2.0"), 505, "HTTP/1"),
        ((0..60).fold(upgrade(), |request, at| request.with(&format!("X-{at}"), "y")), 431, "64"),
        (upgrade().with("Long", &"x".repeat(8192)), 431, "8192"),
    ]
}

fn wrong_handshakes() -> Vec<Case> {
    vec![
        (upgrade().with("Content-Length", "5"), 400, "Content-Length"),
        (upgrade().with("Transfer-Encoding", "chunked"), 400, "Transfer-Encoding"),
        (upgrade().without("Connection"), 400, "Connection"),
        (upgrade().set("Connection", "close"), 400, "Connection"),
        (upgrade().without("Sec-WebSocket-Key"), 400, "Sec-WebSocket-Key"),
        (upgrade().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "more than once"),
        (upgrade().set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), 400, "16 bytes"),
        (upgrade().set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR=="), 400, "base64"),
        (upgrade().without("Sec-WebSocket-Version"), 400, "Sec-WebSocket-Version"),
        (upgrade().with("Sec-WebSocket-Version", "13"), 400, "more than once"),
        (upgrade().set("Sec-WebSocket-Version", "12"), 426, "13"),
        (upgrade().line("GET /echo HTTP/1.0"), 426, "HTTP/1.1"),
        (Request::get("/echo"), 426, "Upgrade: websocket"),
        (upgrade().with(EXTENSIONS, "a b"), 400, EXTENSIONS),
        (upgrade().with(EXTENSIONS, "permessage-deflate; x=\"y"), 400, EXTENSIONS),
        (upgrade().with(EXTENSIONS, "a").with(EXTENSIONS, ";;"), 400, EXTENSIONS),
        (upgrade().set("Connection", "\"a, Upgrade, b\""), 400, "Connection"),
        (upgrade().with("Origin", "http://stranger.example"), 403, "`origins`"),
        (upgrade().with("Origin", "null"), 403, "`origins`"),
        (upgrade().with("Origin", "http://localhost:8080"), 403, "`origins`"),
        (upgrade().line("GET /ech HTTP/1.1"), 404, "path"),
        (upgrade().line("GET /echo/ HTTP/1.1"), 404, "path"),
        (upgrade().line("GET /Echo HTTP/1.1"), 404, "path"),
        (upgrade().line("GET /ec%2Fho HTTP/1.1"), 404, "path"),
        (upgrade().line("POST /echo HTTP/1.1"), 405, "GET"),
        (Request::get("/").line("POST / HTTP/1.1"), 405, "GET, HEAD"),
    ]
}

#[test]
fn every_refusal_has_its_status_and_names_the_reason() {
    let gateway = Gateway::start();
    for (request, status, word) in malformed().into_iter().chain(wrong_handshakes()) {
        let bytes = request.bytes();
        let context = String::from_utf8_lossy(&bytes);
        for ending in [Ending::Open, Ending::HalfClose] {
            let reply = Reply::parse(&exchange(gateway.address(), &bytes, ending));
            assert_eq!(reply.status, status, "{context}\n{reply:?}");
            reply.assert_is_last(false);
            assert!(reply.text().contains(word), "`{word}` for {context}\n{reply:?}");
            assert!(reply.text().ends_with('\n'));
        }
    }
}

#[test]
fn a_client_that_goes_on_sending_receives_the_whole_reply() {
    let gateway = Gateway::start();
    let page = (Request::get("/"), 200, "");
    for (request, status, _) in malformed().into_iter().chain(wrong_handshakes()).chain([page]) {
        let mut socket = Socket::connect(gateway.address());
        let body = vec![b'b'; 300 << 10];
        socket.send(&[request.bytes(), body.clone()].concat());
        let mut reply = Vec::new();
        socket.stream.read_to_end(&mut reply).expect("an orderly end");
        let reply = Reply::parse(&reply);
        assert_eq!(reply.status, status, "{request:?}");
        reply.assert_is_last(false);
        // If the gateway had closed the socket, the kernel would answer these bytes with a reset,
        // which may overtake the reply on its way to a distant client (RFC 9112 §9.6).
        socket.send(&body);
        socket.send(&body);
    }
}

#[test]
fn allow_lists_the_methods_of_the_path() {
    let gateway = Gateway::start();
    for (line, allow) in [("PUT / HTTP/1.1", "GET, HEAD"), ("PUT /echo HTTP/1.1", "GET")] {
        let request = Request::get("/").line(line);
        let reply = Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::Open));
        assert_eq!((reply.status, reply.header("Allow")), (405, Some(allow)));
    }
}

#[test]
fn bytes_that_cannot_be_http_are_refused_at_once() {
    let gateway = Gateway::start();
    // A line that ends in LF alone, and a client of another protocol. Those of TLS get an alert, as
    // `foreign` tests.
    for bytes in [&b"GET / HTTP/1.1\nHost: a\n\n"[..], b"*1\r\n", b"\x80\x2e\x01\x03\x01"] {
        let reply = Reply::parse(&exchange(gateway.address(), bytes, Ending::Open));
        assert_eq!(reply.status, 400, "{}", bytes.escape_ascii());
        reply.assert_is_last(false);
    }
}

#[test]
fn head_is_answered_with_the_headers_of_get_and_no_body() {
    let gateway = Gateway::start();
    for path in ["/", "/nowhere", "/echo"] {
        let [get, head] = ["GET", "HEAD"].map(|method| {
            let request = Request::get(path).line(&format!("{method} {path} HTTP/1.1"));
            Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::Open))
        });
        get.assert_is_last(false);
        head.assert_is_last(true);
        // A HEAD request cannot upgrade, so its refusal is another one (RFC 6455 §4.1).
        if path != "/echo" {
            let (get, head) = (get.undated(), head.undated());
            assert_eq!((get.status, get.headers), (head.status, head.headers));
        }
    }
}

#[test]
fn every_valid_request_for_the_page_gets_the_same_page() {
    let gateway = Gateway::start();
    let page = |request: &Request| {
        let reply = Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::HalfClose));
        assert_eq!(reply.status, 200, "{request:?}");
        reply.assert_is_last(false);
        reply.undated()
    };
    let expected = page(&Request::get("/"));
    assert_eq!(expected.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(expected.header("Content-Security-Policy").is_some());
    assert!(expected.text().ends_with("</script>\n"), "all of it");
    for request in [
        Request::of_line("GET / HTTP/1.0"),
        Request::get("/").line("GET http://localhost HTTP/1.1"),
        Request::get("/").line("GET http://localhost/?query HTTP/1.1"),
        Request::get("/").line("GET /?query HTTP/1.1"),
        Request::get("/").line("\r\nGET / HTTP/1.1"),
        Request::get("/").set("Host", ""),
        Request::get("/").with("Content-Length", "4"),
    ] {
        assert_eq!(page(&request), expected);
    }
    // A path with a page and no service answers an upgrade request with the page.
    assert_eq!(page(&Request::upgrade("/chatroom")), page(&Request::get("/chatroom")));
}

#[test]
fn a_page_and_a_room_can_share_a_path() {
    let gateway = Gateway::start();
    let status = |request: Request| Socket::reply_to(gateway.address(), &request).status;
    assert_eq!(status(Request::get("/?user=bob")), 200);
    assert_eq!(status(Request::upgrade("/?user=bob")), 101);
    // The room's answer, not the page.
    assert_eq!(status(Request::upgrade("/")), 400);
}

#[test]
fn if_none_match_is_answered_304_with_the_same_headers() {
    let gateway = Gateway::start();
    let request = Request::get("/");
    let get = |request: &Request| {
        Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::Open))
    };
    let page = get(&request);
    let known = get(&request.with("If-None-Match", page.header("ETag").unwrap()));
    assert_eq!(known.status, 304);
    // RFC 9110 §15.4.5: the headers are those of the 200, only the body is left out.
    known.assert_is_last(true);
    assert_eq!(known.undated().headers, page.undated().headers);
}

/// The parts of a request that [`mutated_requests`] puts together.
fn mutated_request() -> impl Strategy<Value = Vec<u8>> {
    let wholes = malformed().into_iter().chain(wrong_handshakes()).map(|(request, _, _)| request);
    let wholes: Vec<Vec<u8>> =
        wholes.chain([upgrade(), Request::get("/")]).map(|request| request.bytes()).collect();
    let change = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>());
    (prop::sample::select(wholes), prop::collection::vec(change, 0..4)).prop_map(
        |(mut bytes, changes)| {
            for (at, kind, byte) in changes {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            bytes
        },
    )
}

#[test]
fn any_bytes_get_at_most_one_well_formed_reply_and_an_orderly_end() {
    let gateway = Gateway::start();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    proptest!(config, |(bytes in mutated_request())| {
        let received = exchange(gateway.address(), &bytes, Ending::HalfClose);
        if !received.is_empty() {
            let reply = Reply::parse(&received);
            if reply.status != 101 {
                reply.assert_is_last(bytes.starts_with(b"HEAD "));
            }
        }
    });
    let mut socket = Socket::open(gateway.address());
    socket.assert_echoes(b"still here");
}

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
