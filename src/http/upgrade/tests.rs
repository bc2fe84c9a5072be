use proptest::{prelude::*, sample::Index};
use tungstenite::handshake::{
    machine::TryParse as _,
    server::{Request, create_response},
};

use super::*;
use crate::http::{find_head_end, parse_head, response::Status};

/// A valid handshake, which the tests alter.
const VALID: [&str; 6] = [
    "GET /chat?user=a HTTP/1.1",
    "Host: example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn head_of(lines: &[impl AsRef<str>]) -> Vec<u8> {
    let mut head = Vec::new();
    for line in lines {
        head.extend_from_slice(line.as_ref().as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The valid lines without that of header `name`, and with `lines` in its place.
fn with(name: &str, lines: &[&str]) -> Vec<u8> {
    let prefix = format!("{name}:");
    let kept = VALID.into_iter().filter(|line| !line.starts_with(&prefix));
    head_of(&kept.chain(lines.iter().copied()).collect::<Vec<_>>())
}

/// The valid lines after another request line.
fn with_request_line(line: &str) -> Vec<u8> {
    head_of(&[&[line], &VALID[1..]].concat())
}

fn error_of(bytes: &[u8]) -> Option<UpgradeError> {
    error_under(bytes, &OriginRule::SameHost)
}

fn error_under(bytes: &[u8], origins: &OriginRule) -> Option<UpgradeError> {
    let head = parse_head(bytes).unwrap();
    let policy = UpgradePolicy { origins, subprotocols: &[] };
    let error = UpgradeRequest::parse(&head, &policy).err();
    let rejection = check_upgrade(&head, &policy).err();
    assert_eq!(error.map(Rejection::from), rejection);
    error
}

fn status_of(bytes: &[u8]) -> Option<Status> {
    error_of(bytes).map(|error| Rejection::from(error).status())
}

#[test]
fn a_valid_handshake_gives_its_parts() {
    let subprotocols = ["v2", "v1"].map(|name| Subprotocol::new(name).unwrap());
    let policy = UpgradePolicy { origins: &OriginRule::SameHost, subprotocols: &subprotocols };
    let bytes = with(
        "Cookie",
        &["Sec-WebSocket-Protocol: v1, v2", "Origin: https://example.com", "Cookie: a=1"],
    );
    let head = parse_head(&bytes).unwrap();
    let request = check_upgrade(&head, &policy).unwrap();
    assert!(request.path().matches("/chat"));
    assert_eq!(request.query().value("user").unwrap().as_deref(), Some("a"));
    assert_eq!(request.host().unwrap().host(), "example.com");
    assert_eq!(request.origin(), Some(&b"https://example.com"[..]));
    assert_eq!(request.header("cookie"), Some(&b"a=1"[..]));
    assert_eq!(request.key(), b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(&request.accept_key(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(request.subprotocol().map(Subprotocol::as_str), Some("v2"));
    assert_eq!(request.head().headers().count(), 8);
}

#[test]
fn only_get_opens_a_socket_rfc_6455_section_4_2_1() {
    for method in ["POST", "HEAD", "OPTIONS", "get"] {
        let bytes = with_request_line(&format!("{method} /chat HTTP/1.1"));
        assert_eq!(error_of(&bytes), Some(UpgradeError::Method), "{method}");
    }
    let expected =
        Rejection::method_not_allowed(Allow::Get).with_body("a WebSocket is opened with GET");
    assert_eq!(Rejection::from(UpgradeError::Method), expected);
}

#[test]
fn http_1_0_cannot_upgrade_rfc_9110_section_7_8() {
    let bytes = with_request_line("GET /chat HTTP/1.0");
    assert_eq!(error_of(&bytes), Some(UpgradeError::HttpVersion));
    assert_eq!(status_of(&bytes), Some(Status::UpgradeRequired));
    assert_eq!(error_of(&with_request_line("GET /chat HTTP/1.2")), None);
}

#[test]
fn a_plain_get_is_refused_with_426() {
    for lines in [&[][..], &["Upgrade: h2c"], &["Upgrade:"], &["Upgrade: websocket2"]] {
        let bytes = with("Upgrade", lines);
        assert!(!wants_upgrade(&parse_head(&bytes).unwrap()));
        assert_eq!(error_of(&bytes), Some(UpgradeError::NotUpgrade), "{lines:?}");
        assert_eq!(status_of(&bytes), Some(Status::UpgradeRequired));
    }
}

#[test]
fn upgrade_and_connection_are_lists_of_tokens_in_any_case() {
    for lines in [
        &["Upgrade: WebSocket"][..],
        &["upgrade: h2c, websocket"],
        &["Upgrade: h2c", "UPGRADE: ,WEBSOCKET,"],
    ] {
        let bytes = with("Upgrade", lines);
        assert!(wants_upgrade(&parse_head(&bytes).unwrap()));
        assert_eq!(error_of(&bytes), None, "{lines:?}");
    }
    for lines in [
        &["Connection: keep-alive, Upgrade"][..],
        &["connection: UPGRADE"],
        &["Connection: keep-alive", "Connection: upgrade"],
    ] {
        assert_eq!(error_of(&with("Connection", lines)), None, "{lines:?}");
    }
    for lines in [&[][..], &["Connection: keep-alive"], &["Connection: upgrade-insecure"]] {
        let error = error_of(&with("Connection", lines));
        assert_eq!(error, Some(UpgradeError::Connection), "{lines:?}");
    }
}

#[test]
fn header_names_are_case_insensitive() {
    let bytes = with("Sec-WebSocket-Key", &["Sec-Websocket-Key: duR0pUQxNgBJsRQKj2Jxsw=="]);
    let head = parse_head(&bytes).unwrap();
    let policy = UpgradePolicy { origins: &OriginRule::SameHost, subprotocols: &[] };
    let accept = check_upgrade(&head, &policy).unwrap().accept_key();
    assert_eq!(&accept, b"a1y2oy1zvgHsVyHMx+hZ1AYrEHI=");
}

#[test]
fn bodies_are_refused() {
    for value in ["1", "00", "0, 0", "+0", "", "-1", "0x0"] {
        let bytes = with("Content-Length", &[&format!("Content-Length: {value}")]);
        assert_eq!(error_of(&bytes), Some(UpgradeError::ContentLength), "{value}");
    }
    let lengths = ["Content-Length: 0", "content-length: 5"];
    assert_eq!(error_of(&with("", &lengths)), Some(UpgradeError::ContentLength));
    assert_eq!(error_of(&with("", &lengths[..1])), None);
    for value in ["chunked", "identity", ""] {
        let bytes = with("", &[&format!("Transfer-Encoding: {value}")]);
        assert_eq!(error_of(&bytes), Some(UpgradeError::TransferEncoding), "{value}");
    }
    assert_eq!(status_of(&with("", &["Transfer-Encoding: chunked"])), Some(Status::BadRequest));
}

#[test]
fn the_version_is_13_once_rfc_6455_section_4_4() {
    let name = "Sec-WebSocket-Version";
    for value in ["8", "14", "013", "13, 8", "", "x"] {
        let bytes = with(name, &[&format!("{name}: {value}")]);
        assert_eq!(error_of(&bytes), Some(UpgradeError::UnsupportedVersion), "{value}");
        assert_eq!(status_of(&bytes), Some(Status::UpgradeRequired));
    }
    assert_eq!(error_of(&with(name, &[])), Some(UpgradeError::MissingVersion));
    let twice = ["Sec-WebSocket-Version: 13", "sec-websocket-version: 13"];
    assert_eq!(error_of(&with(name, &twice)), Some(UpgradeError::RepeatedVersion));
}

#[test]
fn the_key_is_16_bytes_of_base64_once_rfc_6455_section_4_2_1() {
    let name = "Sec-WebSocket-Key";
    for value in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",       // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",      // half of it
        "dGhlIHNhbXBsZSBub25jZR==",     // unused bits that are not zero
        "dGhlIHNhbXBsZSBub25jZQo=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25jZQoK",     // 18 bytes
        "dGhlIHNhbXBsZSBub25jZQ==dGhl", // more after the padding
        "dGhlIHNhbXBsZSBub25j====",
        "dGhlIHNhbXBsZSBub25j_Q==", // the alphabet of URLs
        "dGhlIHNhbXBsZSBub 5jZQ==",
        "========================",
    ] {
        let bytes = with(name, &[&format!("{name}: {value}")]);
        assert_eq!(error_of(&bytes), Some(UpgradeError::Key), "{value:?}");
        assert_eq!(status_of(&bytes), Some(Status::BadRequest));
    }
    assert_eq!(error_of(&with(name, &[])), Some(UpgradeError::MissingKey));
    let twice = [VALID[4], VALID[4]];
    assert_eq!(error_of(&with(name, &twice)), Some(UpgradeError::RepeatedKey));
}

#[test]
fn the_origin_follows_the_rule_of_the_route_rfc_6455_section_10_2() {
    let from = |origin: &str| with("Origin", &[&format!("Origin: {origin}")]);
    assert_eq!(error_of(&head_of(&VALID)), None, "absent is allowed");
    assert_eq!(error_of(&from("https://EXAMPLE.com")), None);
    for origin in ["https://evil.example", "http://example.com:8080", "null", "file://", "HTTP://B"]
    {
        assert_eq!(error_of(&from(origin)), Some(UpgradeError::Origin), "{origin}");
        // What the refusal advises is possible.
        let list = OriginRule::List(vec![origin.to_owned()]);
        assert_eq!(error_under(&from(origin), &list), None, "{origin}");
    }
    for other in ["", "https://evil.example/path", "evil", "\u{e9}://a", "a b"] {
        assert_eq!(error_of(&from(other)), Some(UpgradeError::NotOrigin), "{other}");
        assert_eq!(status_of(&from(other)), Some(Status::Forbidden));
    }
    let rejection = Rejection::from(UpgradeError::Origin);
    assert_eq!(rejection.status(), Status::Forbidden);
    assert!(rejection.body().contains("`origins`"));

    let list = OriginRule::List(vec!["https://friend.example".to_owned()]);
    assert_eq!(error_under(&from("https://friend.example"), &list), None);
    assert_eq!(error_under(&from("https://example.com"), &list), Some(UpgradeError::Origin));
    assert_eq!(error_under(&head_of(&VALID), &list), None);
    assert_eq!(error_under(&from("null"), &OriginRule::Any), None);

    let twice = with("", &["Origin: https://example.com", "origin: https://example.com"]);
    assert_eq!(error_under(&twice, &OriginRule::Any), Some(UpgradeError::RepeatedOrigin));
    assert_eq!(status_of(&twice), Some(Status::BadRequest));
}

#[test]
fn the_origin_is_compared_with_the_host_of_the_target_rfc_9112_section_3_2_2() {
    let lines = [
        &["GET http://other.example:81/chat HTTP/1.1"],
        &VALID[1..],
        &["Origin: http://other.example:81"],
    ]
    .concat();
    assert_eq!(error_of(&head_of(&lines)), None);
}

#[test]
fn subprotocols_are_unique_tokens_rfc_6455_section_4_1() {
    for value in ["a b", "a,a", "\"a\""] {
        let bytes = with("", &[&format!("Sec-WebSocket-Protocol: {value}")]);
        assert!(matches!(error_of(&bytes), Some(UpgradeError::Subprotocol(_))), "{value}");
        assert_eq!(status_of(&bytes), Some(Status::BadRequest));
    }
    let bytes = with("", &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"]);
    assert_eq!(error_of(&bytes), None, "nothing in common is no reason to refuse");
}

#[test]
fn lists_that_do_not_fit_their_grammar_are_refused_rfc_6455_section_9_1() {
    for value in ["a b", "=", ";", ";;", "x=", "a; b=\"", "a; b=\"c d\""] {
        let bytes = with("", &[&format!("Sec-WebSocket-Extensions: {value}")]);
        assert!(matches!(error_of(&bytes), Some(UpgradeError::Extensions(_))), "{value}");
        assert_eq!(status_of(&bytes), Some(Status::BadRequest));
    }
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99, other";
    assert_eq!(error_of(&with("", &[offer])), None, "well-formed, but not acceptable");
    for (name, line) in [
        ("Connection", "Connection: \"a, Upgrade, b\""),
        ("Connection", "Connection: keep alive, Upgrade"),
        ("Upgrade", "Upgrade: \"a,websocket,b\", websocket"),
    ] {
        let bytes = with(name, &[line]);
        assert_eq!(error_of(&bytes), Some(UpgradeError::NotTokens { name }), "{line}");
        assert_eq!(status_of(&bytes), Some(Status::BadRequest));
    }
}

/// Handshakes that are nearly valid: lines of each kind, dropped, doubled and altered.
fn doubtful_handshake() -> impl Strategy<Value = Vec<u8>> {
    let choices: [&[&str]; 7] = [
        &["Host: example.com", "host:a:80", "Host:", "Host : a"],
        &["Upgrade: websocket", "upgrade: WebSocket", "Upgrade: h2c, websocket", "Upgrade: x"],
        &["Connection: Upgrade", "connection: keep-alive, upgrade", "Connection: close"],
        &[
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-Websocket-Key: duR0pUQxNgBJsRQKj2Jxsw==",
            "Sec-WebSocket-Key: \tm3xNMIzhueJyd3N66EAK6w== ",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==",
        ],
        &["Sec-WebSocket-Version: 13", "sec-websocket-version:13", "Sec-WebSocket-Version: 8"],
        &["Origin: http://example.com", "Content-Length: 0", "Content-Length: 3", "X: a"],
        &["Sec-WebSocket-Protocol: a, b", " folded", "X-\u{e9}: a", "Cookie: \u{e9}"],
    ];
    let lines = choices.map(|lines| {
        let line = prop::sample::select(lines.to_vec());
        // One line is the most likely, and the first choice is valid.
        prop_oneof![
            8 => Just(vec![lines[0]]),
            4 => line.clone().prop_map(|line| vec![line]),
            1 => prop::collection::vec(line, 0..3),
        ]
    });
    let request_line = prop_oneof![
        8 => Just("GET /chat HTTP/1.1"),
        1 => Just("GET ws://b/ HTTP/1.1"),
        1 => Just("GET /a HTTP/1.0"),
    ];
    let mutation = prop::option::weighted(0.3, (any::<Index>(), any::<u8>()));
    (request_line, lines, mutation).prop_map(|(request_line, lines, mutation)| {
        let mut bytes = head_of(&[vec![request_line], lines.concat()].concat());
        if let Some((at, byte)) = mutation {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// We refuse more than tungstenite does, and read a few lists that it does not; but where both
    /// accept, both must give the same proof.
    #[test]
    fn where_both_accept_the_key_is_that_of_tungstenite(bytes in doubtful_handshake()) {
        let Some(end) = find_head_end(&bytes, 0) else { return Ok(()) };
        let Ok(head) = parse_head(&bytes[..end]) else { return Ok(()) };
        let policy = UpgradePolicy { origins: &OriginRule::Any, subprotocols: &[] };
        let Ok(request) = check_upgrade(&head, &policy) else { return Ok(()) };
        let Ok(Some((their_end, their_request))) = Request::try_parse(&bytes) else { return Ok(()) };
        prop_assert_eq!(their_end, end, "both must agree where the frames begin");
        if let Ok(response) = create_response(&their_request) {
            let accept = response.headers()["Sec-WebSocket-Accept"].as_bytes();
            prop_assert_eq!(&request.accept_key()[..], accept);
        }
    }
}

#[test]
fn tungstenite_accepts_the_valid_handshake() {
    let bytes = head_of(&VALID);
    let (_, request) = Request::try_parse(&bytes).unwrap().unwrap();
    let response = create_response(&request).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
