//! What a backend's reply comes to. It is read here, before the conversations are locked: loops wait for those.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use tokio::task::yield_now;

use super::backend::Next;
use super::servers::Unanswered;
use crate::control::fetch::Reply;
use crate::events::{
    self, About, Action, ActionParts, Broken, EventHead, ReplyFacts, ReplyReader, is_passed_on,
};
use crate::http::{HeaderValue, Rejection, ResponseHeader, Subprotocol, has_token};
use crate::services::Accept;

/// What the end of a request comes to.
pub(super) enum Verdict {
    /// The client is let in, if what is said is of any use.
    LetIn(Accept, Said),
    /// The backend does not let it in.
    Refused(Rejection),
    /// The backend did not say whether it is let in.
    Unreached { may_be_told: bool, is_late: bool },
    /// What the backend says to messages.
    Said(Said),
    /// It says nothing of use to them, as the connection is over for it or by a failure.
    Lost { is_over: bool },
    /// Whether it has heard of the end.
    End { is_told: bool },
}

/// What a reply says.
pub(super) enum Said {
    /// In events.
    Events(ReplyFacts, Result<ActionParts, Broken>),
    /// In the style of API Gateway.
    Answer(Vec<Action>),
}

/// What the end of a request comes to, of which the reply is one of events.
pub(super) async fn verdict(next: &Next, result: Result<Reply, Unanswered>) -> Verdict {
    match (next.request.about, result) {
        (About::Opening, Ok(reply)) if has_events(&reply) => {
            let accept = accept(&reply, &next.head);
            Verdict::LetIn(accept, read(next, &reply).await)
        }
        (About::Opening, Ok(reply)) => Verdict::Refused(refusal(&reply)),
        (About::Opening, Err(Unanswered { may_be_told, is_late, .. })) => {
            Verdict::Unreached { may_be_told, is_late }
        }
        (About::Messages, Ok(reply)) if has_events(&reply) => {
            Verdict::Said(read(next, &reply).await)
        }
        // It has said that there is no such connection.
        (About::Messages, Ok(_)) => Verdict::Lost { is_over: true },
        (About::Messages, Err(_)) => Verdict::Lost { is_over: false },
        (About::End, result) => {
            Verdict::End { is_told: result.is_ok_and(|reply| !reply.status.is_server_error()) }
        }
    }
}

/// Reads the events of a reply. Others have their turn in between, as a reply may be long.
async fn read(next: &Next, reply: &Reply) -> Said {
    let facts = facts(reply);
    let mut reader = ReplyReader::new(&next.request.terms, &facts, &reply.body);
    let read = loop {
        match reader.read(EVENTS_AT_ONCE) {
            Ok(false) => yield_now().await,
            Ok(true) => break reader.finish(),
            Err(broken) => break Err(broken),
        }
    };
    Said::Events(facts, read)
}

/// Whether a reply is one of events.
fn has_events(reply: &Reply) -> bool {
    let value = reply.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok());
    let essence = value.and_then(|own| own.split(';').next()).unwrap_or_default();
    reply.status == StatusCode::OK
        && essence.trim_ascii().eq_ignore_ascii_case(events::CONTENT_TYPE)
}

/// What the headers of a reply say of the conversation.
fn facts(reply: &Reply) -> ReplyFacts {
    ReplyFacts::of(reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// How a client is let in.
fn accept(reply: &Reply, head: &EventHead) -> Accept {
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
fn refusal(reply: &Reply) -> Rejection {
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
/// Events that are read before others have their turn: a fraction of a millisecond.
const EVENTS_AT_ONCE: usize = 256;
