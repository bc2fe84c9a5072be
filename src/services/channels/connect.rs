//! The first command of a client: who it is.

use std::sync::Arc;

use super::clients::Phase;
use super::commands::Failure;
use super::service::{Channels, reply};
use super::tokens::{connection_token, ttl};
use crate::centrifugo::{Connect, Connected, Disconnect, Reply, Ttl};
use crate::services::{Effects, Peer};

impl Channels {
    pub(super) fn connect(
        &mut self,
        peer: Peer,
        phase: Phase,
        id: u32,
        own: &Connect<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        if phase != Phase::New {
            return Err(Disconnect::BadRequest.into());
        }
        let ttl = match own.token.is_empty() {
            true => self.connect_without_token(peer)?,
            false => self.connect_with_token(peer, &own.token, effects)?,
        };
        let ping_ms = self.settings.times.ping_ms;
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        client.phase = Phase::Connected;
        let connected = Connected {
            client: client.id,
            version: VERSION,
            ttl,
            data: None,
            subs: &[],
            ping_s: u32::try_from(ping_ms.div_ceil(1000)).unwrap_or(u32::MAX),
            pong: ping_ms > 0 && self.settings.times.pong_ms > 0,
        };
        log::debug!(connection:% = peer; "channels: connected as {:?}", client.user);
        reply(self.encoder.reply(id, &Reply::Connected(connected)), effects);
        self.begin_pings(peer, effects);
        Ok(())
    }

    /// The user that the upgrade has proven, or none where that is allowed.
    fn connect_without_token(&self, peer: Peer) -> Result<Ttl, Failure> {
        let Some(client) = self.clients.get(peer.key) else { return Ok(Ttl(0)) };
        match client.user.is_empty() && !self.settings.allow_anonymous {
            true => Err(Disconnect::BadRequest.into()),
            false => Ok(Ttl(0)),
        }
    }

    fn connect_with_token(
        &mut self,
        peer: Peer,
        token: &str,
        effects: &mut Effects<'_>,
    ) -> Result<Ttl, Failure> {
        let found = connection_token(self.settings.tokens.as_ref(), peer, token, effects);
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(Ttl(0)) };
        let found = match found.map_err(|bad| bad.of_connection()) {
            Ok(found) => found,
            Err(Ok(code)) => {
                client.phase = Phase::Refused;
                client.next = effects.now().tick().after_ms(REFUSED_MS);
                let next = client.next;
                self.clients.file(peer.key, next);
                return Err(code.into());
            }
            Err(Err(why)) => return Err(why.into()),
        };
        client.user = Arc::from(found.user);
        // What the upgrade says of another user does not hold for this one.
        client.rare = None;
        if found.info.is_some() || found.expires_at.is_some() {
            let rare = client.rare();
            (rare.info, rare.expires_at) = (found.info, found.expires_at);
        }
        Ok(ttl(found.expires_at, effects.wall_now()))
    }
}

/// What a client is told of the gateway.
const VERSION: &str = concat!("tidegate ", env!("CARGO_PKG_VERSION"));
/// How long a client may stay whose first command failed, in milliseconds.
const REFUSED_MS: u64 = 5000;
