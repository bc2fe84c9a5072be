//! Upstreams: what is known of their servers, and which of these get nothing new.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::control::admin::error::ApiError;
use crate::control::admin::shared::Shared;
use crate::upstream::{ServerCounts, ServerReport, ServerState, UpstreamReport};

/// `GET /api/v1/upstreams`.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let upstream = |own: &UpstreamReport| {
        let servers: Vec<Value> = own.servers.iter().map(server).collect();
        json!({ "name": own.name, "servers": servers })
    };
    let upstreams: Vec<Value> = shared.gateway.upstreams().iter().map(upstream).collect();
    Json(json!({ "upstreams": upstreams }))
}

/// `POST /api/v1/upstreams/NAME/servers/SERVER/drain`.
pub(super) async fn drain(
    State(shared): State<Arc<Shared>>,
    Path((name, address)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    set_drained(&shared, &name, &address, true)
}

/// `POST /api/v1/upstreams/NAME/servers/SERVER/resume`.
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path((name, address)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    set_drained(&shared, &name, &address, false)
}

fn set_drained(
    shared: &Shared,
    name: &str,
    address: &str,
    is_drained: bool,
) -> Result<Json<Value>, ApiError> {
    match shared.gateway.set_server_drained(name, address, is_drained) {
        Some(report) => Ok(Json(server(&report))),
        None => Err(ApiError::not_found("there is no such server")),
    }
}

fn server(own: &ServerReport) -> Value {
    let ServerReport { address, weight, state, is_listed, connections, counts } = own;
    let ServerCounts { connects, failures, reached, reached_ms } = counts;
    let state = match state {
        ServerState::Up => "up",
        ServerState::Failed => "failed",
        ServerState::Unhealthy => "unhealthy",
        ServerState::Drained => "drained",
    };
    json!({
        "address": address,
        "state": state,
        "is_listed": is_listed,
        "weight": weight,
        "connections": connections,
        "connects": connects,
        "failures": failures,
        "connect_ms_average": reached_ms.checked_div(*reached),
    })
}
