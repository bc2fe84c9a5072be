//! What a backend's reply comes to.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use crate::control::fetch::Reply;
use crate::events::{self, EventHead, ReplyFacts, is_passed_on};
use crate::http::{HeaderValue, Rejection, ResponseHeader, Subprotocol, has_token};
use crate::services::Accept;

/// Whether a reply is one of events.
pub(super) fn has_events(reply: &Reply) -> bool {
    let value = reply.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok());
    let essence = value.and_then(|own| own.split(';').next()).unwrap_or_default();
    reply.status == StatusCode::OK
        && essence.trim_ascii().eq_ignore_ascii_case(events::CONTENT_TYPE)
}

/// What the headers of a reply say of the conversation.
pub(super) fn facts(reply: &Reply) -> ReplyFacts {
    ReplyFacts::of(reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// How a client is let in.
pub(super) fn accept(reply: &Reply, head: &EventHead) -> Accept {
    let chosen = reply.headers.get("sec-websocket-protocol").and_then(|own| own.to_str().ok());
    Accept {
        subprotocol: chosen.and_then(|own| offered(own, head)),
        headers: passed_on(&reply.headers),
    }
}

/// The subprotocol that a backend has chosen, if the client offers it (RFC 6455 §4.2.2).
pub(super) fn offered(chosen: &str, head: &EventHead) -> Option<Subprotocol> {
    let is_offer = |name: &[u8]| name.eq_ignore_ascii_case(b"Sec-WebSocket-Protocol");
    let offers = head.lines().filter(|(name, _)| is_offer(name)).map(|(_, value)| value);
    let offers: Vec<&[u8]> = offers.collect();
    let is_offered = has_token(offers.iter().copied(), chosen.as_bytes());
    is_offered.then(|| Subprotocol::new(chosen.to_owned()).ok()).flatten()
}

/// The refusal that a backend has answered with.
pub(super) fn refusal(reply: &Reply) -> Rejection {
    let content_type = reply.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok());
    let content_type = content_type.and_then(|own| HeaderValue::new(own.to_owned()).ok());
    let body = reply.body.get(..REFUSAL_BYTES_MAX).unwrap_or(&reply.body);
    Rejection::of_backend(
        reply.status.as_u16(),
        content_type.unwrap_or(HeaderValue::PLAIN_TEXT),
        passed_on(&reply.headers),
        String::from_utf8_lossy(body).into_owned(),
    )
}

/// The headers that the client gets as well. Those that the gateway writes itself are left out.
fn passed_on(headers: &HeaderMap) -> Vec<ResponseHeader> {
    let own = headers.iter().filter(|(name, _)| is_passed_on(name.as_str()));
    let own = own.filter_map(|(name, value)| {
        let value = value.to_str().ok()?.trim_ascii();
        ResponseHeader::new(name.as_str().to_owned(), value.to_owned()).ok()
    });
    own.take(HEADERS_MAX).collect()
}

/// The longest body of a refusal that a client gets.
const REFUSAL_BYTES_MAX: usize = 100_000;
const HEADERS_MAX: usize = 64;
