use proptest::prelude::*;

use super::super::accept_key;
use super::*;

const LIMITS: ReplyLimits =
    ReplyLimits { head_bytes_max: 1024, lines_max: 16, body_bytes_max: 100 };
const KEY: &[u8; 24] = b"dGhlIHNhbXBsZSBub25jZQ==";
type StatusAndBody = (u16, Option<Vec<u8>>);

fn read(input: &[u8], has_ended: bool) -> Result<Option<StatusAndBody>, ReplyError> {
    let reply = read_reply(input, has_ended, LIMITS)?;
    Ok(reply.map(|reply| match reply {
        Reply::Switched { head, end } => (head.code(), Some(input[end..].to_vec())),
        Reply::Refused { head, body } => (head.code(), body.map(Cow::into_owned)),
    }))
}

/// What the client is sent of a whole reply.
fn passed_on(input: &str) -> String {
    let mut out = Vec::new();
    match read_reply(input.as_bytes(), true, LIMITS).unwrap().unwrap() {
        Reply::Switched { head, .. } => {
            write_switched(&mut out, &head, SwitchedExtensions::OfBackend)
        }
        Reply::Refused { head, body } => {
            write_refused(&mut out, &HttpDate::from_unix_seconds(0), &head, body.as_deref())
        }
    }
    String::from_utf8(out).unwrap()
}

fn switched(lines: &str) -> Result<(), ReplyError> {
    let text = format!("HTTP/1.1 101 X\r\n{lines}\r\n");
    let Ok(Some(Reply::Switched { head, .. })) = read_reply(text.as_bytes(), false, LIMITS) else {
        panic!("{text}")
    };
    check_switched(&head, &accept_key(KEY))
}

#[test]
fn a_101_is_checked_and_passed_on_without_what_was_for_this_hop() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
                HTTP/1.1 101 Sure\r\nserver: x\r\nupgrade: WebSocket\r\nconnection: upgrade, x-a\r\n\
                X-A: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                sec-websocket-protocol: chat\r\nSet-Cookie: a=b\r\n\r\n";
    let with_frame = [text.as_bytes(), b"\x81"].concat();
    assert_eq!(read(&with_frame, false), Ok(Some((101, Some(vec![0x81])))));
    let Ok(Some(Reply::Switched { head, .. })) = read_reply(text.as_bytes(), false, LIMITS) else {
        panic!()
    };
    assert_eq!(check_switched(&head, &accept_key(KEY)), Ok(()));
    assert_eq!(
        passed_on(text),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         server: x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\n\r\n"
    );
}

#[test]
fn a_101_for_something_else_is_refused() {
    let (upgrade, connection, accept) = (
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    );
    assert_eq!(switched(&[upgrade, connection, accept].concat()), Ok(()));
    for lines in [
        [upgrade, connection, ""].concat(),
        [upgrade, "", accept].concat(),
        ["", connection, accept].concat(),
        ["Upgrade: h2c\r\n", connection, accept].concat(),
        ["Upgrade: websocket, h2c\r\n", connection, accept].concat(),
        [upgrade, connection, accept, accept].concat(),
        [upgrade, connection, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"].concat(),
    ] {
        assert!(matches!(switched(&lines), Err(ReplyError::Handshake(_))), "{lines}");
    }
    for body in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
        let lines = [upgrade, connection, accept, body].concat();
        assert_eq!(switched(&lines), Err(ReplyError::Framing));
    }
}

#[test]
fn a_refusal_reaches_the_client_with_a_body_of_known_length() {
    let head = "HTTP/1.1 401 Who are you\r\nWWW-Authenticate: Bearer\r\nContent-Type: a/b\r\n";
    let sent = "HTTP/1.1 401 Who are you\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                WWW-Authenticate: Bearer\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello";
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\n\r\nhello and more",
        "\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: y\r\n\r\n",
        "Transfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n00000005\r\nhello\r\n0\r\n\r\nHTTP/1.1 200",
    ] {
        assert_eq!(passed_on(&format!("{head}{body}")), sent, "{body}");
    }
    assert_eq!(
        passed_on("HTTP/1.1 426 U\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
        "HTTP/1.1 426 U\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(
        passed_on("HTTP/1.1 304 N\r\nETag: a\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"),
        "HTTP/1.1 304 N\r\nConnection: close\r\nETag: a\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
        "a date of its own stays"
    );
}

#[test]
fn a_body_that_is_too_long_is_left_out() {
    let long = "x".repeat(101);
    for body in [
        format!("Content-Length: 101\r\n\r\n{long}"),
        "Content-Length: 99999999999999999999999999\r\n\r\n".to_owned(),
        format!("\r\n{long}"),
        format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n64\r\n{long}"),
    ] {
        assert_eq!(
            passed_on(&format!("HTTP/1.1 403 No\r\nA: b\r\nContent-Type: c\r\n{body}")),
            "HTTP/1.1 403 No\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nA: b\r\n\
             Content-Length: 0\r\n\r\n",
        );
    }
}

#[test]
fn a_body_of_unknown_framing_is_not_passed_on() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello");
        assert_eq!(read(text.as_bytes(), true), Err(ReplyError::Framing), "{lines}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(read(old.as_bytes(), true), Err(ReplyError::Framing));
    for chunks in [
        "\r\n",
        "x\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        "1\na\r\n",
        "1 \r\na\r\n",
        "-1\r\n",
        "000000001\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n\n",
        "1\r\na\r\n0\n\n",
        "1\r;\r\na\r\n",
    ] {
        let text =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        assert_eq!(read(text.as_bytes(), true), Err(ReplyError::Chunk), "{chunks:?}");
    }
}

#[test]
fn an_end_before_that_of_the_reply_is_noticed() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        assert_eq!(read(text.as_bytes(), true), Err(ReplyError::Truncated), "{text}");
        assert_eq!(read(text.as_bytes(), false), Ok(None), "{text}");
    }
}

#[test]
fn heads_without_end_are_bounded() {
    let too_large = Err(ReplyError::HeadTooLarge { bytes_max: 1024 });
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(1024));
    assert_eq!(read(endless.as_bytes(), false), too_large);
    let interim = "HTTP/1.1 102 P\r\n\r\n".repeat(100);
    assert_eq!(read(interim.as_bytes(), false), too_large);
    let chunk =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", "0".repeat(4097));
    assert_eq!(read(chunk.as_bytes(), false), Err(ReplyError::Chunk));
}

/// Replies, most of them well-formed.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::collection::vec(
        prop::sample::select(vec![
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "A: b",
        ]),
        0..3,
    );
    let body = prop::collection::vec(
        prop::sample::select(vec!["3\r\nabc\r\n", "0\r\n\r\n", "a", "\r\n", "0\r\n"]),
        0..4,
    );
    let code = prop::sample::select(vec![100, 101, 103, 200, 204, 304, 401, 999]);
    (prop::collection::vec(code, 1..3), lines, body).prop_map(|(codes, lines, body)| {
        let mut text = String::new();
        for code in codes {
            text += &format!("HTTP/1.1 {code} R\r\n");
            lines.iter().for_each(|line| text += &format!("{line}\r\n"));
            text += "\r\n";
        }
        (text + &body.concat()).into_bytes()
    })
}

proptest! {
    /// What is found as soon as enough has come is what is found in the whole, and a client reads
    /// from what is passed on exactly one reply.
    #[test]
    fn a_reply_in_parts_is_the_reply_as_a_whole(input in replies()) {
        let whole = read(&input, true);
        let first = (0..=input.len()).find_map(|end| match read(&input[..end], false) {
            Ok(None) => None,
            found => Some(found),
        });
        match (&first, &whole) {
            (Some(Ok(Some((101, _)))), Ok(Some((101, _)))) => {}
            (Some(first), whole) => prop_assert_eq!(first, whole),
            // Its end is that of the connection.
            (None, whole) => prop_assert!(!matches!(whole, Ok(Some((_, None)))), "{:?}", whole),
        }
        if let Ok(Some(Reply::Refused { head, body })) = read_reply(&input, true, LIMITS) {
            let mut out = Vec::new();
            write_refused(&mut out, &HttpDate::from_unix_seconds(0), &head, body.as_deref());
            let again = read(&out, false).unwrap().map(|(code, body)| (code, body.unwrap()));
            prop_assert_eq!(again, Some((head.code(), body.unwrap_or_default().into_owned())));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(input: Vec<u8>, has_ended: bool) {
        let _ = read(&input, has_ended);
        let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        text.extend(input);
        let _ = read(&text, has_ended);
    }
}
