//! The clients that are counted by their addresses.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::control::admin::shared::Shared;

/// `GET /api/v1/addresses`: those with the most open connections first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    // One more, which tells whether there are more.
    let mut addresses = shared.gateway.heaviest_addresses(ADDRESSES_MAX + 1);
    let is_whole = addresses.len() <= ADDRESSES_MAX;
    addresses.truncate(ADDRESSES_MAX);
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|own| json!({ "network": own.network.to_string(), "open": own.open }))
        .collect();
    Json(json!({ "addresses": addresses, "is_whole": is_whole }))
}

const ADDRESSES_MAX: usize = 100;
