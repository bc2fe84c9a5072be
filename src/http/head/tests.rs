use proptest::{prelude::*, sample::Index};

use super::*;

/// A head of these lines, each ended by CRLF, and the blank line.
fn head_of(lines: &[&str]) -> Vec<u8> {
    let mut head = lines.join("\r\n").into_bytes();
    head.extend_from_slice(BLANK_LINE);
    head
}

fn error_of(lines: &[&str]) -> Option<HeadError> {
    parse_head(&head_of(lines)).err()
}

/// The error of a GET over HTTP/1.1 whose headers are `Host: a` and these lines.
fn error_of_header(line: &str) -> Option<HeadError> {
    error_of(&["GET / HTTP/1.1", "Host: a", line])
}

/// A head that is valid by construction, and what must be found in it.
#[derive(Clone, Debug)]
struct ValidHead {
    bytes: Vec<u8>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

fn valid_head() -> impl Strategy<Value = ValidHead> {
    let header = ("x-[!#-'*+.0-9A-Z^-z|~-]{0,12}", "([!-~]([ -~\t\u{e9}]{0,20}[!-~])?)?");
    let whitespace = "[ \t]{0,2}";
    (
        any::<bool>(),
        "[!#-'*+.0-9A-Z^-z|~-]{1,8}",
        "((http|wss)://[a-z]{1,5}(:[0-9]{1,4})?)?/([a-z/+]|%[0-9A-F]{2}){0,20}(\\?[!$-~]{0,20})?",
        prop::collection::vec((header, whitespace, whitespace), 0..12),
        any::<Index>(),
    )
        .prop_map(|(leading_crlf, method, target, headers, host_at)| {
            let mut headers: Vec<_> = headers
                .into_iter()
                .map(|((name, value), before, after)| (name, value, before, after))
                .collect();
            let host = ("hOST".to_owned(), "a:1".to_owned(), " ".to_owned(), String::new());
            headers.insert(host_at.index(headers.len() + 1), host);
            let mut text = if leading_crlf { "\r\n".to_owned() } else { String::new() };
            text += &format!("{method} {target} HTTP/1.1\r\n");
            for (name, value, before, after) in &headers {
                text += &format!("{name}:{before}{value}{after}\r\n");
            }
            text += "\r\n";
            let headers = headers.into_iter().map(|(name, value, _, _)| (name, value)).collect();
            ValidHead { bytes: text.into_bytes(), method, target, headers }
        })
}

/// One change to a head, at a position that is scaled to its length.
#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, u8),
    Remove(Index),
    Replace(Index, u8),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            Self::Remove(at) if !bytes.is_empty() => _ = bytes.remove(at.index(bytes.len())),
            Self::Replace(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Remove(_) | Self::Replace(..) => {}
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let byte = prop_oneof![prop::sample::select(b"\0\t\n\r :/%#?,.\x7f\x80".to_vec()), any::<u8>()];
    let mutation = prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), byte).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
    ];
    prop::collection::vec(mutation, 1..4)
}

proptest! {
    #[test]
    fn a_valid_head_parses_to_its_parts(valid in valid_head()) {
        let head = parse_head(&valid.bytes).unwrap();
        prop_assert_eq!(head.method_bytes(), valid.method.as_bytes());
        prop_assert_eq!(head.target(), valid.target.as_bytes());
        prop_assert_eq!(head.version(), Version::HTTP_11);
        let headers: Vec<_> = head.headers().collect();
        let expected: Vec<_> =
            valid.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        prop_assert_eq!(headers, expected);
        for (name, _) in &valid.headers {
            let expected: Vec<_> = valid.headers.iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_bytes())
                .collect();
            let upper = name.to_ascii_uppercase();
            prop_assert_eq!(head.header_values(&upper).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_end_is_the_same_at_any_split(
        valid in valid_head(),
        rest: Vec<u8>,
        split: Index,
        split_again: Index,
    ) {
        let mut received = valid.bytes.clone();
        received.extend_from_slice(&rest);
        let end = valid.bytes.len();
        let first = split.index(end);
        let second = first + split_again.index(end - first);
        prop_assert_eq!(find_head_end(&received[..first], 0), None);
        prop_assert_eq!(find_head_end(&received[..second], first), None);
        prop_assert_eq!(find_head_end(&received[..end], second), Some(end));
        prop_assert_eq!(find_head_end(&received, second), Some(end));
    }

    #[test]
    fn every_beginning_of_a_valid_head_looks_like_http(valid in valid_head()) {
        for end in 0..valid.bytes.len() {
            let received = &valid.bytes[..end];
            prop_assert!(looks_like_http(received, 0), "{}", received.escape_ascii());
        }
    }

    #[test]
    fn what_does_not_look_like_http_is_never_accepted(
        valid in valid_head(),
        mutations in mutations(),
        split: Index,
    ) {
        let mut bytes = valid.bytes;
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        if !bytes.is_empty() && !looks_like_http(&bytes[..split.index(bytes.len())], 0) {
            prop_assert!(parse_head(&bytes).is_err());
        }
    }

    #[test]
    fn mutated_heads_never_panic_and_smuggle_nothing(
        valid in valid_head(),
        mutations in mutations(),
    ) {
        let mut bytes = valid.bytes;
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let end = find_head_end(&bytes, 0).unwrap_or(bytes.len());
        let head = &bytes[..end];
        let Ok(parsed) = parse_head(head) else { return Ok(()) };
        prop_assert!(!head.contains(&0));
        for (at, &byte) in head.iter().enumerate() {
            if byte == b'\n' {
                prop_assert!(at > 0 && head[at - 1] == b'\r');
                prop_assert!(!matches!(head.get(at + 1), Some(b' ' | b'\t')));
            }
            if byte == b'\r' {
                prop_assert_eq!(head.get(at + 1), Some(&b'\n'));
            }
        }
        prop_assert_eq!(parsed.header_values("host").count(), 1);
        for (name, value) in parsed.headers() {
            prop_assert!(is_token(name));
            prop_assert_eq!(trim_whitespace(value), value);
        }
    }

    #[test]
    fn any_bytes_are_handled_without_panic(bytes: Vec<u8>, scanned in 0_usize..64) {
        let _ = find_head_end(&bytes, scanned);
        let _ = looks_like_http(&bytes, 0);
        let _ = parse_head(&bytes);
    }
}

#[test]
fn a_browser_head_parses_in_place() {
    let bytes = head_of(&[
        "GET /chat?user=%E5%BC%A0 HTTP/1.1",
        "Host: server.example.com:8080",
        "Upgrade: websocket",
        "Connection:Upgrade",
        "Sec-Websocket-Key: \tdGhlIHNhbXBsZSBub25jZQ== ",
        "Empty:",
    ]);
    let head = parse_head(&bytes).unwrap();
    assert_eq!(head.method(), Method::Get);
    assert_eq!(head.path().raw(), b"/chat");
    assert_eq!(head.query().value("user").unwrap().unwrap(), "张");
    assert_eq!(head.host().unwrap().to_string(), "server.example.com:8080");
    assert_eq!(head.header("connection"), Some(&b"Upgrade"[..]));
    assert_eq!(head.header("Sec-WebSocket-Key"), Some(&b"dGhlIHNhbXBsZSBub25jZQ=="[..]));
    assert_eq!(head.header("empty"), Some(&b""[..]));
    assert_eq!(head.header("Origin"), None);
    assert!(bytes.as_ptr_range().contains(&head.header("upgrade").unwrap().as_ptr()));
}

#[test]
fn a_parsed_head_takes_at_most_704_bytes() {
    assert!(size_of::<RequestHead<'_>>() <= 704, "{}", size_of::<RequestHead<'_>>());
}

#[test]
fn debug_output_hides_query_and_headers() {
    let bytes = head_of(&["GET /chat?token=secret HTTP/1.1", "Host: a", "Cookie: secret"]);
    assert!(!format!("{:?}", parse_head(&bytes).unwrap()).contains("secret"));
}

#[test]
fn methods_are_told_apart_by_case_rfc_9110_section_9_1() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Other),
        ("get", Method::Other),
    ] {
        let bytes = head_of(&[&format!("{name} / HTTP/1.1"), "Host: a"]);
        let head = parse_head(&bytes).unwrap();
        assert_eq!((head.method(), head.method_bytes()), (method, name.as_bytes()));
    }
}

#[test]
fn one_leading_empty_line_is_ignored_rfc_9112_section_2_2() {
    assert_eq!(error_of(&["", "GET / HTTP/1.1", "Host: a"]), None);

    // A second one ends the head at once, and an empty request line is none.
    assert_eq!(find_head_end(b"\r\n\r\nGET / HTTP/1.1\r\n", 0), Some(4));
    assert_eq!(find_head_end(b"\r\n\r\n", 2), Some(4));
    assert_eq!(parse_head(b"\r\n\r\n").err(), Some(HeadError::RequestLine));
    assert!(!looks_like_http(b"\r\n\r", 0));
}

#[test]
fn the_end_is_found_past_a_boundary_that_was_scanned() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nframe";
    let end = bytes.len() - 5;
    for scanned in 0..end {
        assert_eq!(find_head_end(bytes, scanned), Some(end), "{scanned}");
    }
    assert_eq!(find_head_end(bytes, bytes.len()), None);
    assert_eq!(find_head_end(bytes, bytes.len() + 9), None);
}

#[test]
fn an_invalid_request_line_is_refused_rfc_9112_section_3() {
    for line in ["", "GET", "GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET /a b HTTP/1.1"] {
        assert_eq!(error_of(&[line, "Host: a"]), Some(HeadError::RequestLine), "{line:?}");
    }
    for line in [" / HTTP/1.1", "G(T / HTTP/1.1", "GET\t/ x HTTP/1.1", "GE\u{e9} / HTTP/1.1"] {
        let error = error_of(&[line, "Host: a"]);
        assert!(matches!(error, Some(HeadError::Method | HeadError::RequestLine)), "{line:?}");
    }
}

#[test]
fn only_versions_of_http_1_are_accepted_rfc_9112_section_2_3() {
    for version in ["HTTP/1.1", "HTTP/1.2", "HTTP/1.9"] {
        assert_eq!(error_of(&[&format!("GET / {version}"), "Host: a"]), None, "{version}");
    }
    for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/9.9"] {
        let error = error_of(&[&format!("GET / {version}"), "Host: a"]);
        assert_eq!(error, Some(HeadError::UnsupportedVersion), "{version}");
    }
    for version in ["http/1.1", "HTTP/1", "HTTP/1.10", "HTTP/11", "HTTP/1.x", "ICY/1.1", ""] {
        let error = error_of(&[&format!("GET / {version}"), "Host: a"]);
        assert_eq!(error, Some(HeadError::Version), "{version}");
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let end = find_head_end(preface, 0).unwrap();
    assert_eq!(parse_head(&preface[..end]).err(), Some(HeadError::UnsupportedVersion));
    assert!(Version::HTTP_10 < Version::HTTP_11);
}

#[test]
fn an_invalid_target_is_refused_rfc_9112_section_3_2() {
    for (target, error) in [
        ("*", TargetError::Form),
        ("a:443", TargetError::Form),
        ("/a#b", TargetError::Fragment),
        ("/%g0", TargetError::BadEscape),
        ("/\u{e9}", TargetError::Character),
        ("", TargetError::Form),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(error_of(&[&line, "Host: a"]), Some(HeadError::Target(error)), "{target:?}");
    }
}

#[test]
fn the_host_of_the_target_takes_precedence_rfc_9112_section_3_2_2() {
    let bytes = head_of(&["GET ws://b:81/chat HTTP/1.1", "Host: a"]);
    let head = parse_head(&bytes).unwrap();
    assert_eq!(head.host().unwrap().to_string(), "b:81");
    assert_eq!(head.path().raw(), b"/chat");

    // The header must be there, once and valid, all the same.
    let line = "GET ws://b/chat HTTP/1.1";
    assert_eq!(error_of(&[line]), Some(HeadError::MissingHost));
    assert_eq!(error_of(&[line, "Host: a b"]), Some(HeadError::InvalidHost));
    assert_eq!(error_of(&[line, "Host: b", "Host: b"]), Some(HeadError::RepeatedHost));
}

#[test]
fn http_1_1_needs_exactly_one_host_rfc_9112_section_3_2() {
    for version in ["HTTP/1.1", "HTTP/1.5"] {
        let line = format!("GET / {version}");
        assert_eq!(error_of(&[&line]), Some(HeadError::MissingHost));
        assert_eq!(error_of(&[&line, "Host: a", "host: a"]), Some(HeadError::RepeatedHost));
    }
}

#[test]
fn http_1_0_may_leave_host_out_but_not_repeat_it() {
    let bytes = head_of(&["GET / HTTP/1.0"]);
    let head = parse_head(&bytes).unwrap();
    assert_eq!((head.version(), head.host()), (Version::HTTP_10, None));
    assert_eq!(error_of(&["GET / HTTP/1.0", "Host: a", "Host: a"]), Some(HeadError::RepeatedHost));
    assert_eq!(error_of(&["GET / HTTP/1.0", "Host: a/b"]), Some(HeadError::InvalidHost));
}

#[test]
fn host_is_host_and_port_or_empty_rfc_9110_section_7_2() {
    let bytes = head_of(&["GET / HTTP/1.1", "Host:  "]);
    assert_eq!(parse_head(&bytes).unwrap().host(), None);
    for value in ["a", "a:", "a:80", "[::1]:80", "127.0.0.1"] {
        assert_eq!(error_of(&["GET / HTTP/1.1", &format!("Host: {value}")]), None, "{value}");
    }
    for value in ["a b", "a, a", "http://a", "a/", "@a", "a:b", ":80", "[a", "\u{e9}", "a?"] {
        let error = error_of(&["GET / HTTP/1.1", &format!("Host: {value}")]);
        assert_eq!(error, Some(HeadError::InvalidHost), "{value}");
    }
}

#[test]
fn bare_line_feeds_are_refused_rfc_9112_section_2_2() {
    for bytes in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(parse_head(bytes).err(), Some(HeadError::BareLineFeed));
    }
}

#[test]
fn bare_carriage_returns_are_refused_rfc_9112_section_2_2() {
    assert_eq!(error_of_header("X: a\rb"), Some(HeadError::BareCarriageReturn));
    assert_eq!(error_of_header("X: a\r"), Some(HeadError::BareCarriageReturn));
    assert_eq!(error_of_header("X\r: a"), Some(HeadError::BareCarriageReturn));
    assert_eq!(error_of_header("\rX: a"), Some(HeadError::BareCarriageReturn));
    for line in ["GET\r / HTTP/1.1", "GET /\r HTTP/1.1", "GET / HTTP/1.1\r", "\rGET / HTTP/1.1"] {
        assert_eq!(error_of(&[line, "Host: a"]), Some(HeadError::BareCarriageReturn), "{line:?}");
    }
}

#[test]
fn nul_is_refused_everywhere_rfc_9110_section_5_5() {
    for line in ["X: a\0b", "X\0: a", "X\0", "\0: a"] {
        assert_eq!(error_of_header(line), Some(HeadError::Nul), "{line:?}");
    }
    for line in ["G\0T / HTTP/1.1", "GET /\0 HTTP/1.1", "GET / HTTP/1.\0", "\0"] {
        assert_eq!(error_of(&[line, "Host: a"]), Some(HeadError::Nul), "{line:?}");
    }
}

#[test]
fn control_characters_in_values_are_refused_rfc_9110_section_5_5() {
    for value in ["a\x01", "\x0b", "a\x7fb", "\x1b[0m"] {
        assert_eq!(error_of_header(&format!("X: {value}")), Some(HeadError::ControlCharacter));
    }
    assert_eq!(error_of_header("X: a\tb \u{e9}"), None);
}

#[test]
fn folded_headers_are_refused_rfc_9112_section_5_2() {
    assert_eq!(error_of_header(" folded"), Some(HeadError::FoldedHeader));
    assert_eq!(error_of_header("\tX: folded"), Some(HeadError::FoldedHeader));
    assert_eq!(error_of_header(" "), Some(HeadError::FoldedHeader));
    assert_eq!(error_of(&["GET / HTTP/1.1", " Host: a"]), Some(HeadError::FoldedHeader));
}

#[test]
fn whitespace_before_the_colon_is_refused_rfc_9112_section_5_1() {
    assert_eq!(error_of_header("X : a"), Some(HeadError::WhitespaceBeforeColon));
    assert_eq!(error_of_header("X\t: a"), Some(HeadError::WhitespaceBeforeColon));
    assert_eq!(error_of(&["GET / HTTP/1.1", "Host : a"]), Some(HeadError::WhitespaceBeforeColon));
}

#[test]
fn header_names_are_tokens_rfc_9110_section_5_1() {
    for line in [": a", "X Y: a", "X(: a", "\u{e9}: a", "\"X\": a"] {
        assert_eq!(error_of_header(line), Some(HeadError::HeaderName), "{line:?}");
    }
    for line in ["X", "GET / HTTP/1.1", "X=a"] {
        assert_eq!(error_of_header(line), Some(HeadError::MissingColon), "{line:?}");
    }
}

/// A head of this many bytes.
fn head_of_bytes(bytes: usize) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(bytes - BLANK_LINE.len(), b'x');
    head.extend_from_slice(BLANK_LINE);
    head
}

/// A head with this many header lines, each with a name and a value of its own.
fn head_of_lines(count: usize) -> Vec<u8> {
    let further = (1..count).map(|number| format!("\r\nX-{number}: {number}"));
    let lines = further.collect::<String>();
    format!("GET / HTTP/1.1\r\nHost: a{lines}\r\n\r\n").into_bytes()
}

#[test]
fn heads_are_bounded_by_default() {
    assert!(parse_head(&head_of_bytes(8192)).is_ok());
    let error = parse_head(&head_of_bytes(8193)).err();
    assert_eq!(error, Some(HeadError::TooLarge { bytes_max: 8192 }));
    assert!(parse_head(&head_of_lines(64)).is_ok());
    let error = parse_head(&head_of_lines(65)).err();
    assert_eq!(error, Some(HeadError::TooManyHeaders { lines_max: 64 }));
}

#[test]
fn no_limit_allows_more_than_positions_can_tell() {
    let limits = HeadLimits { bytes_max: usize::MAX, lines_max: usize::MAX };
    let bytes = head_of_bytes(HEAD_BYTES_MAX);
    let head = parse_head_within(&bytes, limits).unwrap();
    assert_eq!(head.header("X").unwrap().len(), HEAD_BYTES_MAX - 28 - BLANK_LINE.len());
    let error = parse_head_within(&head_of_bytes(HEAD_BYTES_MAX + 1), limits).err();
    assert_eq!(error, Some(HeadError::TooLarge { bytes_max: HEAD_BYTES_MAX }));
    assert!(parse_head_within(&head_of_lines(HEADER_LINES_MAX), limits).is_ok());
    let error = parse_head_within(&head_of_lines(HEADER_LINES_MAX + 1), limits).err();
    assert_eq!(error, Some(HeadError::TooManyHeaders { lines_max: HEADER_LINES_MAX }));
}

proptest! {
    #[test]
    fn heads_are_bounded_in_bytes(bytes_max in 512_usize..=HEAD_BYTES_MAX) {
        let limits = HeadLimits { bytes_max, ..HeadLimits::default() };
        prop_assert!(parse_head_within(&head_of_bytes(bytes_max), limits).is_ok());
        let error = parse_head_within(&head_of_bytes(bytes_max + 1), limits).err();
        prop_assert_eq!(error, Some(HeadError::TooLarge { bytes_max }));
    }

    /// Whether the lines fit into the head itself or not.
    #[test]
    fn heads_are_bounded_in_lines(lines_max in 1_usize..200) {
        let limits = HeadLimits { lines_max, ..HeadLimits::default() };
        let bytes = head_of_lines(lines_max);
        let head = parse_head_within(&bytes, limits).unwrap();
        prop_assert_eq!(head.headers().count(), lines_max);
        for number in 1..lines_max {
            let value = number.to_string();
            prop_assert_eq!(head.header(&format!("x-{number}")), Some(value.as_bytes()));
        }
        let error = parse_head_within(&head_of_lines(lines_max + 1), limits).err();
        prop_assert_eq!(error, Some(HeadError::TooManyHeaders { lines_max }));
    }

    /// Checked once, in parts of any size, or as a whole.
    #[test]
    fn what_looks_like_http_does_so_in_any_parts(
        valid in valid_head(),
        mutations in prop::option::of(mutations()),
        sizes in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let mut bytes = valid.bytes;
        mutations.iter().flatten().for_each(|mutation| mutation.apply(&mut bytes));
        let (mut checked, mut sizes) = (0, sizes.into_iter().cycle());
        while checked < bytes.len() {
            let end = bytes.len().min(checked + sizes.next().unwrap());
            let received = &bytes[..end];
            let looks = looks_like_http(received, checked);
            prop_assert_eq!(looks, looks_like_http(received, 0), "{}", received.escape_ascii());
            if !looks {
                break;
            }
            checked = end;
        }
    }
}

#[test]
fn an_incomplete_head_is_truncated() {
    let bytes = head_of(&["GET / HTTP/1.1", "Host: a"]);
    for end in 0..bytes.len() {
        assert_eq!(parse_head(&bytes[..end]).err(), Some(HeadError::Truncated), "{end}");
    }
}

#[test]
fn other_protocols_do_not_look_like_http() {
    for received in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..], // a TLS ClientHello
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO mail.example\r\n",
        b"*1\r\n$4\r\nPING\r\n", // Redis
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n", // the PROXY protocol, version 2
        b"hello\n",
        b" GET / HTTP/1.1",
        b"\rG",
        b"\n",
        b"\0",
        b"GET /\0",
        b"GET /\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\r",
        b"GET / http/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"GET /\x01 HTTP/1.1\r\n",
    ] {
        assert!(!looks_like_http(received, 0), "{}", received.escape_ascii());
    }
}

#[test]
fn a_version_with_its_own_status_looks_like_http() {
    assert!(looks_like_http(b"PRI * HTTP/2.0\r\n", 0));
    assert!(looks_like_http(b"GET / HTTP/3.0\r", 0));
}
