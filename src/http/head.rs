//! The request head, parsed in place (RFC 9112 §2 to §5).
//!
//! Nothing is copied or allocated: a [`RequestHead`] refers to the bytes from which it was parsed.
//! Where the RFC allows a recipient to be lenient, this parser is strict: a head that two parsers
//! read differently can smuggle a request past a proxy (RFC 9112 §11.2).

use std::fmt;

use memchr::{memchr, memmem};
use thiserror::Error;

use super::{
    authority::Authority,
    cookie::{CookieError, cookie_value},
    grammar::{
        is_field_value, is_token, is_token_byte, split_once, trim_whitespace, trim_whitespace_start,
    },
    target::{Path, Query, Target, TargetError},
};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The most bytes, from the first byte to the end of the blank line; at most [`HEAD_BYTES_MAX`].
    pub bytes_max: usize,
    /// The most header lines; at most [`HEADER_LINES_MAX`].
    pub lines_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes_max: 8192, lines_max: HEADERS_INLINE }
    }
}

/// The most bytes that [`HeadLimits`] may allow: positions in a head take 16 bits.
pub const HEAD_BYTES_MAX: usize = 1 << 16;

/// The most header lines that [`HeadLimits`] may allow. Each look-up of a header walks all of them.
pub const HEADER_LINES_MAX: usize = 1024;

/// Finds the end of a head: the index just past its blank line, or `None` while it is incomplete.
///
/// `scanned` is the number of bytes of `input` that an earlier call has searched, 0 at first, so
/// that a head that arrives in small parts is searched once. A blank line across that boundary is
/// found.
pub fn find_head_end(input: &[u8], scanned: usize) -> Option<usize> {
    // The first bytes of the blank line may be at the end of what was scanned.
    let resume = scanned.saturating_sub(BLANK_LINE.len() - 1);
    let at = memmem::find(input.get(resume..)?, BLANK_LINE)?;
    Some(resume + at + BLANK_LINE.len())
}

/// Whether `received`, the first bytes of a connection, may still become a request head.
///
/// A cheap test for incomplete heads: it refuses a TLS handshake or a client of another protocol at
/// once instead of at the deadline. Only the request line is checked. `checked` is the number of
/// bytes that passed an earlier call, 0 at first, so that a long line which arrives in small parts is
/// checked once. When this returns false,
/// [`parse_head`] refuses the head whatever follows. A request line of an unsupported version
/// passes, because that has its own status.
pub fn looks_like_http(received: &[u8], checked: usize) -> bool {
    let (line, checked) = match received {
        [b'\r'] => return true,
        [b'\r', b'\n', line @ ..] => (line, checked.saturating_sub(2)),
        line => (line, checked),
    };
    if let Some((line, after_return)) = split_once(line, b'\r') {
        // The line and the byte behind its CR have passed; headers are not looked at.
        return line.len() + 2 <= checked
            || matches!(after_return.first(), None | Some(b'\n'))
                && matches!(RequestLine::parse(line), Ok(_) | Err(HeadError::UnsupportedVersion));
    }
    let (method, rest) = split_once(line, b' ').unwrap_or((line, &[]));
    let method_is_missing = method.is_empty() && !line.is_empty();
    let rest_checked = checked.saturating_sub(line.len() - rest.len());
    !method_is_missing
        && method.iter().skip(checked).all(|&byte| is_token_byte(byte))
        && rest.iter().skip(rest_checked).all(|&byte| byte == b' ' || byte.is_ascii_graphic())
}

/// As [`parse_head_within`], with the default limits.
///
/// # Errors
/// [`HeadError`] names the rule that the head breaks.
pub fn parse_head(input: &[u8]) -> Result<RequestHead<'_>, HeadError> {
    parse_head_within(input, HeadLimits::default())
}

/// Parses a complete head, up to and including its blank line (see [`find_head_end`]).
///
/// One empty line before the request line is ignored (RFC 9112 §2.2).
///
/// # Errors
/// [`HeadError`] names the rule that the head breaks, or the limit.
pub fn parse_head_within(input: &[u8], limits: HeadLimits) -> Result<RequestHead<'_>, HeadError> {
    let bytes_max = limits.bytes_max.min(HEAD_BYTES_MAX);
    let lines_max = limits.lines_max.min(HEADER_LINES_MAX);
    if input.len() > bytes_max {
        return Err(HeadError::TooLarge { bytes_max });
    }
    // One empty line before the request line (RFC 9112 §2.2).
    let position = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let mut lines = Lines { input, position };
    let request_line = RequestLine::parse(lines.next_line()?.bytes)?;
    let mut head = RequestHead {
        input,
        method: request_line.method,
        target: request_line.target,
        version: request_line.version,
        path: request_line.target_parts.path,
        query: request_line.target_parts.query,
        host: None,
        header_count: 0,
        headers: [HeaderSpan::default(); HEADERS_INLINE],
        more_headers: Vec::new(),
    };
    loop {
        let line = lines.next_line()?;
        if line.bytes.is_empty() {
            break;
        }
        if head.header_count >= lines_max {
            return Err(HeadError::TooManyHeaders { lines_max });
        }
        let header = HeaderSpan::parse(line)?;
        match head.headers.get_mut(head.header_count) {
            Some(slot) => *slot = header,
            None => head.spill(header),
        }
        head.header_count += 1;
    }
    // The authority of an absolute target takes precedence over Host, but Host must be valid even
    // then (RFC 9112 §3.2.2).
    let named_by_header = parse_host(head.version, head.header_values("Host"))?;
    head.host = request_line.target_parts.authority.or(named_by_header);
    Ok(head)
}

/// A parsed request head: about 700 bytes on the stack that refer to the receive buffer. Only one of
/// more than 64 header lines allocates, eight bytes for each.
#[derive(Clone)]
pub struct RequestHead<'b> {
    input: &'b [u8],
    method: &'b [u8],
    target: &'b [u8],
    version: Version,
    path: Path<'b>,
    query: Query<'b>,
    host: Option<Authority<'b>>,
    header_count: usize,
    headers: [HeaderSpan; HEADERS_INLINE],
    more_headers: Vec<HeaderSpan>,
}

impl<'b> RequestHead<'b> {
    /// The method, as far as this server distinguishes methods.
    pub fn method(&self) -> Method {
        match self.method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            _ => Method::Other,
        }
    }

    /// The method as it was sent, case-sensitive (RFC 9110 §9.1).
    pub fn method_bytes(&self) -> &'b [u8] {
        self.method
    }

    /// The whole request target as it was sent.
    pub fn target(&self) -> &'b [u8] {
        self.target
    }

    /// The protocol version; its major number is 1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path of the target.
    pub fn path(&self) -> Path<'b> {
        self.path
    }

    /// The query of the target, empty if it has none.
    pub fn query(&self) -> Query<'b> {
        self.query
    }

    /// The host of the request: that of an absolute target, or else that of `Host` (RFC 9112 §3.3).
    /// `None` if there is none: HTTP/1.0 does not need `Host`, and an empty value means that the
    /// target has no authority (RFC 9110 §7.2).
    pub fn host(&self) -> Option<Authority<'b>> {
        self.host
    }

    /// Adds a header for which there is no room inside: all lie outside from then on, so that
    /// look-ups walk one slice.
    #[cold]
    fn spill(&mut self, header: HeaderSpan) {
        if self.more_headers.is_empty() {
            self.more_headers = self.headers.to_vec();
        }
        self.more_headers.push(header);
    }

    fn spans(&self) -> &[HeaderSpan] {
        match self.headers.get(..self.header_count) {
            Some(inside) => inside,
            None => &self.more_headers,
        }
    }

    /// All headers as (name, value) in the order sent, values without whitespace around them.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + '_ {
        let input = self.input;
        self.spans().iter().map(move |header| (header.name.of(input), header.value.of(input)))
    }

    /// The value of the first header called `name`, in any letter case.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.header_values(name).next()
    }

    /// The values of all headers called `name`, in any letter case, in the order sent.
    pub fn header_values<'h>(
        &'h self,
        name: &'h str,
    ) -> impl DoubleEndedIterator<Item = &'b [u8]> + 'h {
        called(self.spans(), self.input, name.as_bytes())
    }

    /// The value of the cookie called `name`, as it was sent.
    ///
    /// # Errors
    /// [`CookieError`] if it is sent more than once.
    pub fn cookie(&self, name: &str) -> Result<Option<&'b [u8]>, CookieError> {
        cookie_value(self.header_values("Cookie"), name)
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Omits the query and the headers: tokens and cookies in them must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RequestHead")
            .field("method", &self.method.escape_ascii().to_string())
            .field("path", &self.path.raw().escape_ascii().to_string())
            .field("host", &self.host)
            .field("version", &self.version)
            .field("header_count", &self.header_count)
            .finish_non_exhaustive()
    }
}

/// A request method, as far as this server distinguishes methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`: a page, or an upgrade.
    Get,
    /// `HEAD`: as `GET`, answered without the body (RFC 9110 §9.3.2).
    Head,
    /// Any other method.
    Other,
}

/// An HTTP version (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the dot: how messages are written.
    pub major: u8,
    /// The number after the dot: what the sender is capable of.
    pub minor: u8,
}

impl Version {
    /// HTTP/1.0, which may fetch pages but not upgrade.
    pub const HTTP_10: Self = Self { major: 1, minor: 0 };
    /// HTTP/1.1, the first version that can upgrade.
    pub const HTTP_11: Self = Self { major: 1, minor: 1 };
}

/// Why a request head is refused: a variant for each rule, in the order of the head.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// More than [`HeadLimits::bytes_max`] (431).
    #[error("the request head is larger than {bytes_max} bytes (limits.head_bytes_max)")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes end before the blank line.
    #[error("the request head ends before its blank line")]
    Truncated,
    /// A line ends in LF alone, which RFC 9112 §2.2 would allow a recipient to accept.
    #[error("every line must end in CRLF, not in LF alone")]
    BareLineFeed,
    /// A CR that is not followed by LF (RFC 9112 §2.2).
    #[error("a CR must be followed by LF (RFC 9112 section 2.2)")]
    BareCarriageReturn,
    /// A NUL anywhere (RFC 9110 §5.5).
    #[error("the request head must not hold NUL (RFC 9110 section 5.5)")]
    Nul,
    /// Another control character in a header value (RFC 9110 §5.5).
    #[error("a header value must not hold control characters (RFC 9110 section 5.5)")]
    ControlCharacter,
    /// Not `METHOD SP TARGET SP VERSION` (RFC 9112 §3).
    #[error("the first line must be `METHOD TARGET HTTP/1.1` with single spaces")]
    RequestLine,
    /// The method is not a token (RFC 9110 §9.1).
    #[error("the method must be a token (RFC 9110 section 9.1)")]
    Method,
    /// The version is not `HTTP/` and two digits with a dot (RFC 9112 §2.3).
    #[error("the version must be written `HTTP/1.1` (RFC 9112 section 2.3)")]
    Version,
    /// A version of HTTP other than 1.x (505).
    #[error("only HTTP/1.x is spoken here")]
    UnsupportedVersion,
    /// The request target is invalid.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// More than [`HeadLimits::lines_max`] (431).
    #[error("the request has more than {lines_max} header lines (limits.header_lines_max)")]
    TooManyHeaders {
        /// The limit.
        lines_max: usize,
    },
    /// A header line begins with whitespace: an obsolete line folding (RFC 9112 §5.2), or
    /// whitespace between the request line and the headers (RFC 9112 §2.2).
    #[error("a header line must not begin with whitespace (RFC 9112 section 5.2)")]
    FoldedHeader,
    /// A header line without a colon (RFC 9112 §5).
    #[error("a header line must be `Name: value` (RFC 9112 section 5)")]
    MissingColon,
    /// Whitespace between a header's name and its colon (RFC 9112 §5.1).
    #[error("no whitespace is allowed before the colon of a header (RFC 9112 section 5.1)")]
    WhitespaceBeforeColon,
    /// A header name that is not a token (RFC 9110 §5.1).
    #[error("a header name must be a token (RFC 9110 section 5.1)")]
    HeaderName,
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    #[error("the Host header is missing (RFC 9112 section 3.2)")]
    MissingHost,
    /// More than one `Host` (RFC 9112 §3.2).
    #[error("the Host header is given more than once (RFC 9112 section 3.2)")]
    RepeatedHost,
    /// A `Host` that is not `host[:port]` (RFC 9112 §3.2).
    #[error("the Host header must be host[:port] (RFC 9112 section 3.2)")]
    InvalidHost,
}

struct RequestLine<'b> {
    method: &'b [u8],
    target: &'b [u8],
    target_parts: Target<'b>,
    version: Version,
}

impl<'b> RequestLine<'b> {
    fn parse(line: &'b [u8]) -> Result<Self, HeadError> {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(forbidden_byte(line).unwrap_or(HeadError::RequestLine));
        };
        if !is_token(method) {
            return Err(forbidden_byte(method).unwrap_or(HeadError::Method));
        }
        // Checked before the target: the target of an HTTP/2 preface (`PRI *`) is invalid, but 505
        // is the better answer.
        let version = parse_version(version)?;
        if let Some(error) = forbidden_byte(target) {
            return Err(error);
        }
        Ok(Self { method, target, target_parts: Target::parse(target)?, version })
    }
}

fn parse_version(text: &[u8]) -> Result<Version, HeadError> {
    let &[b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] = text
    else {
        return Err(forbidden_byte(text).unwrap_or(HeadError::Version));
    };
    let version = Version { major: major - b'0', minor: minor - b'0' };
    if version.major == 1 { Ok(version) } else { Err(HeadError::UnsupportedVersion) }
}

/// The error for a byte that no part of a head may have, if `bytes` has one.
fn forbidden_byte(bytes: &[u8]) -> Option<HeadError> {
    if memchr(b'\0', bytes).is_some() {
        Some(HeadError::Nul)
    } else if memchr(b'\r', bytes).is_some() {
        Some(HeadError::BareCarriageReturn)
    } else {
        None
    }
}

/// Checks the values of `Host` and returns the authority, if there is one (RFC 9112 §3.2).
fn parse_host<'b>(
    version: Version,
    mut values: impl Iterator<Item = &'b [u8]>,
) -> Result<Option<Authority<'b>>, HeadError> {
    let value = values.next();
    if values.next().is_some() {
        return Err(HeadError::RepeatedHost);
    }
    match value {
        None if version >= Version::HTTP_11 => Err(HeadError::MissingHost),
        None | Some(b"") => Ok(None),
        Some(value) => Authority::parse(value).map(Some).ok_or(HeadError::InvalidHost),
    }
}

/// The lines of a head, each of which must end in CRLF.
pub(super) struct Lines<'b> {
    pub(super) input: &'b [u8],
    /// Where the next line begins.
    pub(super) position: usize,
}

impl<'b> Lines<'b> {
    pub(super) fn next_line(&mut self) -> Result<Line<'b>, HeadError> {
        let start = self.position;
        let rest = self.input.get(start..).unwrap_or_default();
        let (line, _) = split_once(rest, b'\n').ok_or(HeadError::Truncated)?;
        self.position = start + line.len() + 1;
        let bytes = line.strip_suffix(b"\r").ok_or(HeadError::BareLineFeed)?;
        Ok(Line { start, bytes })
    }
}

/// A line without its CRLF, and its offset in the head.
#[derive(Clone, Copy)]
pub(super) struct Line<'b> {
    start: usize,
    pub(super) bytes: &'b [u8],
}

/// The ranges of a header's name and value in the head.
#[derive(Clone, Copy, Default)]
pub(super) struct HeaderSpan {
    pub(super) name: Span,
    pub(super) value: Span,
}

impl HeaderSpan {
    pub(super) fn parse(line: Line<'_>) -> Result<Self, HeadError> {
        let Line { start, bytes: line } = line;
        if let [b' ' | b'\t', ..] = line {
            return Err(HeadError::FoldedHeader);
        }
        let Some((name, rest)) = split_once(line, b':') else {
            return Err(forbidden_byte(line).unwrap_or(HeadError::MissingColon));
        };
        if !is_token(name) {
            let whitespace = name.ends_with(b" ") || name.ends_with(b"\t");
            let error =
                if whitespace { HeadError::WhitespaceBeforeColon } else { HeadError::HeaderName };
            return Err(forbidden_byte(name).unwrap_or(error));
        }
        if !is_field_value(rest) {
            return Err(forbidden_byte(rest).unwrap_or(HeadError::ControlCharacter));
        }
        let value_start = start + line.len() - trim_whitespace_start(rest).len();
        Ok(Self {
            name: Span::new(start, name.len())?,
            value: Span::new(value_start, trim_whitespace(rest).len())?,
        })
    }
}

/// The values of those among `headers` that are called `name`, in any letter case.
#[inline]
pub(super) fn called<'h, 'b>(
    headers: &'h [HeaderSpan],
    input: &'b [u8],
    name: &'h [u8],
) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'h, 'b> {
    // Lengths first: they tell most names apart, and lie in the span itself.
    let is_called = move |header: &&HeaderSpan| {
        usize::from(header.name.bytes) == name.len()
            && header.name.of(input).eq_ignore_ascii_case(name)
    };
    headers.iter().filter(is_called).map(move |header| header.value.of(input))
}

/// A range of the head, in four bytes where a slice takes sixteen.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u16,
    bytes: u16,
}

impl Span {
    /// Fails only beyond 64 KiB, which [`HEAD_BYTES_MAX`] excludes.
    fn new(start: usize, bytes: usize) -> Result<Self, HeadError> {
        match (u16::try_from(start), u16::try_from(bytes)) {
            (Ok(start), Ok(bytes)) => Ok(Self { start, bytes }),
            _ => Err(HeadError::TooLarge { bytes_max: HEAD_BYTES_MAX }),
        }
    }

    pub(super) fn of(self, input: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        input.get(start..start + usize::from(self.bytes)).unwrap_or_default()
    }
}

/// The header lines that a [`RequestHead`] holds in itself, and the default limit: more than any browser
/// sends without cookies of a single sign-on.
const HEADERS_INLINE: usize = 64;
const BLANK_LINE: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests;
