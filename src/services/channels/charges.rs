//! What is held for a connection as long as it is there, and is more than most hold, is charged to the pool.
//!
//! Tokens and backends say of a connection what others are told of it, and what backends are told of it with each
//! question; headers of its request are kept for those as well. One has a few bytes of that, another tens of
//! kilobytes. Others in the process share it, so that it is charged here alone. A connection that has none of that is
//! not looked at.

use super::clients::Client;
use super::dialogs::Dialogs;
use super::service::Channels;
use crate::services::{Effects, Peer};

impl Channels {
    /// To be called when more or less may be held for a connection.
    pub(super) fn charge_client(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        let before = client.charged_bytes();
        let now = charged_for(client, &self.dialogs);
        if now == before {
            return;
        }
        client.rare().charged_bytes = now;
        match now.checked_sub(before) {
            Some(more) => effects.charge(peer, more),
            None => effects.discharge(before - now),
        }
    }
}

fn charged_for(client: &Client, dialogs: &Dialogs) -> usize {
    let held = client.credential_bytes() + dialogs.kept_bytes(client.key);
    if held > UNCHARGED_BYTES_MAX { held } else { 0 }
}

/// What a connection may hold that is not charged: the name of a user, and little more.
const UNCHARGED_BYTES_MAX: usize = 256;
