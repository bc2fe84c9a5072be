//! `POST /publish` for operators, who may try out what backends do.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::error::ApiError;
use super::shared::Shared;
use crate::control::api::publish::publish_items;

/// Publishes as the listener for backends does.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    publish_items(&*shared.gateway, &shared.publisher, &headers, &body).await
}
