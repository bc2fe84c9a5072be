//! Requests that open a WebSocket, and their replies.

use std::io::Write as _;

use crate::frames::{BINARY, TEXT, client_frame, server_frame};
use crate::gateway::Gateway;
use crate::messages::{ACCEPT, Ending, KEY, Reply, Request, exchange, find};
use crate::socket::{Frame, Socket};

fn gateway() -> Gateway {
    Gateway::with_config(
        r#"
        loops = 2
        [[listener]]
        address = "127.0.0.1:8080"
        hosts = "*"
        [[route]]
        path = "/echo"
        service = "echo"
        subprotocols = ["v2.echo", "v1.echo"]
        "#,
    )
}

/// Sends the request, whose path must be an encoding of `/echo`, and uses the socket it opens.
fn assert_opens(gateway: &Gateway, request: &Request) {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&request.bytes());
    let reply = socket.receive_head();
    assert_eq!(reply.status, 101, "{request:?}: {reply:?}");
    socket.assert_echoes(b"open");
    socket.close();
}

#[test]
fn the_reply_is_exactly_what_rfc_6455_asks_for() {
    let gateway = gateway();
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    let mut expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\
         \r\n"
    )
    .into_bytes();
    expected.extend(server_frame(BINARY, b"x"));
    socket.send(&client_frame(BINARY, b"x"));
    let mut received = vec![0; expected.len()];
    std::io::Read::read_exact(&mut socket.stream, &mut received).unwrap();
    // The date has the same length and form at any time.
    let date = find(&received, b"Date: ").unwrap() + 6;
    assert_eq!((received[date + 3], &received[date + 25..date + 29]), (b',', &b" GMT"[..]));
    received[date..date + 29].copy_from_slice(b"Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(received, expected);
}

#[test]
fn header_names_are_compared_without_regard_to_case() {
    let gateway = gateway();
    for (key, accept) in [
        (KEY, ACCEPT),
        ("m3xNMIzhueJyd3N66EAK6w==", "qgWIKoKflyd9H8L/jCNa8XP4CYQ="),
        ("duR0pUQxNgBJsRQKj2Jxsw==", "a1y2oy1zvgHsVyHMx+hZ1AYrEHI="),
    ] {
        let mut socket = Socket::connect(gateway.address());
        let request = Request::of_line("GET /echo HTTP/1.1")
            .with("hOST", "localhost")
            .with("upgrade", "WebSocket")
            .with("CONNECTION", "keep-alive, UPGRADE")
            .with("Sec-Websocket-Version", "13")
            .with("sec-webSocket-extensions", "permessage-deflate; client_max_window_bits")
            .with("Sec-Websocket-Key", key);
        socket.send(&request.bytes());
        let reply = socket.receive_head();
        assert_eq!(reply.status, 101, "{reply:?}");
        assert_eq!(reply.header("Sec-WebSocket-Accept"), Some(accept));
        assert_eq!(
            reply.header("Sec-WebSocket-Extensions"),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        );
        socket.assert_echoes(key.as_bytes());
    }
}

#[test]
fn every_valid_form_of_the_request_opens_a_socket() {
    let gateway = gateway();
    let request = || Request::upgrade("/echo");
    for request in [
        request().line("GET /%65cho HTTP/1.1"),
        request().line("GET /%65%63%68%6F?name=%F0%9F%98%80&a=b HTTP/1.1"),
        request().line("GET http://localhost/echo HTTP/1.1"),
        request().line("GET http://other.example:99/echo?q HTTP/1.1"),
        request().line("\r\nGET /echo HTTP/1.1"),
        request().line("GET /echo HTTP/1.7"),
        request().set("Upgrade", "h2c, websocket"),
        request().with("Upgrade", "other/1.0"),
        request().set("Connection", "\t keep-alive ,,Upgrade \t"),
        request().set("Connection", "keep-alive").with("Connection", "upgrade"),
        request().with("Content-Length", "0"),
        request().with("Origin", "http://localhost"),
        request().with("Origin", "https://LOCALHOST"),
        request().with("Empty", ""),
        request().with("Obscure", "caf\u{e9}"),
        (0..59).fold(request(), |request, at| request.with(&format!("X-{at}"), "y")),
    ] {
        assert_opens(&gateway, &request);
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_accepted() {
    let gateway = gateway();
    let request = Request::upgrade("/echo").with("Padding", "");
    let padding = "p".repeat(8192 - request.bytes().len());
    let request = request.set("Padding", &padding);
    assert_eq!(request.bytes().len(), 8192);
    assert_opens(&gateway, &request);
}

#[test]
fn heads_may_be_as_large_as_the_configuration_says() {
    let gateway = Gateway::with_config(
        "loops = 1\n[limits]\nhead_bytes_max = 65536\nheader_lines_max = 100\n",
    );
    let padded = |bytes: usize| {
        let request = Request::upgrade("/echo").with("Cookie", "");
        let padding = "c".repeat(bytes - request.bytes().len());
        request.set("Cookie", &padding)
    };
    for bytes in [12 << 10, 65_536] {
        assert_eq!(padded(bytes).bytes().len(), bytes);
        assert_opens(&gateway, &padded(bytes));
    }
    let with_lines = |count: usize| {
        let request = Request::upgrade("/echo");
        (0..count - 5).fold(request, |request, at| request.with(&format!("X-{at}"), "y"))
    };
    assert_opens(&gateway, &with_lines(100));
    for (request, limit) in [
        (padded(65_537), "65536 bytes (limits.head_bytes_max)"),
        (with_lines(101), "100 header lines (limits.header_lines_max)"),
    ] {
        let reply = exchange(gateway.address(), &request.bytes(), Ending::Open);
        let reply = Reply::parse(&reply);
        assert_eq!(reply.status, 431);
        assert!(reply.text().contains(limit), "{reply:?}");
        reply.assert_is_last(false);
    }
    gateway.assert_counter("refused_malformed", 2);
}

#[test]
fn frames_in_the_segment_of_the_request_are_not_lost() {
    let gateway = gateway();
    let mut socket = Socket::connect(gateway.address());
    let mut bytes = Request::upgrade("/echo").bytes();
    bytes.extend(client_frame(TEXT, b"first"));
    bytes.extend(client_frame(BINARY, &[7; 300]));
    let (now, later) = bytes.split_at(bytes.len() - 100);
    socket.send(now);
    assert_eq!(socket.receive_head().status, 101);
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"first".to_vec() });
    socket.send(later);
    assert_eq!(socket.receive_frame(), Frame { first: BINARY, payload: vec![7; 300] });
    socket.close();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let gateway = gateway();
    let mut socket = Socket::connect(gateway.address());
    let mut bytes = Request::upgrade("/echo").bytes();
    bytes.extend(client_frame(TEXT, b"slow"));
    for byte in bytes {
        // With TCP_NODELAY each byte is a segment of its own.
        socket.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(socket.receive_head().status, 101);
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"slow".to_vec() });
    socket.close();
}

#[test]
fn the_first_configured_subprotocol_that_was_offered_is_chosen() {
    let gateway = gateway();
    for (offers, chosen) in [
        (&["v1.echo"][..], Some("v1.echo")),
        (&["v1.echo, v2.echo"], Some("v2.echo")),
        (&["chat", "v1.echo,v2.echo"], Some("v2.echo")),
        (&["chat, V1.ECHO"], None),
        (&[], None),
    ] {
        let mut request = Request::upgrade("/echo");
        for offer in offers {
            request = request.with("Sec-WebSocket-Protocol", offer);
        }
        let mut socket = Socket::connect(gateway.address());
        socket.send(&request.bytes());
        let reply = socket.receive_head();
        assert_eq!(reply.status, 101);
        assert_eq!(reply.header("Sec-WebSocket-Protocol"), chosen, "{offers:?}");
        socket.close();
    }
}

#[test]
fn no_part_of_a_request_is_reflected_in_the_reply() {
    let gateway = gateway();
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo?canary").with("X-Canary", "canary").bytes());
    let reply = format!("{:?}", socket.receive_head());
    assert_eq!(find(reply.as_bytes(), b"canary"), None, "{reply}");
}

#[test]
fn an_origin_that_is_refused_can_be_listed() {
    for origin in ["https://Friend.example", "https://friend.example:443", "app://.", "file://"] {
        let request = Request::upgrade("/echo").with("Origin", origin);
        let config = |origins: &str| {
            Gateway::with_config(&format!(
                "loops = 1\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\norigins = [{origins}]"
            ))
        };
        let strict = config("");
        let mut socket = Socket::connect(strict.address());
        socket.send(&request.bytes());
        assert_eq!(socket.receive_head().status, 403, "{origin}");
        assert_opens(&config(&format!("\"{origin}\"")), &request);
    }
}
