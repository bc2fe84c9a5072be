//! Messages of operators: to one connection, to several, to a room.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::connections::{known_loop, no_such_connection};
use crate::control::admin::conditions::{Conditions, NodesQuery, parse_id};
use crate::control::admin::error::ApiError;
use crate::control::admin::node_call::NodeCall;
use crate::control::admin::parts::sent;
use crate::control::admin::shared::Shared;
use crate::control::admin::slices::ask;
use crate::control::admin::survey::survey;
use crate::inspect::Query;

/// A text for one connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendOne {
    text: String,
}

/// A text for all connections that fit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    all: bool,
    text: String,
}

/// A text for the members of a room.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    route: String,
    #[serde(default)]
    room: String,
    text: String,
}

/// `POST /api/v1/connections/{id}/send`.
pub(super) async fn send_one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    order: Result<Json<SendOne>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(SendOne { text }) = order?;
    let peer = parse_id(&id)?;
    let send = |reply| Query::SendOne { key: peer.key, text: text.into(), reply };
    match ask(&*shared.gateway, known_loop(&shared, peer)?, send).await? {
        true => Ok(Json(json!({ "sent": 1 }))),
        false => Err(no_such_connection()),
    }
}

/// `POST /api/v1/send`.
pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    nodes: NodesQuery,
    order: Result<Json<Send>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(Send { conditions, all: is_all, text }) = order?;
    let filter = conditions.needed_filter(is_all)?;
    if nodes.is_about_all()? {
        conditions.check_for_all()?;
        let call = NodeCall::Send { conditions, text };
        return Ok(Json(survey(&shared.gateway, call).await?.count("sent")));
    }
    let sent = sent(&*shared.gateway, &filter, text.into()).await?;
    Ok(Json(json!({ "sent": sent })))
}

/// `POST /api/v1/publish`.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    order: Result<Json<Publish>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(Publish { route, room, text }) = order?;
    let publish = |reply| {
        let (route, room, text) = (route.into(), room.into(), text.into());
        Query::Publish { route, room, text, reply }
    };
    match ask(&*shared.gateway, 0, publish).await? {
        true => Ok(Json(json!({ "published": true }))),
        false => Err(ApiError::not_found("there is no such route with rooms or topics")),
    }
}
