//! `POST /publish`: what backends with GRIP publish to the members of channels.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::error::ApiError;
use super::shared::Shared;
use super::slices::ask;
use crate::events::publish::{Items, parse_items};
use crate::inspect::Query;

/// Publishes the items one after the other, and says how many connections got them.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Items { items, others } = parse_items(&body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut sent = 0;
    for item in items {
        let item = Arc::new(item);
        for loop_index in 0..shared.gateway.loop_count() {
            // One of them gives it to all; each counts its own.
            let publish = |reply| Query::Channel {
                item: Arc::clone(&item),
                publishes: loop_index == 0,
                reply,
            };
            sent += ask(&*shared.gateway, loop_index, publish).await?;
        }
    }
    let wants_json = headers
        .get(header::ACCEPT)
        .is_some_and(|own| own.to_str().is_ok_and(|own| own.contains("application/json")));
    Ok(match wants_json {
        true => {
            Json(json!({ "message": "Published", "sent": sent, "ignored": others })).into_response()
        }
        false => ([("x-tidegate-sent", sent.to_string())], "Published\n").into_response(),
    })
}
