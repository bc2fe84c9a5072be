//! Which path is served by what, and what it needs.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::access::{Right, guard, session};
use super::shared::Shared;
use super::{api, dashboard, error, health, login, metrics, publish};

/// Everything that the listener serves.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let guarded = |right: Right| from_fn_with_state((Arc::clone(shared), right), guard);
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(dashboard::router())
        .route("/session", get(session))
        .route("/login", post(login::log_in))
        .route("/logout", post(login::log_out))
        .layer(guarded(Right::Open));
    let metrics =
        Router::new().route("/metrics", get(metrics::metrics)).layer(guarded(Right::Metrics));
    let read = api::read_router().layer(guarded(Right::Read));
    // Libraries of GRIP ask for either path.
    let change = api::change_router()
        .route("/publish", post(publish::publish))
        .route("/publish/", post(publish::publish))
        .layer(guarded(Right::Change));
    open.merge(metrics)
        .merge(read)
        .merge(change)
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(shared))
}

/// The longest body of a request: a message to send, and what stands around it.
const BODY_BYTES_MAX: usize = 256 << 10;
