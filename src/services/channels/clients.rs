//! The connections of one loop: who they are, their subscriptions, and when something is due for each.
//!
//! A connection lies in a slab, is found by the index in its key, and is an entry of a wheel, so that one
//! which waits for nothing costs no work between two pings.

use std::sync::Arc;

use slab::Slab;
use smallvec::SmallVec;

use super::channel_ref::{ChannelRef, ChannelRefs};
use super::connecting::Connecting;
use super::publish_rate::PublishRates;
use crate::centrifugo::Format;
use crate::channels::ClientId;
use crate::key::{ConnKey, SlotRef, slot_number};
use crate::timer::{Millis, Tick, TimerLink, TimerLinks, WallTime, Wheel};

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) key: ConnKey,
    pub(super) id: ClientId,
    /// Its user; empty for one without.
    pub(super) user: Arc<str>,
    /// Most have one, which lies here: an allocation of its own would take more than twice as much.
    pub(super) subscriptions: SmallVec<[Subscription; 1]>,
    /// What few connections have.
    pub(super) rare: Option<Box<Rare>>,
    timer: TimerLink,
    /// When the next ping is due, or its answer, or the first command.
    pub(super) next: Tick,
    pub(super) phase: Phase,
    /// What it speaks.
    pub(super) format: Format,
    /// Whether a ping is yet to be answered.
    pub(super) awaits_pong: bool,
    /// The homes that it has asked for long answers, as [`home_bit`] has them.
    pub(super) asked_homes: u16,
    /// The number of the last subscription, by which answers about it are told apart from those about an
    /// earlier one.
    pub(super) serial: u16,
}

/// What few connections have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What its credential says of it, as JSON.
    pub(super) info: Option<Arc<[u8]>>,
    /// When its credential expires.
    pub(super) expires_at: Option<WallTime>,
    /// What is under way while it connects.
    pub(super) connecting: Option<Box<Connecting>>,
    /// The channels that its token names, sorted.
    pub(super) granted: Box<[Arc<str>]>,
    /// What few subscriptions have, by their numbers.
    pub(super) subscriptions: Vec<(u16, RareSubscription)>,
    /// How often it has published where that is limited.
    pub(super) publish_rates: PublishRates,
    /// Bytes that are charged to the pool for what is held for it.
    pub(super) charged_bytes: usize,
}

/// What few subscriptions have.
#[derive(Clone, Debug, Default)]
pub(super) struct RareSubscription {
    /// What its credential says of the connection, as JSON.
    pub(super) info: Option<Arc<[u8]>>,
    /// When its credential expires.
    pub(super) expires_at: Option<WallTime>,
}

/// A channel of a connection.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) channel: Arc<ChannelRef>,
    pub(super) serial: u16,
    /// Whether the server has made it.
    pub(super) is_own: bool,
    /// Whether the client relies on getting all that is published.
    pub(super) lacks_nothing: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has sent no command yet.
    New,
    /// Its first command is not answered yet, and what it sends meanwhile is held.
    Connecting,
    /// It is connected.
    Connected,
    /// Its first command failed, and it may send no other.
    Refused,
    /// It is being closed.
    Closing,
}

impl Client {
    pub(super) fn subscription(&self, channel: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|own| *own.channel.name == *channel)
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Forgets what few connections have, but for what is charged for it.
    pub(super) fn forget_rare(&mut self) {
        let charged_bytes = self.charged_bytes();
        let rare = Rare { charged_bytes, ..Rare::default() };
        self.rare = (charged_bytes > 0).then(|| Box::new(rare));
    }

    /// Bytes that are charged to the pool for what is held for it.
    pub(super) fn charged_bytes(&self) -> usize {
        self.rare.as_ref().map_or(0, |own| own.charged_bytes)
    }

    /// Bytes of what its credentials say of it.
    pub(super) fn credential_bytes(&self) -> usize {
        let Some(rare) = &self.rare else { return self.user.len() };
        let infos = rare.subscriptions.iter().map(|(_, own)| &own.info).chain([&rare.info]);
        let infos = infos.flatten().map(|own| own.len() + ARC_BYTES);
        let granted = rare.granted.iter().map(|own| size_of_val(own) + own.len() + ARC_BYTES);
        self.user.len() + infos.sum::<usize>() + granted.sum::<usize>()
    }

    /// Whether its backend has yet to say that it may connect.
    pub(super) fn is_undecided(&self) -> bool {
        let connecting = self.rare.as_ref().and_then(|own| own.connecting.as_ref());
        connecting.is_some_and(|own| own.is_undecided)
    }

    pub(super) fn info(&self) -> Option<&Arc<[u8]>> {
        self.rare.as_ref()?.info.as_ref()
    }

    pub(super) fn rare_subscription(&self, serial: u16) -> Option<&RareSubscription> {
        let all = &self.rare.as_ref()?.subscriptions;
        all.iter().find(|(own, _)| *own == serial).map(|(_, rare)| rare)
    }

    pub(super) fn set_rare_subscription(&mut self, serial: u16, rare: RareSubscription) {
        let all = &mut self.rare().subscriptions;
        all.retain(|(own, _)| *own != serial);
        all.push((serial, rare));
    }

    /// Takes a subscription out. Its channel is yet to be released.
    pub(super) fn remove_subscription(&mut self, channel: &str) -> Option<Subscription> {
        let position = self.subscriptions.iter().position(|own| *own.channel.name == *channel)?;
        let subscription = self.subscriptions.swap_remove(position);
        if self.subscriptions.len() <= (self.subscriptions.capacity() / 4).max(1) {
            self.subscriptions.shrink_to_fit();
        }
        if let Some(rare) = &mut self.rare {
            rare.subscriptions.retain(|(own, _)| *own != subscription.serial);
            if let Some(connecting) = &mut rare.connecting {
                // The reply to its first command is not to tell of it.
                connecting.subscriptions.retain(|own| *own.0 != *channel);
            }
        }
        Some(subscription)
    }
}

/// The bit of a home among those that a connection has asked. Others may have the same one.
pub(super) const fn home_bit(home: u16) -> u16 {
    1 << (home % 16)
}

/// The connections of a loop.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Links,
    /// By the index in their keys.
    by_index: Vec<SlotRef>,
    wheel: Wheel,
    pub(super) channels: ChannelRefs,
}

#[derive(Debug, Default)]
struct Links(Slab<Client>);

impl TimerLinks for Links {
    fn timer_link(&mut self, index: u32) -> &mut TimerLink {
        &mut self.0[index as usize].timer
    }
}

impl Clients {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            clients: Links::default(),
            by_index: Vec::new(),
            wheel: Wheel::new(now.tick()),
            channels: ChannelRefs::default(),
        }
    }

    /// Adds a connection, for which something is due at `next`.
    pub(super) fn add(&mut self, key: ConnKey, id: ClientId, user: Arc<str>, next: Tick) {
        let slot = slot_number(self.clients.0.insert(Client {
            key,
            id,
            user,
            subscriptions: SmallVec::new(),
            rare: None,
            timer: TimerLink::UNFILED,
            next,
            phase: Phase::New,
            format: Format::Json,
            awaits_pong: false,
            asked_homes: 0,
            serial: 0,
        }));
        let index = key.index as usize;
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, SlotRef::NONE);
        }
        self.by_index[index] = SlotRef::to(slot);
        self.wheel.file(&mut self.clients, slot, next);
    }

    pub(super) fn get(&self, key: ConnKey) -> Option<&Client> {
        let slot = self.slot(key)?;
        self.clients.0.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Client> {
        let slot = self.slot(key)?;
        self.clients.0.get_mut(slot as usize)
    }

    /// What a connection speaks.
    pub(super) fn format(&self, key: ConnKey) -> Format {
        self.get(key).map_or(Format::Json, |client| client.format)
    }

    fn slot(&self, key: ConnKey) -> Option<u32> {
        let slot = self.by_index.get(key.index as usize)?.index()?;
        self.clients.0.get(slot as usize).filter(|own| own.key == key).map(|_| slot)
    }

    /// Removes a connection. Its channels are yet to be released.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Client> {
        let slot = self.slot(key)?;
        self.wheel.remove(&mut self.clients, slot);
        self.by_index[key.index as usize] = SlotRef::NONE;
        let client = self.clients.0.remove(slot as usize);
        if self.clients.0.is_empty() {
            // Neither shrinks while entries are left, because they cannot move.
            (self.clients, self.by_index) = (Links::default(), Vec::new());
        }
        Some(client)
    }

    /// Files a connection anew, because something is due for it sooner than before.
    pub(super) fn file(&mut self, key: ConnKey, due: Tick) {
        if let Some(slot) = self.slot(key) {
            self.wheel.file(&mut self.clients, slot, due);
        }
    }

    /// The wheel goes on to now.
    pub(super) fn advance(&mut self, now: Millis) {
        self.wheel.advance(&mut self.clients, now.tick());
    }

    /// The next connection for which something may be due. It is filed no longer.
    pub(super) fn next_overdue(&mut self) -> Option<ConnKey> {
        let slot = self.wheel.next_overdue(&mut self.clients)?;
        Some(self.clients.0[slot as usize].key)
    }

    /// The connection in this slot. It stays there as long as it lives.
    pub(super) fn at(&self, slot: usize) -> Option<&Client> {
        self.clients.0.get(slot)
    }

    /// No slot that is taken has this number or a higher one.
    pub(super) fn slots_end(&self) -> usize {
        self.clients.0.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.clients.0.len()
    }
}

/// The counts of an `Arc`, and its block.
const ARC_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// With the slot, 24 bytes in the hub, the index, and the user's name: `docs/memory.md`.
    #[test]
    fn an_idle_connection_with_one_channel_takes_at_most_112_bytes() {
        let bytes = size_of::<Client>() + size_of::<SlotRef>();
        assert!(bytes <= 112, "{bytes}");
        let more = size_of::<SmallVec<[Subscription; 1]>>() - size_of::<Vec<Subscription>>();
        assert_eq!(more, 0, "the first subscription is free");
    }

    #[test]
    fn what_is_empty_holds_nothing() {
        let mut clients = Clients::new(Millis(0));
        let key = ConnKey { index: 1000, generation: 3 };
        clients.add(key, ClientId::new([1; 16]), "ann".into(), Tick(9));
        assert!(clients.get(ConnKey { generation: 4, ..key }).is_none());
        assert_eq!(clients.get(key).map(|own| &*own.user), Some("ann"));
        clients.advance(Millis(64 * 9));
        assert_eq!(clients.next_overdue(), Some(key));
        assert!(clients.remove(key).is_some() && clients.remove(key).is_none());
        assert_eq!((clients.by_index.capacity(), clients.clients.0.capacity()), (0, 0));
        assert_eq!(clients.next_overdue(), None);
    }
}
