//! A backend's reply to a request for a WebSocket: the 101, or a refusal with its body, which must
//! have come whole before anything of it is passed on.
//!
//! A refusal reaches the client with a body of known length, whatever framing the backend has
//! chosen, so nothing that follows it can be taken for another reply (RFC 9112 §6.3, §11.1).

use std::{borrow::Cow, io::Write as _};

use thiserror::Error;

use super::{
    date::HttpDate,
    deflate::Deflate,
    forward::EXTENSIONS,
    grammar::{split_once, trim_whitespace},
    head::{HeadError, Version, find_head_end},
    hop_by_hop::{HopByHop, canonical, write_line},
    list::{find_token, list_elements},
    reply_head::{ReplyHead, ReplyHeadError},
};

/// How large a reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// The most bytes of all heads together, interim ones included.
    pub head_bytes_max: usize,
    /// The most header lines of one head.
    pub lines_max: usize,
    /// The most bytes of a refusal's body that are passed on.
    pub body_bytes_max: usize,
}

/// What a backend has answered.
#[derive(Clone, Debug)]
pub enum Reply<'b> {
    /// 101: what follows the first `end` bytes belongs to the WebSocket.
    Switched {
        /// The head of the 101.
        head: ReplyHead<'b>,
        /// Where it ends.
        end: usize,
    },
    /// Any other final status.
    Refused {
        /// The head of the reply.
        head: ReplyHead<'b>,
        /// The whole body without its framing; `None` if it is longer than is passed on.
        body: Option<Cow<'b, [u8]>>,
    },
}

/// Why a reply is not passed on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The head is malformed.
    #[error(transparent)]
    Head(#[from] ReplyHeadError),
    /// More than [`ReplyLimits::head_bytes_max`].
    #[error("the head of the reply is larger than {bytes_max} bytes (limits.head_bytes_max)")]
    HeadTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The connection ended before the end of the reply.
    #[error("the connection ended before the end of the reply")]
    Truncated,
    /// A transfer coding other than `chunked`, one beside a length, or several lengths (RFC 9112
    /// §6.3).
    #[error("where the body of the reply ends is not certain (RFC 9112 section 6.3)")]
    Framing,
    /// A malformed chunk (RFC 9112 §7.1).
    #[error("the body of the reply has a malformed chunk (RFC 9112 section 7.1)")]
    Chunk,
    /// A 101 that does not switch to WebSocket, or to the one that was asked for (RFC 6455 §4.1).
    #[error("the reply 101 breaks a rule: {0} (RFC 6455 section 4.1)")]
    Handshake(&'static str),
}

/// Reads a reply, as far as it has come; `None` if more is needed. `has_ended` says that nothing
/// follows `input`. Interim replies (RFC 9110 §15.2) before the final one are left out.
///
/// # Errors
/// [`ReplyError`] names the rule that the reply breaks, or the limit.
pub fn read_reply(
    input: &[u8],
    has_ended: bool,
    limits: ReplyLimits,
) -> Result<Option<Reply<'_>>, ReplyError> {
    let mut start = 0;
    loop {
        let rest = input.get(start..).unwrap_or_default();
        let bytes_max = limits.head_bytes_max.min(super::HEAD_BYTES_MAX);
        let too_large = ReplyError::HeadTooLarge { bytes_max };
        let Some(head_bytes) = find_head_end(rest, 0) else {
            return match (input.len() > bytes_max, has_ended) {
                (true, _) => Err(too_large),
                (false, true) => Err(ReplyError::Truncated),
                (false, false) => Ok(None),
            };
        };
        let end = start + head_bytes;
        if end > bytes_max {
            return Err(too_large);
        }
        let head = ReplyHead::parse(rest.get(..head_bytes).unwrap_or_default(), limits.lines_max)?;
        match head.code() {
            101 => return Ok(Some(Reply::Switched { head, end })),
            100..=199 => start = end,
            _ => {
                let rest = input.get(end..).unwrap_or_default();
                let body = read_body(&head, rest, has_ended, limits.body_bytes_max)?;
                return Ok(body.map(|body| {
                    let body = match body {
                        Body::Whole(body) => Some(body),
                        Body::TooLong => None,
                    };
                    Reply::Refused { head, body }
                }));
            }
        }
    }
}

/// Whether a 101 switches to the WebSocket that was asked for with the key to which `accept` is the
/// answer.
///
/// # Errors
/// [`ReplyError::Handshake`] with the rule that is broken, [`ReplyError::Framing`] for a body.
pub fn check_switched(head: &ReplyHead<'_>, accept: &[u8; 28]) -> Result<(), ReplyError> {
    if head.version() < Version::HTTP_11 {
        return Err(ReplyError::Handshake("its version is not HTTP/1.1"));
    }
    // RFC 9110 §8.6, RFC 9112 §6.1: a 101 has neither, and what follows it is no body.
    let has_length = head.header_values("Content-Length").any(|value| value != b"0");
    if has_length || head.header_values("Transfer-Encoding").next().is_some() {
        return Err(ReplyError::Framing);
    }
    let mut upgrades = list_elements(head.header_values("Upgrade"));
    let first = upgrades.next().is_some_and(|own| own.eq_ignore_ascii_case(b"websocket"));
    if !first || upgrades.next().is_some() {
        return Err(ReplyError::Handshake("it does not upgrade to websocket"));
    }
    if find_token(head.header_values("Connection"), b"upgrade") != Some(true) {
        return Err(ReplyError::Handshake("its Connection header does not list Upgrade"));
    }
    let mut accepts = head.header_values("Sec-WebSocket-Accept");
    if accepts.next() != Some(accept.as_slice()) || accepts.next().is_some() {
        return Err(ReplyError::Handshake("its Sec-WebSocket-Accept is not that of the key"));
    }
    Ok(())
}

/// Checks a 101 to a request that offered no extension (RFC 6455 §4.1, item 5 of the last list).
///
/// # Errors
/// [`ReplyError::Handshake`] if it names one.
pub fn check_no_extensions(head: &ReplyHead<'_>) -> Result<(), ReplyError> {
    match list_elements(head.header_values(EXTENSIONS)).next() {
        None => Ok(()),
        Some(_) => Err(ReplyError::Handshake("it names an extension that was not offered")),
    }
}

/// Whose extensions a client is told in the 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchedExtensions {
    /// Those that the backend has agreed to.
    OfBackend,
    /// The gateway's own.
    Own(Option<Deflate>),
}

/// Appends the head of a 101 for the client: that of the backend without what was for this hop, and with
/// these extensions.
pub fn write_switched(out: &mut Vec<u8>, head: &ReplyHead<'_>, extensions: SwitchedExtensions) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    let is_own = extensions != SwitchedExtensions::OfBackend;
    write_headers(out, head, |name| {
        let is_extensions = name.eq_ignore_ascii_case(EXTENSIONS.as_bytes());
        !(name.eq_ignore_ascii_case(b"Content-Length") || is_own && is_extensions)
    });
    if let SwitchedExtensions::Own(Some(deflate)) = extensions {
        // Writing to a `Vec` never fails.
        let _ = write!(out, "{EXTENSIONS}: {deflate}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a refusal for the client: status, reason and headers of the backend without what was for
/// this hop, and the body with its length. Without a `body` its headers are left out as well. The
/// connection closes after it. One without a date gets `date` (RFC 9110 §6.6.1).
pub fn write_refused(
    out: &mut Vec<u8>,
    date: &HttpDate,
    head: &ReplyHead<'_>,
    body: Option<&[u8]>,
) {
    // Writing to a `Vec` never fails.
    let _ = write!(out, "HTTP/1.1 {} ", head.code());
    out.extend_from_slice(head.reason());
    out.extend_from_slice(match head.code() {
        // It must name the protocol (RFC 9110 §15.5.22), and `Upgrade` is for one hop.
        426 => b"\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n".as_slice(),
        _ => b"\r\nConnection: close\r\n",
    });
    if head.header_values("Date").next().is_none() {
        write_line(out, b"Date", date.as_bytes());
    }
    let is_of_body = |name: &[u8]| {
        let prefix = name.get(..8).unwrap_or_default();
        prefix.eq_ignore_ascii_case(b"Content-") && body.is_none()
    };
    write_headers(out, head, |name| {
        !name.eq_ignore_ascii_case(b"Content-Length") && !is_of_body(name)
    });
    let body = body.unwrap_or_default();
    if !has_no_body(head.code()) {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn write_headers(out: &mut Vec<u8>, head: &ReplyHead<'_>, is_kept: impl Fn(&[u8]) -> bool) {
    let connection: Vec<&[u8]> = head.header_values("Connection").collect();
    let hop_by_hop = HopByHop { connection: &connection };
    for (name, value) in head.headers() {
        if !hop_by_hop.has(name) && is_kept(name) {
            write_line(out, canonical(name), value);
        }
    }
}

enum Body<'b> {
    Whole(Cow<'b, [u8]>),
    TooLong,
}

/// A reply of this status has no body (RFC 9112 §6.3 item 1).
fn has_no_body(code: u16) -> bool {
    matches!(code, 204 | 304)
}

fn read_body<'b>(
    head: &ReplyHead<'_>,
    rest: &'b [u8],
    has_ended: bool,
    bytes_max: usize,
) -> Result<Option<Body<'b>>, ReplyError> {
    if has_no_body(head.code()) {
        return Ok(Some(Body::Whole(Cow::Borrowed(&[]))));
    }
    let more = |found: Option<Body<'b>>| match found {
        None if has_ended => Err(ReplyError::Truncated),
        found => Ok(found),
    };
    let mut lengths = head.header_values("Content-Length");
    let (length, has_more_lengths) = (lengths.next(), lengths.next().is_some());
    let mut codings = head.header_values("Transfer-Encoding");
    if let Some(coding) = codings.next() {
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !is_chunked || length.is_some() || head.version() < Version::HTTP_11 {
            return Err(ReplyError::Framing);
        }
        return more(read_chunks(rest, bytes_max)?);
    }
    let Some(length) = length else {
        // Until the connection ends (RFC 9112 §6.3 item 8).
        return Ok(match (rest.len() > bytes_max, has_ended) {
            (true, _) => Some(Body::TooLong),
            (false, true) => Some(Body::Whole(Cow::Borrowed(rest))),
            (false, false) => None,
        });
    };
    if has_more_lengths || length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(ReplyError::Framing);
    }
    // More digits than a number has mean a body that is too long as well.
    let length = str::from_utf8(length).ok().and_then(|digits| digits.parse::<usize>().ok());
    match length.filter(|length| *length <= bytes_max) {
        None => Ok(Some(Body::TooLong)),
        Some(length) => more(rest.get(..length).map(|body| Body::Whole(Cow::Borrowed(body)))),
    }
}

/// Reads a chunked body to the end of its trailers, which are left out (RFC 9112 §7.1). The framing
/// may be as long as the body, and a little more.
fn read_chunks(input: &[u8], bytes_max: usize) -> Result<Option<Body<'_>>, ReplyError> {
    let (mut body, mut rest) = (Vec::new(), input);
    let framed_max = 2 * bytes_max + FRAMING_BYTES;
    loop {
        if input.len() - rest.len() > framed_max {
            return Ok(Some(Body::TooLong));
        }
        let Some((line, behind)) = next_line(rest)? else {
            return unfinished(rest, input, framed_max);
        };
        let size = chunk_size(line)?;
        if size == 0 {
            return read_trailers(behind, input, framed_max)
                .map(|is_whole| is_whole.then_some(Body::Whole(Cow::Owned(body))));
        }
        if size > bytes_max - body.len() {
            return Ok(Some(Body::TooLong));
        }
        let Some((data, behind)) = behind.split_at_checked(size) else { return Ok(None) };
        body.extend_from_slice(data);
        rest = match behind {
            [b'\r', b'\n', behind @ ..] => behind,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(ReplyError::Chunk),
        };
    }
}

/// A line of the framing has not come whole: it may take a while, but not any number of bytes.
fn unfinished<'b>(
    rest: &[u8],
    input: &[u8],
    framed_max: usize,
) -> Result<Option<Body<'b>>, ReplyError> {
    let is_too_long = rest.len() > LINE_BYTES_MAX || input.len() > framed_max;
    if is_too_long { Err(ReplyError::Chunk) } else { Ok(None) }
}

/// Whether the trailers have come whole.
fn read_trailers(mut rest: &[u8], input: &[u8], framed_max: usize) -> Result<bool, ReplyError> {
    loop {
        let Some((line, behind)) = next_line(rest)? else {
            return unfinished(rest, input, framed_max).map(|_| false);
        };
        if line.is_empty() {
            return Ok(true);
        }
        if input.len() - behind.len() > framed_max {
            return Err(ReplyError::Chunk);
        }
        rest = behind;
    }
}

/// A line, and what follows it.
type LineAndRest<'b> = (&'b [u8], &'b [u8]);

/// A line of the framing without its CRLF, and what follows it; `None` if it has not come whole.
fn next_line(rest: &[u8]) -> Result<Option<LineAndRest<'_>>, ReplyError> {
    let Some((line, behind)) = split_once(rest, b'\n') else { return Ok(None) };
    let line = line.strip_suffix(b"\r").ok_or(ReplyError::Chunk)?;
    if line.contains(&b'\r') || line.len() > LINE_BYTES_MAX {
        return Err(ReplyError::Chunk);
    }
    Ok(Some((line, behind)))
}

/// The size that a chunk begins with: up to eight hexadecimal digits. What follows a `;` says nothing
/// that all recipients must know (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<usize, ReplyError> {
    let digits = split_once(line, b';').map_or(line, |(size, _)| size);
    let digits = match digits.len() < line.len() {
        true => trim_whitespace(digits),
        false => digits,
    };
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(ReplyError::Chunk);
    }
    let text = str::from_utf8(digits).map_err(|_| ReplyError::Chunk)?;
    usize::from_str_radix(text, 16).map_err(|_| ReplyError::Chunk)
}

impl From<HeadError> for ReplyError {
    fn from(error: HeadError) -> Self {
        Self::Head(ReplyHeadError::Header(error))
    }
}

/// A chunk's first line, or a trailer.
const LINE_BYTES_MAX: usize = 4096;
/// What the framing of a short body may take.
const FRAMING_BYTES: usize = 8192;

#[cfg(test)]
mod tests;
