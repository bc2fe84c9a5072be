//! Pages: plain GET requests, answered whole and closed.

use bytes::Bytes;

use crate::http::{HeaderValue, RequestHead, ResponseHeader};

/// Serves plain GET and HEAD requests of one route.
pub trait Page {
    /// The page for this request. For HEAD the gateway leaves the body out itself.
    fn reply(&mut self, request: &RequestHead<'_>) -> PageReply;
}

/// A page, status 200.
#[derive(Clone, Debug)]
pub struct PageReply {
    /// `Content-Type`.
    pub content_type: HeaderValue,
    /// Further headers.
    pub headers: Vec<ResponseHeader>,
    /// The body.
    pub body: Bytes,
}

/// The front page: says what runs here and lets a visitor try it.
#[derive(Clone, Debug)]
pub struct IndexPage {
    reply: PageReply,
}

impl IndexPage {
    /// The page as it stands in this binary.
    #[must_use]
    pub fn new() -> Self {
        let headers = HEADERS
            .iter()
            .filter_map(|&(name, value)| ResponseHeader::new(name, value).ok())
            .collect();
        let body = Bytes::from_static(include_bytes!("index.html"));
        Self { reply: PageReply { content_type: HeaderValue::HTML, headers, body } }
    }
}

impl Default for IndexPage {
    fn default() -> Self {
        Self::new()
    }
}

impl Page for IndexPage {
    fn reply(&mut self, _: &RequestHead<'_>) -> PageReply {
        self.reply.clone()
    }
}

/// The page has its style and script inside and needs nothing else; it may connect to its own
/// host's sockets only.
const HEADERS: [(&str, &str); 4] = [
    ("Cache-Control", "no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
];
