use proptest::prelude::*;

use super::*;

/// The starts of every protocol, and of those that look alike.
fn first_bytes() -> impl Strategy<Value = Vec<u8>> {
    let starts: Vec<&'static [u8]> = vec![
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
        b"SSH-2.0-a",
        b"EHLO mail.example",
        b"helo [192.0.2.1]",
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.1",
        b"HEAD / HTTP/1.1",
    ];
    let cut = (prop::sample::select(starts), any::<prop::sample::Index>(), any::<Vec<u8>>());
    prop_oneof![
        any::<Vec<u8>>(),
        cut.prop_map(|(start, at, rest)| [&start[..at.index(start.len() + 1)], &rest].concat()),
    ]
}

proptest! {
    /// Whatever the sizes of the reads, a client is taken for the same.
    #[test]
    fn what_is_decided_stays_as_more_bytes_come(bytes in first_bytes()) {
        let whole = FirstBytes::of(&bytes);
        for end in 0..bytes.len() {
            let part = FirstBytes::of(&bytes[..end]);
            prop_assert!(part == FirstBytes::Undecided || part == whole, "{end}");
        }
        prop_assert!(bytes.len() < FIRST_BYTES_MAX || whole != FirstBytes::Undecided);
    }

    #[test]
    fn any_first_bytes_are_looked_at(bytes in first_bytes(), is_ended: bool) {
        let _ = Protocol::instead_of_lines(&bytes, is_ended);
    }
}

#[test]
fn protocols_are_told_by_their_first_bytes() {
    for (bytes, protocol) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], Protocol::Tls),
        (b"\x16\x03", Protocol::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Protocol::ProxyHeader),
        (b"PROXY UNKNOWN\r\n", Protocol::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Protocol::ProxyHeader),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Ssh),
        (b"SSH-1", Protocol::Ssh),
        (b"EHLO mail.example\r\n", Protocol::Smtp),
        (b"helo [", Protocol::Smtp),
    ] {
        assert_eq!(
            FirstBytes::of(bytes),
            FirstBytes::Foreign(protocol),
            "{}",
            bytes.escape_ascii()
        );
    }
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PUT",
        b"POST / HTTP/1.1",
        b"PRI /path",
        b"PROXY /",
        b"SEARCH / HTTP/1.1",
        b"SSH-x",
        b"EHLO / HTTP/1.1",
        b"HEAD",
        b"\r\n\r\nG",
        b"\x16\x02",
        b"\x80\x2e\x01",
        b"\0",
    ] {
        assert_eq!(FirstBytes::of(bytes), FirstBytes::Other, "{}", bytes.escape_ascii());
    }
    for bytes in
        [&b""[..], b"\x16", b"P", b"PR", b"PROXY TCP", b"\r\n", b"S", b"SSH-", b"HE", b"EHLO "]
    {
        assert_eq!(FirstBytes::of(bytes), FirstBytes::Undecided, "{}", bytes.escape_ascii());
    }
}

#[test]
fn clients_of_lines_are_told_by_their_first_line() {
    for (bytes, protocol) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], Protocol::Http1),
        (b"OPTIONS * HTTP/1.0\n", Protocol::Http1),
        (b"M-SEARCH * HTTP/1.1\r\n", Protocol::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2),
        (b"GET /a b HTTP/1.1\r\n", Protocol::Http1),
        (b"\x16\x03\x01\x02\x00\x01", Protocol::Tls),
        (b"\x16\x03", Protocol::Tls),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Ssh),
        (b"SSH-1", Protocol::Ssh),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Protocol::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Protocol::ProxyHeader),
    ] {
        let found = Protocol::instead_of_lines(bytes, false);
        assert_eq!(found, Some(protocol), "{}", bytes.escape_ascii());
    }
    for bytes in [
        &b""[..],
        b"\x16",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1 \n",
        b"get / HTTP/1.1\n",
        b"I like HTTP/1.1\n",
        b"GET HTTP/1.1\n",
        b"HTTP/1.1 200 OK\n",
        b"SSH- is nice\n",
        b"PROXY of bob\n",
        b"HELO bob\n",
        b"\r\n\r\n\0",
        b"bob\nGET / HTTP/1.1\n",
    ] {
        assert_eq!(Protocol::instead_of_lines(bytes, false), None, "{}", bytes.escape_ascii());
    }
    let ended = Protocol::instead_of_lines(b"GET / HTTP/1.1", true);
    assert_eq!(ended, Some(Protocol::Http1), "nothing follows");
    assert_eq!(Protocol::instead_of_lines(b"bob", true), None);
}

fn answer(protocol: Protocol, port: Port) -> Vec<u8> {
    let mut out = Vec::new();
    protocol.answer(port, &mut out);
    out
}

#[test]
fn each_is_answered_in_its_own_protocol() {
    let text = |protocol, port| String::from_utf8(answer(protocol, port)).unwrap();
    assert_eq!(
        text(Protocol::Ssh, Port::Http),
        "This port speaks HTTP/1.1 and WebSocket, not SSH.\r\n"
    );
    assert!(text(Protocol::Smtp, Port::Tls).starts_with("554 This port speaks TLS"));
    for (protocol, port) in [(Protocol::Http1, Port::Tls), (Protocol::ProxyHeader, Port::Http)] {
        let reply = text(protocol, port);
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
    assert_eq!(answer(Protocol::Tls, Port::Http), [21, 3, 3, 0, 2, 2, 70]);
}

/// RFC 9113 §4.1: each frame is as long as it says.
#[test]
fn http_2_gets_settings_and_a_goaway() {
    for port in [Port::Http, Port::Tls] {
        let answer = answer(Protocol::Http2, port);
        let (settings, goaway) = answer.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(usize::from(goaway[2]) + 9, goaway.len());
        assert_eq!(goaway[3..17], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13]);
        assert!(goaway[17..].starts_with(b"this port speaks "));
    }
}
