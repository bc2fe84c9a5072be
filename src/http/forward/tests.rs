use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::{Version, parse_head};
use super::*;

const CLIENT: ClientFacts<'static> = ClientFacts {
    address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
    is_tls: false,
    proxy: None,
    user: None,
};

/// The request to the backend for one with these header lines.
fn forwarded(lines: &str, rules: &ForwardRules, client: &ClientFacts<'_>) -> String {
    let text = format!("GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    let head = parse_head(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    write_request(&mut out, &head, b"/x?y", rules, client);
    let again = parse_head(&out).unwrap();
    assert_eq!((again.version(), again.target()), (Version::HTTP_11, &b"/x?y"[..]));
    String::from_utf8(out).unwrap()
}

fn plain(lines: &str) -> String {
    forwarded(lines, &ForwardRules::default(), &CLIENT)
}

#[test]
fn a_request_is_passed_on_with_what_is_known_of_the_client() {
    assert_eq!(
        plain(
            "sec-websocket-key: k\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n\
               Cookie: a=b\r\nSEC-WEBSOCKET-EXTENSIONS: permessage-deflate; x\r\n"
        ),
        "GET /x?y HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: k\r\nCookie: a=b\r\nSec-WebSocket-Extensions: permessage-deflate; x\r\n\
         X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Port: 80\r\nX-Forwarded-Host: a.example\r\n\
         Forwarded: for=192.0.2.7;host=\"a.example\";proto=http\r\n\r\n"
    );
    let address = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let client = ClientFacts { address, is_tls: true, user: Some("b é%"), ..CLIENT };
    let text = forwarded("", &ForwardRules::default(), &client);
    for line in [
        "X-Forwarded-For: ::1\r\n",
        "X-Forwarded-Port: 443\r\n",
        "Forwarded: for=\"[::1]\";host=\"a.example\";proto=https\r\n",
        "X-Tidegate-User: b%20%C3%A9%25\r\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let unknown = forwarded("", &ForwardRules::default(), &ClientFacts::default());
    assert!(unknown.contains("X-Forwarded-For: unknown\r\n") && unknown.contains("for=unknown;"));
    assert!(!unknown.contains("X-Real-IP"));
}

#[test]
fn headers_of_this_hop_end_here() {
    let text = plain(
        "Connection: Upgrade, X-Secret, close\r\nX-Secret: s\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy-Authorization: p\r\nProxy-Connection: keep-alive\r\nTrailer: a\r\nAlt-Svc: b\r\n\
         HTTP2-Settings: c\r\nContent-Length: 0\r\n",
    );
    for name in ["Secret", "Keep-Alive", "TE:", "Proxy-", "Trailer", "Alt-Svc", "HTTP2", "Length"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert_eq!(text.matches("Connection: ").count(), 1);
}

#[test]
fn only_the_gateway_says_who_the_client_is() {
    let forged = "X-Forwarded-For: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\n\
                  X-REAL_IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Server: 6.6.6.6\r\n\
                  X-Forwarded-Prefix: /6.6.6.6\r\nX-Tidegate-User: 6.6.6.6\r\n\
                  X_Tidegate-User: 6.6.6.6\r\nX-Forwarded_Proto: 6.6.6.6\r\nX-Forwarded: 6.6.6.6\r\n";
    assert_eq!(plain(forged), plain(""));

    let proxy = Some([10, 0, 0, 9].into());
    let trusted = ClientFacts { proxy, ..CLIENT };
    let text = forwarded(
        &format!("{forged}X-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n"),
        &ForwardRules::default(),
        &trusted,
    );
    assert!(text.contains("X-Forwarded-For: 6.6.6.6, 7.7.7.7, 10.0.0.9\r\n"), "{text}");
    assert!(text.contains("Forwarded: for=6.6.6.6, for=10.0.0.9;"), "{text}");
    assert!(text.contains("X-Real-IP: 192.0.2.7\r\n"), "{text}");
    assert!(text.contains("X-Forwarded-Proto: https\r\n"), "{text}");
    assert!(text.contains("X-Forwarded-Prefix: /6.6.6.6\r\n"), "{text}");
    assert_eq!(text.matches("Proto: ").count(), 1, "{text}");
    assert!(!text.contains('_') && !text.contains("Tidegate"), "{text}");
}

#[test]
fn a_backend_is_offered_no_extensions_where_the_gateway_has_its_own() {
    let lines =
        "sec-websocket-extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-own\r\n";
    for has_own_extensions in [false, true] {
        let rules = ForwardRules { has_own_extensions, ..ForwardRules::default() };
        let text = forwarded(lines, &rules, &CLIENT).to_ascii_lowercase();
        assert_eq!(text.matches("sec-websocket-extensions").count() == 0, has_own_extensions);
    }
}

#[test]
fn rules_set_and_remove_headers_but_none_of_the_handshake() {
    let rules = ForwardRules {
        host: Some(HeaderValue::new("b.internal:81").unwrap()),
        set: vec![SetHeader::new("X-Key", "v").unwrap()],
        remove: vec!["cookie".to_owned(), "Sec-WebSocket-Key".to_owned()],
        ..ForwardRules::default()
    };
    let lines = "x-key: forged\r\nCookie: c\r\nSec-WebSocket-Key: k\r\n";
    let text = forwarded(lines, &rules, &CLIENT);
    assert!(
        text.contains("\r\nHost: b.internal:81\r\n")
            && text.contains("X-Forwarded-Host: a.example")
    );
    assert!(text.ends_with("\r\nX-Key: v\r\n\r\n") && !text.contains("forged"), "{text}");
    assert!(!text.contains("ookie") && text.contains("Sec-WebSocket-Key: k\r\n"), "{text}");
    for name in ["Host", "upgrade", "Sec-WebSocket-Key", "x_forwarded_for", "Forwarded"] {
        assert_eq!(SetHeader::new(name, "a"), Err(InvalidHeader::Reserved), "{name}");
    }
    assert_eq!(SetHeader::new("a b", "a"), Err(InvalidHeader::Name));
    assert_eq!(SetHeader::new("A", "a\r\nB: c"), Err(InvalidHeader::Value));
}

proptest! {
    /// Whatever an untrusted client sends, a backend finds each of the gateway's headers once.
    #[test]
    fn each_header_of_the_gateway_stands_there_once(
        names in prop::collection::vec("[Xx][-_][Ff]orwarded[-_](For|host|PROTO|Port|Any)|[Ff]orwarded|X[-_]Real[-_]IP", 0..6),
    ) {
        let lines: String = names.iter().map(|name| format!("{name}: forged\r\n")).collect();
        let text = plain(&lines);
        prop_assert_eq!(&text, &plain(""));
        let head = parse_head(text.as_bytes()).unwrap();
        for name in ["Host", "Forwarded", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Port"] {
            prop_assert_eq!(head.header_values(name).count(), 1);
        }
    }
}
