//! The head of a backend's reply, parsed in place (RFC 9112 §4 and §5), as strictly as that of a
//! request: what two parsers read differently can smuggle a reply.

use std::fmt;

use thiserror::Error;

use super::{
    grammar::{is_field_value, split_once},
    head::{HeadError, HeaderSpan, Lines, Version, called},
};

/// A parsed head of a reply. It refers to the bytes from which it was parsed.
#[derive(Clone)]
pub struct ReplyHead<'b> {
    input: &'b [u8],
    version: Version,
    code: u16,
    reason: &'b [u8],
    headers: Vec<HeaderSpan>,
}

/// Why the head of a reply is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReplyHeadError {
    /// Not `HTTP/1.x SP code [SP reason]` (RFC 9112 §4).
    #[error("the first line of the reply is no status line of HTTP/1.x (RFC 9112 section 4)")]
    StatusLine,
    /// A header line breaks a rule, or there are too many.
    #[error("a header of the reply is malformed: {0}")]
    Header(#[from] HeadError),
}

impl<'b> ReplyHead<'b> {
    /// Parses a complete head, up to and including its blank line (see
    /// [`find_head_end`](super::find_head_end)), of at most `lines_max` header lines and 64 KiB.
    ///
    /// # Errors
    /// [`ReplyHeadError`] names the rule that the head breaks.
    pub fn parse(input: &'b [u8], lines_max: usize) -> Result<Self, ReplyHeadError> {
        let mut lines = Lines { input, position: 0 };
        let (version, code, reason) =
            parse_status_line(lines.next_line()?.bytes).ok_or(ReplyHeadError::StatusLine)?;
        let mut headers = Vec::new();
        loop {
            let line = lines.next_line()?;
            if line.bytes.is_empty() {
                return Ok(Self { input, version, code, reason, headers });
            }
            if headers.len() >= lines_max {
                return Err(HeadError::TooManyHeaders { lines_max }.into());
            }
            headers.push(HeaderSpan::parse(line)?);
        }
    }

    /// The version of the reply; its major number is 1.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The status code, from 100 to 999.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason phrase, which may be empty.
    #[must_use]
    pub fn reason(&self) -> &'b [u8] {
        self.reason
    }

    /// All headers as (name, value) in the order sent, values without whitespace around them.
    pub fn headers(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + '_ {
        let input = self.input;
        self.headers.iter().map(move |header| (header.name.of(input), header.value.of(input)))
    }

    /// The values of all headers called `name`, in any letter case, in the order sent.
    pub fn header_values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'b [u8]> + 'h {
        called(&self.headers, self.input, name.as_bytes())
    }
}

impl fmt::Debug for ReplyHead<'_> {
    /// Omits the headers: cookies in them must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ReplyHead");
        shown.field("code", &self.code).field("headers", &self.headers.len());
        shown.finish_non_exhaustive()
    }
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`. Some servers leave the second space out where there is no
/// reason.
fn parse_status_line(line: &[u8]) -> Option<(Version, u16, &[u8])> {
    let (version, rest) = split_once(line, b' ')?;
    let &[b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] = version else {
        return None;
    };
    let (code, reason) = split_once(rest, b' ').unwrap_or((rest, &[]));
    let &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = code else { return None };
    let digit = |byte: u8| u16::from(byte - b'0');
    let code = 100 * digit(a) + 10 * digit(b) + digit(c);
    is_field_value(reason).then_some((Version { major: 1, minor: minor - b'0' }, code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<ReplyHead<'_>, ReplyHeadError> {
        ReplyHead::parse(head.as_bytes(), 64)
    }

    #[test]
    fn a_status_line_has_version_code_and_reason() {
        let head = parse("HTTP/1.1 101 Switching Protocols\r\nA: b\r\na:\t c \r\n\r\n").unwrap();
        assert_eq!((head.code(), head.reason()), (101, &b"Switching Protocols"[..]));
        assert_eq!(head.version(), Version::HTTP_11);
        assert_eq!(head.header_values("A").collect::<Vec<_>>(), [b"b", b"c"]);
        for line in ["HTTP/1.0 404 ", "HTTP/1.0 404"] {
            let text = format!("{line}\r\n\r\n");
            let head = parse(&text).unwrap();
            assert_eq!((head.code(), head.reason()), (404, &b""[..]));
        }
    }

    #[test]
    fn other_status_lines_are_refused() {
        for line in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 99",
            "HTTP/1.1 099 a",
            "HTTP/1.1 1000 a",
            "HTTP/1.1  200 OK",
            "HTTP/2.0 200 OK",
            "http/1.1 200 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200 a\0b",
            "ICY 200 OK",
            " HTTP/1.1 200 OK",
        ] {
            let head = format!("{line}\r\n\r\n");
            assert_eq!(parse(&head).unwrap_err(), ReplyHeadError::StatusLine, "{line:?}");
        }
    }

    #[test]
    fn headers_are_as_strict_as_those_of_requests() {
        for (headers, error) in [
            ("A: b\n\r\n", HeadError::BareLineFeed),
            ("A: b\r\n c\r\n\r\n", HeadError::FoldedHeader),
            ("A : b\r\n\r\n", HeadError::WhitespaceBeforeColon),
            ("A: b\rc\r\n\r\n", HeadError::BareCarriageReturn),
            ("A: b\r\n", HeadError::Truncated),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}");
            assert_eq!(parse(&head).unwrap_err(), ReplyHeadError::Header(error), "{headers:?}");
        }
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
        let too_many = HeadError::TooManyHeaders { lines_max: 64 };
        assert_eq!(parse(&head).unwrap_err(), ReplyHeadError::Header(too_many));
    }
}
