//! `/@connections/{id}`: a connection is sent a message, looked at or closed, as behind API Gateway.
//!
//! The format is that of the API Gateway Management API
//! (docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::{Value, json};

use super::shared::Shared;
use crate::control::admin::slices::ask;
use crate::control::connection_id;
use crate::control::wall_now::wall_now;
use crate::effects::{EventClient, Peer};
use crate::inspect::Query;
use crate::mail::NoReply;
use crate::ws::{CloseCode, CloseRequest};

/// The methods that a connection takes.
pub(super) fn methods() -> MethodRouter<Arc<Shared>> {
    get(show).post(send).delete(close)
}

/// Why a request is not answered as asked, by the names that its clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// There is no such connection any more.
    Gone,
    /// The message is longer than such a message may be.
    TooLarge,
    /// It is no text.
    NotText,
    /// The loop of the connection has too much to do.
    Busy,
    /// The loop does not answer.
    Failed,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, name, message) = match self {
            Self::Gone => (StatusCode::GONE, "GoneException", None),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "PayloadTooLargeException",
                Some("a message has at most 131072 bytes"),
            ),
            Self::NotText => {
                (StatusCode::BAD_REQUEST, "BadRequestException", Some("a message must be UTF-8"))
            }
            Self::Busy => {
                (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", Some("try again later"))
            }
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerErrorException",
                Some("the gateway does not answer"),
            ),
        };
        let body = Json(json!({ "message": message }));
        (status, [("x-amzn-errortype", name)], body).into_response()
    }
}

impl From<NoReply> for Fault {
    fn from(error: NoReply) -> Self {
        match error {
            NoReply::Busy => Self::Busy,
            NoReply::Ended | NoReply::Late => Self::Failed,
        }
    }
}

/// The id stands behind a stage, or alone.
type IdParameters = Path<HashMap<String, String>>;

/// The connection of a request, which a backend was told of.
fn client(shared: &Shared, parameters: &IdParameters) -> Result<(Peer, EventClient), Fault> {
    let id = parameters.get("id").ok_or(Fault::Gone)?;
    let peer = connection_id::parse(id).ok_or(Fault::Gone)?;
    let is_there = usize::from(peer.loop_index) < shared.gateway.loop_count();
    let found = is_there.then(|| shared.gateway.event_client(peer)).flatten();
    Ok((peer, found.ok_or(Fault::Gone)?))
}

async fn send(
    State(shared): State<Arc<Shared>>,
    parameters: IdParameters,
    body: Bytes,
) -> Result<StatusCode, Fault> {
    let (peer, _) = client(&shared, &parameters)?;
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    let text: Arc<str> = std::str::from_utf8(&body).map_err(|_| Fault::NotText)?.into();
    let send = |reply| Query::SendOne { key: peer.key, text, reply };
    match ask(&*shared.gateway, usize::from(peer.loop_index), send).await? {
        true => Ok(StatusCode::OK),
        false => Err(Fault::Gone),
    }
}

async fn close(
    State(shared): State<Arc<Shared>>,
    parameters: IdParameters,
) -> Result<StatusCode, Fault> {
    let (peer, _) = client(&shared, &parameters)?;
    let request = CloseRequest { code: CloseCode::NORMAL, reason: "".into() };
    let close = |reply| Query::CloseOne { key: peer.key, request, reply };
    match ask(&*shared.gateway, usize::from(peer.loop_index), close).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Fault::Gone),
    }
}

async fn show(
    State(shared): State<Arc<Shared>>,
    parameters: IdParameters,
) -> Result<Json<Value>, Fault> {
    let (peer, EventClient { connected_at, user_agent }) = client(&shared, &parameters)?;
    let show = |reply| Query::Show { key: peer.key, reply };
    let detail = ask(&*shared.gateway, usize::from(peer.loop_index), show).await?;
    let own = detail.ok_or(Fault::Gone)?.summary;
    let last_active = wall_now().0.saturating_sub(own.silent_ms);
    Ok(Json(json!({
        "connectedAt": iso_date(connected_at.0),
        "identity": {
            "sourceIp": own.address.map(|address| address.ip().to_string()),
            "userAgent": user_agent,
        },
        "lastActiveAt": iso_date(last_active),
    })))
}

/// A date in milliseconds since 1970 as in JSON of Amazon's services: `1994-11-06T08:49:37Z`.
fn iso_date(unix_ms: u64) -> String {
    let date = crate::http::HttpDate::from_unix_seconds(unix_ms / 1000);
    let text = String::from_utf8_lossy(date.as_bytes()).into_owned();
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, _] = words.as_slice() else { return String::new() };
    let month = MONTHS.iter().position(|own| own == month).map_or(0, |own| own + 1);
    format!("{year}-{month:02}-{day}T{time}Z")
}

/// The longest message, as behind API Gateway.
const MESSAGE_BYTES_MAX: usize = 128 << 10;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_clients_read_them() {
        assert_eq!(iso_date(784_111_777_999), "1994-11-06T08:49:37Z");
    }
}
