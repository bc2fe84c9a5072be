//! Clients that came to the wrong port: which protocol they speak, told by their first bytes, and what
//! they are answered, in words of that protocol where it has any.

use memchr::memchr;

use crate::metrics::{Counter, Counters};

/// A protocol that a port does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1, on a port for TLS or for lines.
    Http1,
    /// HTTP/2 without an agreement on it before: its preface (RFC 9113 §3.4).
    Http2,
    /// The header that a proxy puts in front of a connection (PROXY protocol, versions 1 and 2).
    ProxyHeader,
    /// SMTP (RFC 5321 §4.1.1.1).
    Smtp,
    /// SSH (RFC 4253 §4.2).
    Ssh,
    /// TLS (RFC 8446 §5.1).
    Tls,
}

/// What a port speaks whose clients are answered in words of their protocol. Clients of ports for lines
/// are answered by a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// HTTP/1, and WebSocket from there.
    Http,
    /// TLS.
    Tls,
}

/// What the first bytes of a client tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// They may become those of another protocol.
    Undecided,
    /// They are those of this one.
    Foreign(Protocol),
    /// They are not, and will not be.
    Other,
}

impl FirstBytes {
    /// What these bytes, all that have come so far, tell on a port for HTTP or TLS. What is not
    /// undecided does not change as more bytes come; after [`FIRST_BYTES_MAX`] bytes nothing is
    /// undecided. HTTP/1 is none of its answers.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let candidates: &[(&[u8], Protocol)] = match bytes.first() {
            None => return Self::Undecided,
            Some(0x16) => &[(TLS_HANDSHAKE, Protocol::Tls)],
            Some(b'P') => &[
                (HTTP_2_PREFACE, Protocol::Http2),
                (b"PROXY TCP4 ", Protocol::ProxyHeader),
                (b"PROXY TCP6 ", Protocol::ProxyHeader),
                (b"PROXY UNKNOWN", Protocol::ProxyHeader),
            ],
            Some(b'S') => return Self::of_ssh(bytes),
            Some(b'E' | b'H' | b'e' | b'h') => return Self::of_smtp(bytes),
            Some(b'\r') => &[(PROXY_V2, Protocol::ProxyHeader)],
            Some(_) => return Self::Other,
        };
        if let Some((_, protocol)) = candidates.iter().find(|(start, _)| bytes.starts_with(start)) {
            return Self::Foreign(*protocol);
        }
        let is_open = candidates.iter().any(|(start, _)| start.starts_with(bytes));
        if is_open { Self::Undecided } else { Self::Other }
    }

    fn of_ssh(bytes: &[u8]) -> Self {
        match bytes {
            [b'S', b'S', b'H', b'-', b'0'..=b'9', ..] => Self::Foreign(Protocol::Ssh),
            _ if b"SSH-".starts_with(bytes) => Self::Undecided,
            _ => Self::Other,
        }
    }

    /// A greeting of SMTP names a domain or an address in brackets, which no target of HTTP begins like.
    fn of_smtp(bytes: &[u8]) -> Self {
        let Some((verb, domain)) = bytes.split_at_checked(SMTP_VERB_BYTES) else {
            let is_open = [b"EHLO ", b"HELO "]
                .iter()
                .any(|verb| verb[..bytes.len()].eq_ignore_ascii_case(bytes));
            return if is_open { Self::Undecided } else { Self::Other };
        };
        if !verb.eq_ignore_ascii_case(b"EHLO ") && !verb.eq_ignore_ascii_case(b"HELO ") {
            return Self::Other;
        }
        match domain.first() {
            None => Self::Undecided,
            Some(b'[' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9') => Self::Foreign(Protocol::Smtp),
            Some(_) => Self::Other,
        }
    }
}

impl Protocol {
    /// The protocol of a client of a port for lines, if its first bytes are those of another: of TLS, of
    /// SSH, or of the PROXY protocol; or if its first line is a request line of HTTP (RFC 9112 §3). A
    /// line counts when its end has arrived, or nothing more will (`is_ended`).
    #[must_use]
    pub fn instead_of_lines(first_bytes: &[u8], is_ended: bool) -> Option<Self> {
        let line = match memchr(b'\n', first_bytes) {
            Some(end) => first_bytes.get(..end),
            None => Some(first_bytes).filter(|_| is_ended),
        };
        match FirstBytes::of(first_bytes) {
            FirstBytes::Foreign(protocol @ (Self::Ssh | Self::Tls)) => Some(protocol),
            FirstBytes::Foreign(Self::ProxyHeader) if line.is_some() => Some(Self::ProxyHeader),
            // A person may well begin with the words of SMTP.
            FirstBytes::Foreign(_) | FirstBytes::Undecided | FirstBytes::Other => {
                request_line(line?)
            }
        }
    }

    /// Appends what a client that speaks this is answered on `port`, after which the connection ends.
    ///
    /// - HTTP/1, which only ports for TLS have to tell, gets a 400, and so does a proxy, which may log it.
    /// - HTTP/2 gets the server's preface and the error that asks for HTTP/1.1 (RFC 9113 §3.4, §6.8, §7).
    /// - SSH gets a line, as one may come before the version (RFC 4253 §4.2).
    /// - SMTP gets the reply of a host without the service (RFC 5321 §3.1).
    /// - TLS gets the alert that no version of it is spoken (RFC 8446 §6.2).
    pub fn answer(self, port: Port, out: &mut Vec<u8>) {
        let speaks = port.speaks();
        match self {
            Self::Http1 => push_bad_request(
                &format!("This port speaks {speaks}: use https:// or wss:// .\n"),
                out,
            ),
            Self::ProxyHeader => push_bad_request(
                &format!("This port speaks {speaks}, and takes no PROXY protocol.\n"),
                out,
            ),
            Self::Http2 => push_goaway(&format!("this port speaks {speaks}"), out),
            Self::Ssh => {
                out.extend_from_slice(
                    format!("This port speaks {speaks}, not SSH.\r\n").as_bytes(),
                );
            }
            Self::Smtp => {
                let line = format!("554 This port speaks {speaks}, not SMTP.\r\n");
                out.extend_from_slice(line.as_bytes());
            }
            Self::Tls => out.extend_from_slice(PROTOCOL_VERSION_ALERT),
        }
    }

    /// The counter of clients that spoke this and were answered so.
    pub(crate) fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Http1 => &counters.refused_http,
            Self::Http2 => &counters.refused_http2,
            Self::ProxyHeader => &counters.refused_proxy_header,
            Self::Smtp => &counters.refused_smtp,
            Self::Ssh => &counters.refused_ssh,
            Self::Tls => &counters.refused_tls,
        }
    }
}

impl Port {
    fn speaks(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1 and WebSocket",
            Self::Tls => "TLS",
        }
    }
}

/// What a line is if it is `method SP target SP HTTP/version`, or the header of the PROXY protocol.
fn request_line(line: &[u8]) -> Option<Protocol> {
    let mut words = line.strip_suffix(b"\r").unwrap_or(line).split(|&byte| byte == b' ');
    let (first, second, last) = (words.next()?, words.next()?, words.next_back());
    if first == b"PROXY" && matches!(second, b"TCP4" | b"TCP6" | b"UNKNOWN") {
        return Some(Protocol::ProxyHeader);
    }
    let is_method =
        !first.is_empty() && first.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
    // `/path`, `*`, or with a colon an absolute target or an authority (RFC 9112 §3.2).
    let is_target = second.starts_with(b"/") || second == b"*" || second.contains(&b':');
    match last {
        Some(b"HTTP/2.0") if first == b"PRI" => Some(Protocol::Http2),
        Some(version) if is_method && is_target && version.starts_with(b"HTTP/") => {
            Some(Protocol::Http1)
        }
        Some(_) | None => None,
    }
}

fn push_bad_request(body: &str, out: &mut Vec<u8>) {
    let reply = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    out.extend_from_slice(reply.as_bytes());
}

/// Appends empty SETTINGS and a GOAWAY with this text as its debug data, which must be short.
fn push_goaway(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(EMPTY_SETTINGS);
    let length = GOAWAY_FIXED_BYTES.saturating_add(u8::try_from(text.len()).unwrap_or(0));
    // Length, type, flags, stream 0; the last stream is 0 as none was begun.
    out.extend_from_slice(&[0, 0, length, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&HTTP_1_1_REQUIRED.to_be_bytes());
    out.extend_from_slice(
        text.as_bytes().get(..usize::from(length - GOAWAY_FIXED_BYTES)).unwrap_or(b""),
    );
}

/// Bytes after which [`FirstBytes::of`] is decided: those of the longest start that it looks for.
pub const FIRST_BYTES_MAX: usize = HTTP_2_PREFACE.len();

/// The type of a record of the handshake, and the major version that all versions of TLS send.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
/// What a client of HTTP/2 begins with (RFC 9113 §3.4).
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The signature of the PROXY protocol, version 2.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const SMTP_VERB_BYTES: usize = 5;
/// A fatal alert `protocol_version` in a record of its own.
const PROTOCOL_VERSION_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;
/// The last stream and the error.
const GOAWAY_FIXED_BYTES: u8 = 8;
const HTTP_1_1_REQUIRED: u32 = 0xD;

#[cfg(test)]
mod tests;
