//! The table of clients that all loops share, in shards with a lock each. A loop takes a lock when a
//! connection comes, when it goes, and when its handshake fails, and for no message.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry_ref::{AddressRef, SHARDS};
use super::network::{Network, PrefixBits};
use super::round::Round;
use super::settings::{AddressLimits, AddressSettings};
use super::table::{Counted, Refusal, Table, Terms};
use super::verdict::{AddressReason, AddressRefusal, AddressUse, Judgement};
use crate::timer::Millis;

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedAddresses(Arc<Shards>);

#[derive(Debug)]
struct Shards {
    shards: [Mutex<Table<RandomState>>; SHARDS],
    /// With keys that no client knows, so that none can choose addresses which share a shard.
    hasher: RandomState,
    /// Entries of all shards.
    count: AtomicUsize,
    round: Round,
}

impl Default for SharedAddresses {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(Table::new(hasher.clone()));
        let shards = std::array::from_fn(shard);
        Self(Arc::new(Shards {
            shards,
            hasher,
            count: AtomicUsize::new(0),
            round: Round::default(),
        }))
    }
}

impl SharedAddresses {
    /// Says whether a connection from `address` is let in, and counts it then.
    #[must_use]
    pub fn connect(&self, address: IpAddr, settings: &AddressSettings, now: Millis) -> Judgement {
        if settings.allow.contains(address) {
            return Judgement::default();
        }
        if settings.deny.contains(address) {
            let reason = AddressReason::Denied;
            let refusal = AddressRefusal { reason, retry_after_s: 0, is_silent: true };
            return Judgement { refusal: Some(refusal), ..Judgement::default() };
        }
        if !settings.has_limits() || settings.exempts(address) {
            return Judgement::default();
        }
        let terms = Terms {
            now,
            entries_max: settings.entries_max.div_ceil(SHARDS),
            is_dry_run: settings.is_dry_run,
        };
        let host = Network::of(address, PrefixBits::HOST);
        let network = Network::of(address, settings.network_bits);
        let mut judgement = match self.count(host, settings.host, terms) {
            Some(counted) if !settings.network.is_limited() => settings.judge(counted),
            Some(counted) => self.count_in_network(counted, network, settings, terms),
            None => match self.count(network, settings.shared(), terms) {
                Some(counted) => settings.judge(counted),
                None => Judgement { is_untracked: true, ..Judgement::default() },
            },
        };
        if judgement.refusal.is_some() && !settings.is_dry_run {
            judgement.entry = None;
        }
        judgement
    }

    /// A connection that was counted in `entry` has ended.
    pub fn release(&self, entry: AddressRef, now: Millis) {
        let parent = self.with(entry, |table, number| table.release(number, now));
        if let Some(parent) = parent.and_then(AddressRef::from_bits) {
            self.with(parent, |table, number| table.release(number, now));
        }
    }

    /// The handshake of a connection that is counted in `entry` has failed.
    pub fn note_failure(&self, entry: AddressRef, settings: &AddressSettings, now: Millis) {
        let parent = self.with(entry, |table, number| {
            let limits = if table.is_host(number) { settings.host } else { settings.shared() };
            table.note_failure(number, limits, now);
            table.parent(number)
        });
        if let Some(parent) = parent.and_then(AddressRef::from_bits) {
            let limits = settings.network;
            self.with(parent, |table, number| table.note_failure(number, limits, now));
        }
    }

    /// Removes what has nothing left to remember, as far as one call may look. Gives the moment from which
    /// something can be removed: not after `now` if there was more to look at.
    #[must_use]
    pub fn trim(&self, now: Millis) -> Option<Millis> {
        let trim_shard = |shard, looks| self.shard(shard, |table| table.trim(now, looks));
        self.0.round.trim(SHARDS, trim_shard)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the table has allocated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (0..SHARDS).map(|shard| self.shard(shard, |table| table.bytes())).sum()
    }

    /// The clients and networks with the most open connections, at most `limit` of them; among equals
    /// those that have used up most of their rates. Each lock is held while a shard is looked through.
    #[must_use]
    pub fn heaviest(&self, limit: usize) -> Vec<AddressUse> {
        let mut all: Vec<AddressUse> = Vec::new();
        for shard in 0..SHARDS {
            self.shard(shard, |table| all.extend(table.uses()));
            all.sort_by_key(|own| std::cmp::Reverse((own.open, own.full_at.0)));
            all.truncate(limit);
        }
        all
    }

    fn count(&self, network: Network, limits: AddressLimits, terms: Terms) -> Option<InShard> {
        let shard = self.shard_of(network);
        let counted = self.shard(shard, |table| table.connect(network, limits, terms))?;
        Some(InShard { shard, counted })
    }

    /// Counts a connection that its client may have with the network around as well.
    fn count_in_network(
        &self,
        host: InShard,
        network: Network,
        settings: &AddressSettings,
        terms: Terms,
    ) -> Judgement {
        let judgement = settings.judge(host);
        let Some(entry) = judgement.entry else { return judgement };
        if judgement.refusal.is_some() && !terms.is_dry_run {
            return judgement;
        }
        // Without room for the network its clients are counted all the same.
        let Some(parent) = self.count(network, settings.network, terms) else { return judgement };
        let of_network = settings.judge(parent);
        let Some(parent) = of_network.entry else { return judgement };
        if of_network.refusal.is_some() && !terms.is_dry_run {
            self.with(entry, |own, number| own.release_alone(number, terms.now));
        } else if !self.with(entry, |own, number| own.join_network(number, parent.to_bits())) {
            self.with(parent, |own, number| own.release_alone(number, terms.now));
        }
        Judgement { refusal: judgement.refusal.or(of_network.refusal), ..judgement }
    }

    fn shard_of(&self, network: Network) -> usize {
        // Not the bits by which the table finds its entries.
        (self.0.hasher.hash_one(network) >> u32::BITS) as usize % SHARDS
    }

    fn with<T>(&self, entry: AddressRef, act: impl FnOnce(&mut Table<RandomState>, u32) -> T) -> T {
        self.shard(entry.shard(), |table| act(table, entry.number()))
    }

    fn shard<T>(&self, shard: usize, act: impl FnOnce(&mut Table<RandomState>) -> T) -> T {
        let mut table = self.lock(shard);
        let before = table.len();
        let result = act(&mut table);
        let after = table.len();
        if after != before {
            // Wraps where there are fewer, so that the sum is right.
            self.0.count.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        result
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Table<RandomState>> {
        // A panic ends the process: what it left is looked at by no one.
        self.0.shards[shard % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a connection in a shard.
#[derive(Clone, Copy, Debug)]
struct InShard {
    shard: usize,
    counted: Counted,
}

impl AddressSettings {
    /// What is said of a connection, which has an entry whether it is refused or not.
    fn judge(&self, InShard { shard, counted }: InShard) -> Judgement {
        let refusal = counted.refusal.map(|Refusal { reason, wait_ns, is_silent }| {
            let wait_s = wait_ns.map(|wait_ns| wait_ns.div_ceil(NS_PER_S));
            let retry_after_s = wait_s.map_or(self.retry_after_s, |wait_s| {
                u32::try_from(wait_s).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_S_MAX)
            });
            AddressRefusal { reason, retry_after_s, is_silent }
        });
        let entry = AddressRef::new(shard, counted.number);
        Judgement { entry, refusal, is_untracked: false }
    }
}

const NS_PER_S: u64 = 1_000_000_000;
/// A day. It is a hint for clients, and leaves the highest bit free.
pub(super) const RETRY_AFTER_S_MAX: u32 = 86_400;

#[cfg(test)]
mod tests;
