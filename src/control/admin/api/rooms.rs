//! Rooms and topics with their members.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::control::admin::conditions::NodesQuery;
use crate::control::admin::error::ApiError;
use crate::control::admin::node_call::NodeCall;
use crate::control::admin::parts::rooms;
use crate::control::admin::shared::Shared;
use crate::control::admin::survey::survey;

/// `GET /api/v1/rooms`: those with the most members first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    nodes: NodesQuery,
) -> Result<Json<Value>, ApiError> {
    if nodes.is_about_all()? {
        return Ok(Json(survey(&shared.gateway, NodeCall::Rooms).await?.rooms()));
    }
    let (rooms, is_whole) = rooms(&*shared.gateway).await?;
    Ok(Json(json!({ "rooms": rooms, "is_whole": is_whole })))
}
