//! `GET /connections/{id}`: whether a connection that a backend was told of is still there.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::shared::Shared;
use crate::control::admin::error::ApiError;
use crate::control::admin::slices::ask;
use crate::control::connection_id;
use crate::inspect::{ConnectionPhase, Query};

/// A connection by the id that its backend was told.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let gone = || ApiError::not_found("there is no such connection any more");
    let peer = connection_id::parse(&id).ok_or_else(gone)?;
    let loop_index = usize::from(peer.loop_index);
    if loop_index >= shared.gateway.loop_count() {
        return Err(gone());
    }
    let show = |reply| Query::Show { key: peer.key, reply };
    let detail = ask(&*shared.gateway, loop_index, show).await?.ok_or_else(gone)?;
    let own = &detail.summary;
    if own.phase != ConnectionPhase::Open {
        return Err(gone());
    }
    Ok(Json(json!({
        "id": id,
        "address": own.address.map(|address| address.to_string()),
        "route": own.route.as_deref(),
        "user": own.user,
        "silent_ms": own.silent_ms,
    })))
}
