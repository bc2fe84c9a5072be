//! `POST /publish`: what backends with GRIP publish to the members of channels.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::publisher::Publisher;
use super::shared::Shared;
use crate::control::admin::Gateway;
use crate::control::admin::error::ApiError;
use crate::events::publish::{Items, parse_items};

/// `POST /publish`.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    publish_items(&*shared.gateway, &shared.publisher, &headers, &body).await
}

/// Publishes the items of a body one after the other, and says how many connections got them.
pub(in crate::control) async fn publish_items(
    gateway: &dyn Gateway,
    publisher: &Publisher,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    let Items { items, others } = parse_items(body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let (mut sent, mut held, mut repeated) = (0, 0, 0);
    for item in items {
        let outcome = publisher.publish(gateway, item).await?;
        sent += outcome.sent;
        held += usize::from(outcome.is_held);
        repeated += usize::from(outcome.is_repeated);
    }
    let wants_json = headers
        .get(header::ACCEPT)
        .is_some_and(|own| own.to_str().is_ok_and(|own| own.contains("application/json")));
    Ok(match wants_json {
        true => Json(json!({
            "message": "Published",
            "sent": sent,
            "held": held,
            "repeated": repeated,
            "ignored": others,
        }))
        .into_response(),
        false => ([("x-tidegate-sent", sent.to_string())], "Published\n").into_response(),
    })
}
