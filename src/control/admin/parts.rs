//! What one gateway lists and does, whether its own operator asks or that of another gateway.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::gateway::Gateway;
use super::slices::{all, ask};
use crate::inspect::{
    ClosedSlice, ConnectionFilter, ConnectionPhase, ConnectionProtocol, ConnectionSummary, Query,
    RoomSummary, SentSlice,
};
use crate::mail::NoReply;
use crate::ws::{CloseCode, CloseRequest};

/// A room or topic, with its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RoomRow {
    route: String,
    room: String,
    members: usize,
}

/// The rooms of this gateway, those with the most members first, and whether these are all.
pub(super) async fn rooms(gateway: &dyn Gateway) -> Result<(Vec<RoomRow>, bool), NoReply> {
    let mut rows = Vec::new();
    let mut is_whole = true;
    for index in 0..gateway.loop_count() {
        let slice = ask(gateway, index, |reply| Query::Rooms { reply }).await?;
        is_whole &= slice.rooms.len() == slice.total;
        let row = |RoomSummary { route, room, members }| RoomRow {
            route: (*route).to_owned(),
            room,
            members,
        };
        rows.extend(slice.rooms.into_iter().map(row));
    }
    let (rows, is_all) = largest(rows);
    Ok((rows, is_whole && is_all))
}

/// The rooms with the most members, each once with all of them, and whether none is left out.
pub(super) fn largest(rows: impl IntoIterator<Item = RoomRow>) -> (Vec<RoomRow>, bool) {
    let mut members: HashMap<(String, String), usize> = HashMap::new();
    for RoomRow { route, room, members: here } in rows {
        let all = members.entry((route, room)).or_default();
        *all = all.saturating_add(here);
    }
    let row = |((route, room), members)| RoomRow { route, room, members };
    let mut rows: Vec<RoomRow> = members.into_iter().map(row).collect();
    rows.sort_unstable_by(|left, right| {
        right.members.cmp(&left.members).then_with(|| left.cmp(right))
    });
    let is_all = rows.len() <= ROOMS_MAX;
    rows.truncate(ROOMS_MAX);
    (rows, is_all)
}

/// Closes the connections that fit, and counts them.
pub(super) async fn closed(
    gateway: &dyn Gateway,
    filter: &Arc<ConnectionFilter>,
    request: &CloseRequest,
) -> Result<usize, NoReply> {
    let close = |from, reply| {
        let (filter, request) = (Arc::clone(filter), request.clone());
        Query::Close { filter, from, request, reply }
    };
    all(gateway, close, |slice: ClosedSlice| (slice.closed, slice.next)).await
}

/// Sends a text to the connections that fit, and counts them.
pub(super) async fn sent(
    gateway: &dyn Gateway,
    filter: &Arc<ConnectionFilter>,
    text: Arc<str>,
) -> Result<usize, NoReply> {
    let send = |from, reply| {
        let (filter, text) = (Arc::clone(filter), Arc::clone(&text));
        Query::Send { filter, from, text, reply }
    };
    all(gateway, send, |slice: SentSlice| (slice.sent, slice.next)).await
}

/// What connections are told at their end.
pub(super) fn close_request(code: u16, reason: String) -> Result<CloseRequest, ApiError> {
    let code = CloseCode::from_wire(code).filter(|_| code != 1010).ok_or_else(|| {
        ApiError::bad_request("code must be one that may be sent (RFC 6455 section 7.4)")
    })?;
    if reason.len() > REASON_BYTES_MAX {
        let message = format!("reason must be at most {REASON_BYTES_MAX} bytes");
        return Err(ApiError::bad_request(message));
    }
    Ok(CloseRequest { code, reason: reason.into() })
}

/// A connection as JSON.
pub(super) fn summary(connection: &ConnectionSummary) -> Value {
    let ConnectionSummary {
        peer,
        address,
        phase,
        protocol,
        is_tls,
        route,
        user,
        room,
        silent_ms,
        backlog_bytes,
    } = connection;
    let phase = match phase {
        ConnectionPhase::Handshake => "handshake",
        ConnectionPhase::Open => "open",
        ConnectionPhase::Closing => "closing",
    };
    let protocol = match protocol {
        ConnectionProtocol::Http => "http",
        ConnectionProtocol::Line => "line",
        ConnectionProtocol::Backend => "backend",
        ConnectionProtocol::Relay => "relay",
        ConnectionProtocol::WebSocket => "websocket",
    };
    json!({
        "id": peer.to_string(),
        "address": address.map(|address| address.to_string()),
        "phase": phase,
        "protocol": protocol,
        "tls": is_tls,
        "route": route.as_deref(),
        "user": user,
        "room": room,
        "silent_ms": silent_ms,
        "backlog_bytes": backlog_bytes,
    })
}

const ROOMS_MAX: usize = 1000;
/// A close frame has room for no more beside the code (RFC 6455 §5.5).
const REASON_BYTES_MAX: usize = 123;
