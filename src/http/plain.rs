//! Requests that upgrade nothing, and the replies to them, as they go on to a backend and back: heads
//! without what was for one hop, with the framing written anew, so that no reader can find another end
//! of a message than the gateway has found.

use std::io::Write as _;

use super::{
    body::{BodyFraming, FramingError, request_framing},
    date::HttpDate,
    forward::{ClientFacts, ForwardRules, write_request_headers},
    head::{RequestHead, Version, find_head_end},
    hop_by_hop::{HopByHop, canonical, write_line},
    list::find_token,
    rejection::Rejection,
    reply::{ReplyError, ReplyLimits},
    reply_head::ReplyHead,
};

/// What of a request decides how it and its reply are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainRequest {
    /// Where its body ends.
    pub framing: BodyFraming,
    /// Whether it is a `HEAD`, whose reply has no body.
    pub is_head: bool,
    /// Whether it is of HTTP/1.0, whose client knows neither chunks nor interim replies.
    pub is_old: bool,
    /// Whether its connection ends with the reply: because the client says so, or speaks HTTP/1.0.
    pub closes: bool,
}

impl PlainRequest {
    /// Checks a request, with a body of at most `body_bytes_max`; 0 for any number.
    ///
    /// # Errors
    /// The [`Rejection`] to reply with: 501 for a method or a transfer coding that is not passed on, 400
    /// where it is not certain where its body ends, 411 for a body of HTTP/1.0 without a length, 413 for
    /// one that is too long.
    pub fn check(head: &RequestHead<'_>, body_bytes_max: u64) -> Result<Self, Rejection> {
        let method = head.method_bytes();
        if !METHODS.iter().any(|own| own.as_bytes() == method) {
            return Err(Rejection::not_implemented("this method is not passed on"));
        }
        let framing = request_framing(head).map_err(|error| match error {
            FramingError::UnknownCoding => Rejection::not_implemented(error.to_string()),
            FramingError::Both
            | FramingError::CodedInOldVersion
            | FramingError::Coding
            | FramingError::Length
            | FramingError::RepeatedLength => Rejection::bad_request(error.to_string()),
        })?;
        let Some(closes) = find_token(head.header_values("Connection"), b"close") else {
            let text = "the Connection header must list tokens (RFC 9110 section 5.6.1)";
            return Err(Rejection::bad_request(text));
        };
        let is_old = head.version() < Version::HTTP_11;
        let has_length = head.header("Content-Length").is_some();
        if is_old && !has_length && matches!(method, b"POST" | b"PUT" | b"PATCH") {
            // Nothing else could tell where it ends (RFC 1945 §8.3).
            return Err(Rejection::length_required());
        }
        if let BodyFraming::Length(bytes) = framing
            && is_too_long(bytes, body_bytes_max)
        {
            return Err(Rejection::content_too_large(body_bytes_max));
        }
        Ok(Self { framing, is_head: method == b"HEAD", is_old, closes: closes || is_old })
    }
}

/// Whether a body of this length in bytes is too long; with 0 none is.
#[must_use]
pub fn is_too_long(bytes: u64, body_bytes_max: u64) -> bool {
    body_bytes_max > 0 && bytes > body_bytes_max
}

/// Appends the head of the request to the backend, which is HTTP/1.1 and the only one of its connection:
/// that of `head`, for `target`, as [`write_request`](super::write_request) has it but without an upgrade.
pub fn write_plain_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    target: &[u8],
    rules: &ForwardRules,
    client: &ClientFacts<'_>,
    request: PlainRequest,
) {
    out.extend_from_slice(head.method_bytes());
    for part in [b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    // A client of HTTP/1.0 waits for no interim reply (RFC 9110 §10.1.1).
    let is_left_out = |name: &[u8]| request.is_old && name.eq_ignore_ascii_case(b"Expect");
    write_request_headers(out, head, rules, client, is_left_out);
    out.extend_from_slice(b"Connection: close\r\n");
    // Some methods need one although it says nothing (RFC 9110 §8.6).
    let has_length = head.header("Content-Length").is_some();
    write_framing(out, request.framing, has_length.then_some(0));
    out.extend_from_slice(b"\r\n");
}

/// How the final reply is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyPassage {
    /// Where its body ends, as the backend has told it.
    pub framing: BodyFraming,
    /// Whether the client knows no chunks.
    pub is_old: bool,
    /// Whether the client's connection ends with it.
    pub closes: bool,
}

impl ReplyPassage {
    /// Whether the body goes to the client in chunks.
    #[must_use]
    pub fn is_chunked(self) -> bool {
        self.framing == BodyFraming::Chunked && !self.is_old
    }

    /// Whether the client knows the end of the body by that of the connection.
    #[must_use]
    pub fn ends_with_connection(self) -> bool {
        match self.framing {
            BodyFraming::UntilEnd => true,
            BodyFraming::Chunked => self.is_old,
            BodyFraming::Empty | BodyFraming::Length(_) => false,
        }
    }
}

/// Appends the head of the final reply for the client: status, reason and headers of the backend without
/// what was for this hop. One without a date gets `date` (RFC 9110 §6.6.1).
pub fn write_plain_reply(
    out: &mut Vec<u8>,
    date: &HttpDate,
    head: &ReplyHead<'_>,
    passage: ReplyPassage,
) {
    write_status(out, head);
    if passage.closes || passage.ends_with_connection() {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    if head.header_values("Date").next().is_none() {
        write_line(out, b"Date", date.as_bytes());
    }
    write_headers(out, head);
    // That of a reply to a HEAD, and of a 304, says how long the body would be (RFC 9110 §8.6).
    let length = head
        .header_values("Content-Length")
        .next()
        .and_then(|value| str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()));
    match passage.framing {
        // A 204 must not have one.
        BodyFraming::Empty if head.code() == 204 => {}
        BodyFraming::Chunked | BodyFraming::UntilEnd if !passage.is_chunked() => {}
        framing @ (BodyFraming::Empty
        | BodyFraming::Length(_)
        | BodyFraming::Chunked
        | BodyFraming::UntilEnd) => write_framing(out, framing, length),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim reply for the client (RFC 9110 §15.2).
pub fn write_interim_reply(out: &mut Vec<u8>, head: &ReplyHead<'_>) {
    write_status(out, head);
    write_headers(out, head);
    out.extend_from_slice(b"\r\n");
}

/// The next head of a reply in what has come of it, and where it ends; `None` if more is needed.
///
/// # Errors
/// [`ReplyError`] names the rule that it breaks, or the limit.
pub fn next_reply_head(
    input: &[u8],
    limits: ReplyLimits,
) -> Result<Option<(ReplyHead<'_>, usize)>, ReplyError> {
    let bytes_max = limits.head_bytes_max.min(super::HEAD_BYTES_MAX);
    match find_head_end(input, 0) {
        Some(end) if end <= bytes_max => {
            let head = ReplyHead::parse(input.get(..end).unwrap_or_default(), limits.lines_max)?;
            Ok(Some((head, end)))
        }
        None if input.len() < bytes_max => Ok(None),
        Some(_) | None => Err(ReplyError::HeadTooLarge { bytes_max }),
    }
}

fn write_status(out: &mut Vec<u8>, head: &ReplyHead<'_>) {
    // Writing to a `Vec` never fails.
    let _ = write!(out, "HTTP/1.1 {} ", head.code());
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
}

fn write_headers(out: &mut Vec<u8>, head: &ReplyHead<'_>) {
    let connection: Vec<&[u8]> = head.header_values("Connection").collect();
    let hop_by_hop = HopByHop { connection: &connection };
    for (name, value) in head.headers() {
        if !hop_by_hop.has(name) && !name.eq_ignore_ascii_case(b"Content-Length") {
            write_line(out, canonical(name), value);
        }
    }
}

/// Without a body `length` is what is told in its place, if anything.
fn write_framing(out: &mut Vec<u8>, framing: BodyFraming, length: Option<u64>) {
    let _ = match (framing, length) {
        (BodyFraming::Chunked, _) => write!(out, "Transfer-Encoding: chunked\r\n"),
        (BodyFraming::Length(bytes), _) | (BodyFraming::Empty, Some(bytes)) => {
            write!(out, "Content-Length: {bytes}\r\n")
        }
        (BodyFraming::Empty, None) | (BodyFraming::UntilEnd, _) => Ok(()),
    };
}

/// Those whose meaning for a gateway is that of the request alone (RFC 9110 §9.3, RFC 5789).
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::head::parse_head;
    use super::*;

    fn check(request: &str, bytes_max: u64) -> Result<PlainRequest, (u16, String)> {
        let text = format!("{request}\r\n\r\n");
        let checked = PlainRequest::check(&parse_head(text.as_bytes()).unwrap(), bytes_max);
        checked.map_err(|rejection| (rejection.status().code(), rejection.body().to_owned()))
    }

    fn to_backend(request: &str) -> String {
        let text = format!("{request}\r\n\r\n");
        let head = parse_head(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        let (rules, client) = (ForwardRules::default(), ClientFacts::default());
        let plain = PlainRequest::check(&head, 0).unwrap();
        write_plain_request(&mut out, &head, head.path().raw(), &rules, &client, plain);
        String::from_utf8(out).unwrap()
    }

    fn to_client(reply: &str, to_head: bool, is_old: bool, closes: bool) -> String {
        let limits = ReplyLimits { head_bytes_max: 4096, lines_max: 64, body_bytes_max: 0 };
        let text = format!("{reply}\r\n\r\n");
        let (head, end) = next_reply_head(text.as_bytes(), limits).unwrap().unwrap();
        assert_eq!(end, text.len());
        let framing = super::super::body::reply_framing(&head, to_head).unwrap();
        let mut out = Vec::new();
        let date = HttpDate::from_unix_seconds(0);
        write_plain_reply(&mut out, &date, &head, ReplyPassage { framing, is_old, closes });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_that_are_not_passed_on_are_told_why() {
        for (request, status) in [
            ("TRACE / HTTP/1.1\r\nHost: a", 501),
            ("CONNECT / HTTP/1.1\r\nHost: a", 501),
            ("get / HTTP/1.1\r\nHost: a", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: a b", 400),
            ("POST / HTTP/1.0", 411),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11", 413),
        ] {
            assert_eq!(check(request, 10).unwrap_err().0, status, "{request}");
        }
    }

    #[test]
    fn a_connection_goes_on_unless_the_client_says_otherwise() {
        for (request, closes) in [
            ("GET / HTTP/1.1\r\nHost: a", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE", true),
            ("GET / HTTP/1.0", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive", true),
        ] {
            assert_eq!(check(request, 10).unwrap().closes, closes, "{request}");
        }
    }

    #[test]
    fn a_request_has_the_framing_of_the_gateway_and_nothing_of_the_hop() {
        let request = to_backend(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nTrailer: x\r\nTE: trailers\r\n\
             Connection: keep-alive, x-hop, content-length, host\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
             Upgrade: h2c\r\nContent_Length: 7\r\nTransfer_Encoding: x\r\nExpect: 100-continue\r\nCookie: a=b",
        );
        assert_eq!(
            request,
            "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nCookie: a=b\r\n\
             X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n\
             X-Forwarded-Host: a\r\nForwarded: for=unknown;host=\"a\";proto=http\r\n\
             Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let request = to_backend("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0");
        assert!(request.ends_with("Connection: close\r\nContent-Length: 0\r\n\r\n"), "{request}");
        let request = to_backend("GET /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 05");
        assert!(request.ends_with("Connection: close\r\nContent-Length: 5\r\n\r\n"), "{request}");
        assert!(!request.contains("Expect"), "{request}");
    }

    #[test]
    fn a_reply_has_the_framing_that_the_client_understands() {
        let chunked = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 1";
        let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let modern = ok("Date: x\r\nTransfer-Encoding: chunked\r\n");
        assert_eq!(to_client(chunked, false, false, false), modern);
        assert_eq!(to_client(chunked, false, true, true), ok("Connection: close\r\nDate: x\r\n"));
        let until_end = "HTTP/1.0 200 OK\r\nDate: x\r\nConnection: x-a\r\nX-A: 1";
        assert_eq!(
            to_client(until_end, false, false, false),
            ok("Connection: close\r\nDate: x\r\n")
        );
        let length = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 05";
        let own = ok("Date: x\r\nContent-Length: 5\r\n");
        assert_eq!(to_client(length, false, false, false), own);
        assert_eq!(to_client(length, true, false, false), own);
        let none = "HTTP/1.1 204 None\r\nDate: x\r\nContent-Length: 0";
        assert_eq!(to_client(none, false, false, false), "HTTP/1.1 204 None\r\nDate: x\r\n\r\n");
        let dated = to_client("HTTP/1.1 304 Not\r\nETag: a", false, false, false);
        let date = "Date: Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(dated, format!("HTTP/1.1 304 Not\r\n{date}\r\nETag: a\r\n\r\n"));
    }

    #[test]
    fn a_head_that_does_not_end_has_a_limit() {
        let limits = ReplyLimits { head_bytes_max: 20, lines_max: 64, body_bytes_max: 0 };
        assert!(matches!(next_reply_head(b"HTTP/1.1 200", limits), Ok(None)));
        let long = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let too_large = ReplyError::HeadTooLarge { bytes_max: 20 };
        assert_eq!(next_reply_head(long, limits).unwrap_err(), too_large);
        assert_eq!(next_reply_head(&long[..20], limits).unwrap_err(), too_large);
    }

    proptest! {
        /// Whatever lines a request has: the backend's has one framing, and it is that which was found.
        #[test]
        fn a_request_that_is_passed_on_has_one_framing(
            lines in prop::collection::vec(
                ("(Content[-_]Length|Transfer[-_]Encoding|Connection|X-A|Host_)", "[0-9a-z, ]{0,9}|chunked|close|content-length"),
                0..6,
            ),
        ) {
            let mut text = "POST /a HTTP/1.1\r\nHost: a\r\n".to_owned();
            lines.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
            text += "\r\n";
            let head = parse_head(text.as_bytes()).unwrap();
            let Ok(plain) = PlainRequest::check(&head, 0) else { return Ok(()) };
            let mut out = Vec::new();
            let (rules, client) = (ForwardRules::default(), ClientFacts::default());
            write_plain_request(&mut out, &head, b"/a", &rules, &client, plain);
            let again = parse_head(&out).unwrap();
            prop_assert_eq!(request_framing(&again), Ok(plain.framing));
            let framing = again.headers().filter(|(name, _)| {
                let spelled = name.to_ascii_lowercase().iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect::<Vec<_>>();
                spelled == b"content-length" || spelled == b"transfer-encoding"
            });
            prop_assert!(framing.count() <= 1);
            prop_assert_eq!(again.header("Connection"), Some(&b"close"[..]));
        }
    }
}
