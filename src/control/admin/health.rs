//! Whether the gateway is alive, and whether clients are to be sent to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::gateway::Readiness;
use super::shared::Shared;

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    /// The loops that do not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stuck_loops: Vec<usize>,
}

#[derive(Serialize)]
struct ReadyBody {
    status: &'static str,
    reasons: Vec<&'static str>,
    away: Vec<String>,
}

/// `GET /healthz`: 200 if every loop takes its turns.
pub(super) async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let mut stuck_loops = Vec::new();
    for index in 0..shared.gateway.loop_count() {
        if !shared.pokes.is_alive(&*shared.gateway, index).await {
            stuck_loops.push(index);
        }
    }
    if stuck_loops.is_empty() {
        return Json(HealthBody { status: "ok", stuck_loops }).into_response();
    }
    let body = HealthBody { status: "stuck", stuck_loops };
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// `GET /readyz`: 200 if clients are to be sent here.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let Readiness { reasons, away } = shared.gateway.readiness();
    if reasons.is_empty() {
        return Json(ReadyBody { status: "ready", reasons, away }).into_response();
    }
    let body = ReadyBody { status: "not ready", reasons, away };
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
