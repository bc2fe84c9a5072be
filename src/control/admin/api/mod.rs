//! The JSON API under `/api/v1/`, which `openapi.json` describes.

mod addresses;
pub(super) mod connections;
mod gateway;
mod messages;
mod rooms;
mod upstreams;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use super::shared::Shared;
use super::trace::trace;

/// What shows and changes nothing.
pub(super) fn read_router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/version", get(gateway::version))
        .route("/api/v1/metrics", get(gateway::metrics))
        .route("/api/v1/configuration", get(gateway::configuration))
        .route("/api/v1/certificates", get(gateway::certificates))
        .route("/api/v1/routes", get(gateway::routes))
        .route("/api/v1/drain", get(gateway::drain_status))
        .route("/api/v1/log-level", get(gateway::log_level))
        .route("/api/v1/connections", get(connections::list))
        .route("/api/v1/connections/{id}", get(connections::show))
        .route("/api/v1/rooms", get(rooms::list))
        .route("/api/v1/addresses", get(addresses::list))
        .route("/api/v1/upstreams", get(upstreams::list))
}

/// What changes something, and traces, which show what clients say.
pub(super) fn change_router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/connections/close", post(connections::close))
        .route("/api/v1/connections/{id}/close", post(connections::close_one))
        .route("/api/v1/connections/{id}/send", post(messages::send_one))
        .route("/api/v1/send", post(messages::send))
        .route("/api/v1/publish", post(messages::publish))
        .route("/api/v1/drain/start", post(gateway::start_drain))
        .route("/api/v1/drain/cancel", post(gateway::cancel_drain))
        .route("/api/v1/reload", post(gateway::reload))
        .route("/api/v1/log-level/set", post(gateway::set_log_level))
        .route("/api/v1/upstreams/{name}/servers/{server}/drain", post(upstreams::drain))
        .route("/api/v1/upstreams/{name}/servers/{server}/resume", post(upstreams::resume))
        .route("/api/v1/trace", get(trace))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

const OPENAPI: &str = include_str!("openapi.json");
