//! Rooms and topics with their members.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::control::admin::error::ApiError;
use crate::control::admin::shared::Shared;
use crate::control::admin::slices::ask;
use crate::inspect::{Query, RoomSummary};

/// `GET /api/v1/rooms`: those with the most members first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    let mut members: HashMap<(Arc<str>, String), usize> = HashMap::new();
    let mut is_whole = true;
    for index in 0..shared.gateway.loop_count() {
        let slice = ask(&*shared.gateway, index, |reply| Query::Rooms { reply }).await?;
        is_whole &= slice.rooms.len() == slice.total;
        for RoomSummary { route, room, members: here } in slice.rooms {
            *members.entry((route, room)).or_default() += here;
        }
    }
    let mut rooms: Vec<_> = members.into_iter().collect();
    rooms.sort_by(|(left, fewer), (right, more)| more.cmp(fewer).then_with(|| left.cmp(right)));
    is_whole &= rooms.len() <= ROOMS_MAX;
    rooms.truncate(ROOMS_MAX);
    let room = |((route, room), members): &((Arc<str>, String), usize)| json!({ "route": &**route, "room": room, "members": members });
    let rooms: Vec<Value> = rooms.iter().map(room).collect();
    Ok(Json(json!({ "rooms": rooms, "is_whole": is_whole })))
}

const ROOMS_MAX: usize = 1000;
