//! Connections: the list, one of them, and their end.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::admin::conditions::{Conditions, FilterQuery, NodesQuery, parse_id};
use crate::control::admin::error::ApiError;
use crate::control::admin::node_call::NodeCall;
use crate::control::admin::parts::{close_request, closed, summary};
use crate::control::admin::shared::Shared;
use crate::control::admin::slices::{Cursor, PAGE_TIME_MAX, ask, page};
use crate::control::admin::survey::{NodeCursors, survey};
use crate::effects::Peer;
use crate::inspect::{ConnectionDetail, Query};

/// `GET /api/v1/connections`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: FilterQuery,
) -> Result<Json<Value>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit must be between 1 and {PAGE_MAX}")));
    }
    if query.is_about_all()? {
        return list_all(&shared, &query, limit).await;
    }
    let from = match query.cursor.as_deref() {
        None => Cursor::default(),
        Some(text) => Cursor::parse(text).ok_or_else(bad_cursor)?,
    };
    let filter = Arc::new(query.filter()?);
    let (connections, next) = page(&*shared.gateway, &filter, from, (limit, PAGE_TIME_MAX)).await?;
    let connections: Vec<Value> = connections.iter().map(summary).collect();
    Ok(Json(json!({ "connections": connections, "next": next.map(|next| next.to_string()) })))
}

/// The same of all gateways: as many of each as a page has.
async fn list_all(
    shared: &Shared,
    query: &FilterQuery,
    limit: usize,
) -> Result<Json<Value>, ApiError> {
    let conditions = query.conditions();
    conditions.check_for_all()?;
    let from = match query.cursor.as_deref() {
        None => None,
        Some(text) => Some(NodeCursors::parse(text).ok_or_else(bad_cursor)?.0),
    };
    let call = NodeCall::Connections { conditions, limit, from };
    Ok(Json(survey(&shared.gateway, call).await?.connections()))
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("cursor must be what a page ended with")
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
    nodes: NodesQuery,
    order: Result<Json<Close>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(Close { conditions, all: is_all, code, reason }) = order?;
    let filter = conditions.needed_filter(is_all)?;
    let request = close_request(code, reason.clone())?;
    if nodes.is_about_all()? {
        conditions.check_for_all()?;
        let call = NodeCall::Close { conditions, code, reason };
        return Ok(Json(survey(&shared.gateway, call).await?.count("closed")));
    }
    let closed = closed(&*shared.gateway, &filter, &request).await?;
    Ok(Json(json!({ "closed": closed })))
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

/// The loop of a connection.
pub(super) fn known_loop(shared: &Shared, peer: Peer) -> Result<usize, ApiError> {
    let index = usize::from(peer.loop_index);
    if index < shared.gateway.loop_count() { Ok(index) } else { Err(no_such_connection()) }
}

pub(super) fn no_such_connection() -> ApiError {
    ApiError::not_found("there is no such connection any more")
}

fn default_code() -> u16 {
    1000
}

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
