//! What is due for connections: pings and their answers, the first command, the ends of credentials.
//!
//! Dates of credentials are compared with the clock on the wall at the moment when they matter; the wheel only
//! says when to look.

use std::sync::Arc;

use super::clients::{Client, Phase};
use super::commands::Failure;
use super::service::Channels;
use super::to_home::LeaveReply;
use crate::centrifugo::{Disconnect, Unsubscribed};
use crate::services::{Effects, Peer, SharedChannelProxy};
use crate::timer::{Tick, WallTime};

impl Channels {
    /// The connection is connected: its first ping comes between half of the usual time and all of it, so that
    /// those who came together are not pinged together.
    pub(super) fn begin_pings(&mut self, peer: Peer, effects: &Effects<'_>) {
        let ping_ms = self.settings.times.ping_ms;
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        let half = ping_ms / 2;
        let spread = if half == 0 { 0 } else { client.id.spread() % half };
        let first = if ping_ms == 0 { LOOK_MS_MAX } else { half + spread };
        client.next = effects.now().tick().after_ms(first);
        self.file_anew(peer, effects);
    }

    /// Has a connection looked at when something is due for it next.
    pub(super) fn file_anew(&mut self, peer: Peer, effects: &Effects<'_>) {
        let Some(client) = self.clients.get(peer.key) else { return };
        let due = self.due(client, effects);
        self.clients.file(peer.key, due);
    }

    fn due(&self, client: &Client, effects: &Effects<'_>) -> Tick {
        let Some(end) = self.first_end(client) else { return client.next };
        // The clock on the wall may be set meanwhile, so this is only when to look again.
        let ms = end.saturating_sub(effects.wall_now().0).min(LOOK_MS_MAX);
        client.next.min(effects.now().tick().after_ms(ms))
    }

    /// The date at which something is to be done about a credential of a connection, in milliseconds.
    fn first_end(&self, client: &Client) -> Option<u64> {
        let rare = client.rare.as_ref()?;
        let peer = Peer { loop_index: self.site.index, key: client.key };
        let late_ms = self.settings.times.expired_close_ms;
        let end = |date: WallTime, is_renewed: bool, serial: Option<u16>| match is_renewed {
            // Its answer comes without a timer.
            true if self.is_renewed(peer, serial) => None,
            true => Some(date.0),
            false => Some(date.0.saturating_add(late_ms)),
        };
        let own = rare
            .expires_at
            .and_then(|date| end(date, self.settings.proxies.refresh.is_some(), None));
        let subscriptions = rare.subscriptions.iter().filter_map(|(serial, own)| {
            // Most last as long as the connection, and need not be looked for.
            let date = own.expires_at?;
            end(date, self.sub_refresh_proxy(client, *serial).is_some(), Some(*serial))
        });
        own.into_iter().chain(subscriptions).min()
    }

    /// What is asked whether a subscription lasts longer.
    fn sub_refresh_proxy(&self, client: &Client, serial: u16) -> Option<&SharedChannelProxy> {
        let own = client.subscriptions.iter().find(|own| own.serial == serial)?;
        let namespace = &own.channel.namespace.name;
        self.settings.proxies.of_namespace(namespace, |own| &own.sub_refresh)
    }

    /// Does what is due by now.
    pub(super) fn run_timers(&mut self, effects: &mut Effects<'_>) {
        self.clients.advance(effects.now());
        let loop_index = self.site.index;
        // Tokens that were issued together expire together, and to end a connection takes microseconds.
        for _ in 0..TIMERS_AT_ONCE {
            let Some(key) = self.clients.next_overdue() else { return };
            let peer = Peer { loop_index, key };
            self.run_timer(peer, effects);
            self.file_anew(peer, effects);
        }
        effects.tick_again();
    }

    fn run_timer(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.end_expired(peer, effects);
        let times = self.settings.times;
        let now = effects.now().tick();
        let is_held = self.held.has(peer.key);
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        if client.next > now {
            return;
        }
        // Whatever follows, it is not due again at once.
        client.next = now.after_ms(LOOK_MS_MAX);
        match client.phase {
            // Its pong may be behind what waits for its turn: it is not read meanwhile.
            Phase::Connected if is_held => client.next = now.after_ms(HELD_MS),
            Phase::New | Phase::Connecting => self.disconnect(peer, Disconnect::Stale, effects),
            Phase::Refused => self.disconnect(peer, Disconnect::BadRequest, effects),
            Phase::Connected if client.awaits_pong => {
                self.disconnect(peer, Disconnect::NoPong, effects);
            }
            Phase::Connected if times.ping_ms > 0 => {
                client.awaits_pong = times.pong_ms > 0;
                let wait_ms = if client.awaits_pong { times.pong_ms } else { times.ping_ms };
                client.next = now.after_ms(wait_ms);
                let ping = client.format.ping();
                effects.send(peer, ping.frame());
            }
            Phase::Connected | Phase::Closing => {}
        }
    }

    /// The answer to a ping.
    pub(super) fn on_pong(&mut self, peer: Peer) -> Result<(), Failure> {
        let times = self.settings.times;
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        if !client.awaits_pong {
            return Err(Disconnect::BadRequest.into());
        }
        client.awaits_pong = false;
        // It is filed for the end of the wait, and then filed anew for the next ping.
        let rest = Tick(0).after_ms(times.ping_ms.saturating_sub(times.pong_ms));
        client.next = Tick(client.next.0.saturating_add(rest.0));
        Ok(())
    }

    /// Ends what a credential has allowed that was not renewed in time.
    fn end_expired(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(client) = self.clients.get(peer.key) else { return };
        let now = effects.wall_now().0;
        let late_ms = self.settings.times.expired_close_ms;
        let is_over = |date: Option<WallTime>, is_renewed: bool| {
            let late_ms = if is_renewed { 0 } else { late_ms };
            date.is_some_and(|own| own.0.saturating_add(late_ms) <= now)
        };
        let Some(rare) = client.rare.as_ref().filter(|_| client.phase == Phase::Connected) else {
            return;
        };
        let is_renewed = self.settings.proxies.refresh.is_some();
        let is_expired = is_over(rare.expires_at, is_renewed);
        if is_expired && !is_renewed {
            return self.disconnect(peer, Disconnect::Expired, effects);
        }
        let over = rare.subscriptions.iter().filter_map(|(serial, own)| {
            let proxy = self.sub_refresh_proxy(client, *serial);
            is_over(own.expires_at, proxy.is_some()).then(|| (*serial, proxy.cloned()))
        });
        let over: Vec<(u16, Option<SharedChannelProxy>)> = over.collect();
        if is_expired {
            self.ask_to_stay(peer, effects);
        }
        for (serial, proxy) in over {
            match proxy {
                Some(proxy) => self.ask_to_stay_in(peer, (serial, proxy), effects),
                None => self.end_subscription(peer, serial, effects),
            }
        }
    }

    pub(super) fn end_subscription(&mut self, peer: Peer, serial: u16, effects: &mut Effects<'_>) {
        let Some(client) = self.clients.get(peer.key) else { return };
        let own = client.subscriptions.iter().find(|own| own.serial == serial);
        let Some(own) = own.cloned() else { return };
        if own.is_own {
            return self.disconnect(peer, Disconnect::SubscriptionExpired, effects);
        }
        let channel = Arc::clone(&own.channel);
        self.leave(peer, &channel.name, LeaveReply::Push(Unsubscribed::Expired), effects);
    }
}

/// The longest time until a connection is looked at again, in milliseconds: the clock on the wall may be set.
const LOOK_MS_MAX: u64 = 60_000;
/// Between two looks at a connection of which commands wait, in milliseconds. Once they are done it has this long to
/// answer a ping that was sent before.
const HELD_MS: u64 = 5_000;
/// Connections that are looked at in a turn: about a millisecond, if all of them end.
const TIMERS_AT_ONCE: usize = 256;
