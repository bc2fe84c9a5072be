//! Encodes responses: a 101, or a reply after which the connection closes (RFC 9112).

use std::{fmt::Display, io::Write as _};

use super::{
    date::HttpDate,
    deflate::Deflate,
    response_header::{HeaderValue, ResponseHeader},
    subprotocol::Subprotocol,
};

/// The statuses of this server, except 101 (RFC 9110 §15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 304: the client has the page already.
    NotModified,
    /// 308: the same request is to be made at another URL.
    PermanentRedirect,
    /// 400: the request breaks a rule of HTTP or of the WebSocket handshake.
    BadRequest,
    /// 401: the request lacks valid credentials.
    Unauthorized,
    /// 403: understood, but not for this client.
    Forbidden,
    /// 404: nothing is served on this path.
    NotFound,
    /// 405: the path exists, but not for this method.
    MethodNotAllowed,
    /// 411: a request with a body whose length is not told.
    LengthRequired,
    /// 413: the body of a request is larger than allowed.
    ContentTooLarge,
    /// 421: this gateway does not serve the host of the request (RFC 9110 §15.5.20).
    MisdirectedRequest,
    /// 426: the path is a WebSocket, and the request does not open one.
    UpgradeRequired,
    /// 429: too many requests of this client (RFC 6585 §4).
    TooManyRequests,
    /// 431: the head is larger than allowed, or has too many lines (RFC 6585 §5).
    HeaderFieldsTooLarge,
    /// 500: the fault is not the client's.
    InternalServerError,
    /// 501: what the request asks for is known to HTTP, and not done here.
    NotImplemented,
    /// 502: a backend cannot be reached, or its reply is not one.
    BadGateway,
    /// 503: full, or shutting down.
    ServiceUnavailable,
    /// 504: a backend has not answered in time.
    GatewayTimeout,
    /// 505: another major version of HTTP.
    VersionNotSupported,
    /// What a backend has answered.
    OfBackend(u16),
}

impl Status {
    /// The status code.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::NotModified => 304,
            Self::PermanentRedirect => 308,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::LengthRequired => 411,
            Self::ContentTooLarge => 413,
            Self::MisdirectedRequest => 421,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeaderFieldsTooLarge => 431,
            Self::InternalServerError => 500,
            Self::NotImplemented => 501,
            Self::BadGateway => 502,
            Self::ServiceUnavailable => 503,
            Self::GatewayTimeout => 504,
            Self::OfBackend(code) => code,
            Self::VersionNotSupported => 505,
        }
    }

    /// The reason phrase.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotModified => "Not Modified",
            Self::PermanentRedirect => "Permanent Redirect",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::LengthRequired => "Length Required",
            Self::ContentTooLarge => "Content Too Large",
            Self::MisdirectedRequest => "Misdirected Request",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::BadGateway => "Bad Gateway",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::GatewayTimeout => "Gateway Timeout",
            // A relay passes on the backend's own.
            Self::OfBackend(_) => "Refused by the Backend",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// Appends the response that switches the connection to WebSocket (RFC 6455 §4.2.2).
///
/// `accept` is the result of [`accept_key`](super::accept_key()) for the client's key. The client
/// must have offered `subprotocol` and `deflate`. Frames may follow immediately.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    date: &HttpDate,
    accept: &[u8; 28],
    subprotocol: Option<&Subprotocol>,
    deflate: Option<Deflate>,
    extra_headers: &[ResponseHeader],
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Date: ",
    );
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(deflate) = deflate {
        write_header(out, "Sec-WebSocket-Extensions", deflate);
    }
    for header in extra_headers {
        write_header(out, header.name(), header.value());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a response with `body`, after which the connection closes.
///
/// With `head_only` (the request was a `HEAD`) the body is omitted, but `Content-Length` is as for
/// a `GET` (RFC 9110 §9.3.2). The same applies to a 304, which never has a body (RFC 9110 §15.4.5,
/// §8.6).
pub fn write_page(
    out: &mut Vec<u8>,
    date: &HttpDate,
    status: Status,
    content_type: &HeaderValue,
    extra_headers: &[ResponseHeader],
    body: &[u8],
    head_only: bool,
) {
    let mut reply = Reply::begin(out, date, status);
    reply.header("Content-Type", content_type.as_str());
    for header in extra_headers {
        reply.header(header.name(), header.value());
    }
    reply.finish(&[body], head_only || status == Status::NotModified);
}

/// A response that is being written, from the status line to the body.
///
/// It writes what every response needs, so that none lacks it: `Date`, `Content-Length`, `Connection:
/// close`, and in a 426 the protocol to upgrade to.
pub(super) struct Reply<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Reply<'o> {
    /// Writes the status line and the headers that belong to the status.
    pub(super) fn begin(out: &'o mut Vec<u8>, date: &HttpDate, status: Status) -> Self {
        write_formatted(out, format_args!("HTTP/1.1 {} {}\r\n", status.code(), status.reason()));
        out.extend_from_slice(match status {
            // A 426 must name the protocol (RFC 9110 §15.5.22) and its version (RFC 6455 §4.4), and
            // `Upgrade` must be named in `Connection` (RFC 9110 §7.8).
            Status::UpgradeRequired => {
                b"Connection: upgrade, close\r\n\
                  Upgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\n"
            }
            Status::Ok
            | Status::NotModified
            | Status::PermanentRedirect
            | Status::BadRequest
            | Status::Unauthorized
            | Status::Forbidden
            | Status::NotFound
            | Status::MethodNotAllowed
            | Status::LengthRequired
            | Status::ContentTooLarge
            | Status::MisdirectedRequest
            | Status::TooManyRequests
            | Status::HeaderFieldsTooLarge
            | Status::InternalServerError
            | Status::NotImplemented
            | Status::BadGateway
            | Status::ServiceUnavailable
            | Status::GatewayTimeout
            | Status::VersionNotSupported
            | Status::OfBackend(_) => b"Connection: close\r\n".as_slice(),
        });
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    /// Writes a header. Name and value must be constants of this program or of a checked type.
    pub(super) fn header(&mut self, name: &str, value: impl Display) {
        write_header(self.out, name, value);
    }

    /// Writes the length of the body, whose parts are concatenated, and the body unless
    /// `head_only`.
    pub(super) fn finish(self, body: &[&[u8]], head_only: bool) {
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        write_header(self.out, "Content-Length", body_bytes);
        self.out.extend_from_slice(b"\r\n");
        if !head_only {
            body.iter().for_each(|part| self.out.extend_from_slice(part));
        }
    }
}

fn write_header(out: &mut Vec<u8>, name: &str, value: impl Display) {
    write_formatted(out, format_args!("{name}: {value}\r\n"));
}

fn write_formatted(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a `Vec` never fails.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
pub(super) mod tests;
