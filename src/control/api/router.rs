//! Which path is served by what.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::access::guard;
use super::shared::Shared;
use super::{channels, connections, management, publish};
use crate::control::admin::error::{no_such_method, no_such_path};

/// Everything that the listener serves. Each path asks for a key.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        // Libraries of GRIP ask for either path.
        .route("/publish", post(publish::publish))
        .route("/publish/", post(publish::publish))
        .route("/connections/{id}", get(connections::show))
        // As behind API Gateway, with a stage or without.
        .route("/@connections/{id}", management::methods())
        .route("/{stage}/@connections/{id}", management::methods())
        .route("/api/openapi.json", get(channels::openapi))
        .route("/api", post(channels::commands))
        .route("/api/{method}", post(channels::call))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(shared), guard))
        .layer(DefaultBodyLimit::max(shared.settings.body_bytes_max))
        .with_state(Arc::clone(shared))
}
