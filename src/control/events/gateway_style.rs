//! What replies of backends come to that are told of events in the style of API Gateway.

use super::outcome::{Said, Verdict, offered};
use super::request::{ToldOf, request_id};
use super::servers::Unanswered;
use crate::control::fetch::Reply;
use crate::events::api_gateway::{GatewayReply, GatewayStyle, failure};
use crate::events::{About, Action, ClientEvent, EventHead, is_passed_on};
use crate::http::{HeaderValue, Rejection, ResponseHeader};
use crate::services::Accept;

/// What the end of a request comes to. A message that came to nothing drops no client: the client is told.
pub(super) fn verdict(
    style: &GatewayStyle,
    told: &ToldOf,
    result: Result<Reply, Unanswered>,
) -> Verdict {
    let reply = result.map(|reply| GatewayReply::parse(reply.status.as_u16(), &reply.body));
    match (told.next.request.about, reply) {
        (About::Opening, Ok(reply)) if reply.is_success() => {
            Verdict::LetIn(accept(&reply, &told.next.head), Said::Answer(Vec::new()))
        }
        (About::Opening, Ok(reply)) => Verdict::Refused(refusal(&reply)),
        (About::Opening, Err(Unanswered { may_be_told, is_late, .. })) => {
            Verdict::Unreached { may_be_told, is_late }
        }
        (About::Messages, reply) => {
            let has_response = style.has_response(&told.route_key);
            let answer = match reply {
                Ok(reply) if reply.status < 500 => reply.message().filter(|_| has_response),
                Ok(_) | Err(_) => {
                    let request_id = request_id(&told.id, &told.next.request);
                    Some((ClientEvent::Text, failure(&told.id, &request_id)))
                }
            };
            let answer = answer.map(|(event, content)| Action::Send(event, content));
            Verdict::Said(Said::Answer(answer.into_iter().collect()))
        }
        (About::End, reply) => {
            Verdict::End { is_told: reply.is_ok_and(|reply| reply.status < 500) }
        }
    }
}

/// How a client is let in.
fn accept(reply: &GatewayReply, head: &EventHead) -> Accept {
    let is_protocol = |name: &str| name.eq_ignore_ascii_case("Sec-WebSocket-Protocol");
    let chosen = reply.headers.iter().find(|(name, _)| is_protocol(name));
    let subprotocol = chosen.and_then(|(_, value)| offered(value, head));
    Accept { subprotocol, headers: headers(reply) }
}

fn headers(reply: &GatewayReply) -> Vec<ResponseHeader> {
    let passed = reply.headers.iter().filter(|(name, _)| is_passed_on(name)).take(HEADERS_MAX);
    let parsed = passed.map(|(name, value)| ResponseHeader::new(name.clone(), value.clone()));
    parsed.filter_map(Result::ok).collect()
}

/// The refusal that a backend has answered with. A status that refuses nothing is one of a fault.
fn refusal(reply: &GatewayReply) -> Rejection {
    let status = if (300..600).contains(&reply.status) { reply.status } else { 502 };
    let headers = headers(reply);
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    Rejection::of_backend(status, HeaderValue::PLAIN_TEXT, headers, body)
}

const HEADERS_MAX: usize = 64;
