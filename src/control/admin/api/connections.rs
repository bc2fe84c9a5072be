//! Connections: the list, one of them, and their end.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query as UrlQuery, State};
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::admin::error::ApiError;
use crate::control::admin::shared::Shared;
use crate::control::admin::slices::{Cursor, all, ask, page};
use crate::effects::Peer;
use crate::inspect::{
    ClosedSlice, ConnectionDetail, ConnectionFilter, ConnectionPhase, ConnectionProtocol,
    ConnectionSummary, Query,
};
use crate::ws::{CloseCode, CloseRequest};

/// The conditions of a list or a trace, as parameters of a URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control::admin) struct FilterQuery {
    connection: Option<String>,
    user: Option<String>,
    address: Option<String>,
    route: Option<String>,
    room: Option<String>,
    phase: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    payload: Option<String>,
}

/// Which connections are meant: all conditions that are given hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditions {
    connection: Option<String>,
    user: Option<String>,
    address: Option<String>,
    route: Option<String>,
    room: Option<String>,
    phase: Option<String>,
}

impl FilterQuery {
    /// The conditions.
    pub(in crate::control::admin) fn filter(&self) -> Result<ConnectionFilter, ApiError> {
        let Self { connection, user, address, route, room, phase, .. } = self.clone();
        Conditions { connection, user, address, route, room, phase }.filter()
    }

    /// Whether payloads are wanted.
    pub(in crate::control::admin) fn payload(&self) -> bool {
        self.payload.as_deref().is_some_and(|payload| payload != "0")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FilterQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<UrlQuery<Self>, QueryRejection> =
            UrlQuery::from_request_parts(parts, state).await;
        Ok(query?.0)
    }
}

impl Conditions {
    /// What loops understand.
    pub(super) fn filter(&self) -> Result<ConnectionFilter, ApiError> {
        let Self { connection, user, address, route, room, phase } = self;
        let peer = connection.as_deref().map(parse_id).transpose()?;
        let address = match address.as_deref().map(str::parse::<IpAddr>) {
            None => None,
            Some(Ok(address)) => Some(address.to_canonical()),
            Some(Err(_)) => return Err(ApiError::bad_request("address must be an IP address")),
        };
        let phase = match phase.as_deref() {
            None => None,
            Some("handshake") => Some(ConnectionPhase::Handshake),
            Some("open") => Some(ConnectionPhase::Open),
            Some("closing") => Some(ConnectionPhase::Closing),
            Some(_) => {
                let message = "phase must be handshake, open or closing";
                return Err(ApiError::bad_request(message));
            }
        };
        let (user, route, room) = (user.clone(), route.clone(), room.clone());
        Ok(ConnectionFilter { peer, user, address, route, room, phase })
    }

    /// As [`Conditions::filter`], for what must not be done to all by an oversight.
    pub(super) fn needed_filter(&self, is_all: bool) -> Result<Arc<ConnectionFilter>, ApiError> {
        let filter = self.filter()?;
        if filter.is_empty() && !is_all {
            let message = "give a condition, or \"all\": true";
            return Err(ApiError::bad_request(message));
        }
        Ok(Arc::new(filter))
    }
}

/// `GET /api/v1/connections`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: FilterQuery,
) -> Result<Json<Value>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit must be between 1 and {PAGE_MAX}")));
    }
    let from = match query.cursor.as_deref() {
        None => Cursor::default(),
        Some(text) => Cursor::parse(text)
            .ok_or_else(|| ApiError::bad_request("cursor must be what a page ended with"))?,
    };
    let filter = Arc::new(query.filter()?);
    let (connections, next) = page(&*shared.gateway, &filter, from, limit).await?;
    let connections: Vec<Value> = connections.iter().map(summary).collect();
    Ok(Json(json!({ "connections": connections, "next": next.map(|next| next.to_string()) })))
}

/// `GET /api/v1/connections/{id}`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let peer = parse_id(&id)?;
    let show = |reply| Query::Show { key: peer.key, reply };
    match ask(&*shared.gateway, known_loop(&shared, peer)?, show).await? {
        Some(detail) => Ok(Json(details(&detail))),
        None => Err(no_such_connection()),
    }
}

/// What a connection is told at its end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseOne {
    #[serde(default = "default_code")]
    code: u16,
    #[serde(default)]
    reason: String,
}

/// Which connections are to end, and what they are told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    all: bool,
    #[serde(default = "default_code")]
    code: u16,
    #[serde(default)]
    reason: String,
}

/// `POST /api/v1/connections/{id}/close`.
pub(super) async fn close_one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    order: Result<Json<CloseOne>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(CloseOne { code, reason }) = order?;
    let request = close_request(code, reason)?;
    let peer = parse_id(&id)?;
    let close = |reply| Query::CloseOne { key: peer.key, request, reply };
    match ask(&*shared.gateway, known_loop(&shared, peer)?, close).await? {
        true => Ok(Json(json!({ "closed": 1 }))),
        false => Err(no_such_connection()),
    }
}

/// `POST /api/v1/connections/close`.
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    order: Result<Json<Close>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(Close { conditions, all: is_all, code, reason }) = order?;
    let filter = conditions.needed_filter(is_all)?;
    let request = close_request(code, reason)?;
    let close = |from, reply| {
        let (filter, request) = (Arc::clone(&filter), request.clone());
        Query::Close { filter, from, request, reply }
    };
    let count = |slice: ClosedSlice| (slice.closed, slice.next);
    let closed = all(&*shared.gateway, close, count).await?;
    Ok(Json(json!({ "closed": closed })))
}

/// A connection as JSON.
pub(in crate::control::admin) fn summary(connection: &ConnectionSummary) -> Value {
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

fn details(detail: &ConnectionDetail) -> Value {
    let ConnectionDetail {
        summary: own,
        proxy,
        held_bytes,
        partial_bytes,
        paused_by,
        is_pinged,
        deflate_window_bits,
        tls,
        identity,
        identity_expires_unix_ms,
    } = detail;
    let mut whole = summary(own);
    let more = json!({
        "proxy": proxy.map(|address| address.to_string()),
        "held_bytes": held_bytes,
        "partial_bytes": partial_bytes,
        "paused_by": paused_by,
        "waits_for_pong": is_pinged,
        "deflate_window_bits": deflate_window_bits,
        "tls_version": tls,
        "identity": identity.as_deref(),
        "identity_expires_unix_ms": identity_expires_unix_ms,
    });
    if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
        whole.extend(more);
    }
    whole
}

/// The connection that an id names.
pub(super) fn parse_id(id: &str) -> Result<Peer, ApiError> {
    id.parse().map_err(|_| ApiError::bad_request("an id of a connection has the form 0.12.345"))
}

/// The loop of a connection.
pub(super) fn known_loop(shared: &Shared, peer: Peer) -> Result<usize, ApiError> {
    let index = usize::from(peer.loop_index);
    if index < shared.gateway.loop_count() { Ok(index) } else { Err(no_such_connection()) }
}

pub(super) fn no_such_connection() -> ApiError {
    ApiError::not_found("there is no such connection any more")
}

fn close_request(code: u16, reason: String) -> Result<CloseRequest, ApiError> {
    let code = CloseCode::from_wire(code).filter(|_| code != 1010).ok_or_else(|| {
        ApiError::bad_request("code must be one that may be sent (RFC 6455 section 7.4)")
    })?;
    if reason.len() > REASON_BYTES_MAX {
        let message = format!("reason must be at most {REASON_BYTES_MAX} bytes");
        return Err(ApiError::bad_request(message));
    }
    Ok(CloseRequest { code, reason: reason.into() })
}

fn default_code() -> u16 {
    1000
}

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// A close frame has room for no more beside the code (RFC 6455 §5.5).
const REASON_BYTES_MAX: usize = 123;
