//! One shard of the table of clients: entries in a slab, found by a keyed hash, with a list of those
//! that have no open connection.
//!
//! Every operation takes constant time: a look-up, and a fixed number of looks at entries that may have
//! nothing left to remember. When the first of all entries can be forgotten is not looked for either: it is
//! noted from what passes by.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use slab::Slab;

use super::bucket::Bucket;
use super::network::Network;
use super::round::Trimmed;
use super::settings::AddressLimits;
use super::verdict::{AddressReason, AddressUse};
use crate::key::{SlotRef, slot_number};
use crate::timer::Millis;

/// The entries of some clients and networks.
#[derive(Debug)]
pub(super) struct Table<S> {
    entries: Slab<Entry>,
    /// The numbers of all entries, by the hash of their network.
    by_network: HashTable<u32>,
    hasher: S,
    /// The entries without open connections, in the order in which they were last looked at.
    idle: Ends,
    outlook: Outlook,
}

/// When idle entries can be forgotten, known without looking at all of them.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    /// None of them can before.
    due: Millis,
    /// None of those can that came, or were looked at, in this pass through the list.
    next_due: Millis,
    /// Looks until this pass has seen every entry that was there when it began.
    looks_left: usize,
}

/// What is remembered of a client or a network.
#[derive(Debug)]
struct Entry {
    connections: Bucket,
    failures: Bucket,
    /// Refusals that are still answered.
    answers: Bucket,
    /// Open connections.
    open: u32,
    /// How many of these are counted with the network around as well.
    open_in_network: u32,
    /// The number of that network, if there are any.
    parent: u32,
    links: Links,
    network: Network,
    is_idle: bool,
}

/// Neighbours in the list of idle entries.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    older: SlotRef,
    newer: SlotRef,
}

/// The first and the last of the list.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    oldest: SlotRef,
    newest: SlotRef,
    count: usize,
}

/// What holds for an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) now: Millis,
    pub(super) entries_max: usize,
    /// Whether those are let in who are to be refused.
    pub(super) is_dry_run: bool,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// The entry.
    pub(super) number: u32,
    /// Why it is not counted there, or would not be if limits held.
    pub(super) refusal: Option<Refusal>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: AddressReason,
    /// In how many nanoseconds it may try again; `None` where that depends on others.
    pub(super) wait_ns: Option<u64>,
    /// Refusals of this client were answered often enough.
    pub(super) is_silent: bool,
}

impl<S: BuildHasher> Table<S> {
    pub(super) fn new(hasher: S) -> Self {
        Self {
            entries: Slab::new(),
            by_network: HashTable::new(),
            hasher,
            idle: Ends::default(),
            outlook: Outlook::default(),
        }
    }

    /// Counts a connection of `network`, unless its limits refuse it; `None` if there is no entry left
    /// for it.
    pub(super) fn connect(
        &mut self,
        network: Network,
        limits: AddressLimits,
        terms: Terms,
    ) -> Option<Counted> {
        let number = self.find(network).or_else(|| self.add(network, terms))?;
        let entry = &mut self.entries[number as usize];
        let refusal = entry.refusal(limits, terms.now);
        if refusal.is_none() || terms.is_dry_run {
            entry.open += 1;
            self.unlink(number);
        } else {
            self.link(number);
        }
        Some(Counted { number, refusal })
    }

    /// An open connection of this entry is counted with the network around as well, which has the number
    /// `parent` wherever it is. Returns whether it is: open connections of a client are counted with one
    /// network, also after a reload has changed how wide networks are.
    pub(super) fn join_network(&mut self, number: u32, parent: u32) -> bool {
        let Some(entry) = self.entries.get_mut(number as usize) else { return false };
        if entry.open_in_network > 0 && entry.parent != parent {
            return false;
        }
        entry.open_in_network += 1;
        entry.parent = parent;
        true
    }

    /// The network around that open connections of this entry are counted with.
    pub(super) fn parent(&self, number: u32) -> Option<u32> {
        let entry = self.entries.get(number as usize)?;
        (entry.open_in_network > 0).then_some(entry.parent)
    }

    /// Whether the entry is of one client.
    pub(super) fn is_host(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|entry| entry.network.is_host())
    }

    /// A connection of this entry has ended. Gives the network around that it was counted with as well.
    pub(super) fn release(&mut self, number: u32, now: Millis) -> Option<u32> {
        let parent = self.parent(number);
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.open_in_network = entry.open_in_network.saturating_sub(1);
        }
        self.release_alone(number, now);
        parent
    }

    /// As [`Table::release`], for a connection that is not counted with the network around.
    pub(super) fn release_alone(&mut self, number: u32, now: Millis) {
        let Some(entry) = self.entries.get_mut(number as usize) else { return };
        entry.open = entry.open.saturating_sub(1);
        if entry.is_settled(now) {
            self.remove(number);
        } else {
            self.link(number);
        }
    }

    /// A handshake of a connection of this entry has failed.
    pub(super) fn note_failure(&mut self, number: u32, limits: AddressLimits, now: Millis) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.failures.spend(limits.failures, now);
        }
    }

    /// Removes entries that have nothing left to remember, with at most `looks` looks.
    pub(super) fn trim(&mut self, now: Millis, looks: usize) -> Trimmed {
        let mut looked = 0;
        while looked < looks && self.idle.count > 0 && self.outlook.due <= now {
            let share = self.outlook.looks_left.min(looks - looked);
            if share == 0 {
                self.outlook.begin(self.idle.count);
            }
            self.sweep(now, share);
            looked += share;
        }
        if self.entries.is_empty() {
            // Both keep their peak otherwise.
            (self.entries, self.by_network) = (Slab::new(), HashTable::new());
        } else if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
            let (entries, hasher) = (&self.entries, &self.hasher);
            let hash = |number: &u32| hasher.hash_one(entries[*number as usize].network);
            self.by_network.shrink_to(2 * entries.len(), hash);
        }
        Trimmed { looked, due: (self.idle.count > 0).then_some(self.outlook.due) }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that the table has allocated.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.by_network.allocation_size()
    }

    /// Every entry.
    pub(super) fn uses(&self) -> impl Iterator<Item = AddressUse> {
        self.entries.iter().map(|(_, entry)| AddressUse {
            network: entry.network,
            open: entry.open,
            full_at: entry.settled_at(),
        })
    }

    fn find(&self, network: Network) -> Option<u32> {
        let hash = self.hasher.hash_one(network);
        let is_own = |number: &u32| self.entries[*number as usize].network == network;
        self.by_network.find(hash, is_own).copied()
    }

    fn add(&mut self, network: Network, terms: Terms) -> Option<u32> {
        // More than one is removed for each that is added, so what has expired is soon gone.
        self.sweep(terms.now, LOOKS_USUAL);
        if self.entries.len() >= terms.entries_max {
            self.sweep(terms.now, LOOKS_WHEN_FULL);
        }
        if self.entries.len() >= terms.entries_max {
            return None;
        }
        let number = slot_number(self.entries.insert(Entry::new(network)));
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(entries[*number as usize].network);
        self.by_network.insert_unique(hash(&number), number, hash);
        Some(number)
    }

    /// Looks at some idle entries, the oldest first: those that have nothing left to remember go, and
    /// others are the newest from then on, so that the next look is at others.
    fn sweep(&mut self, now: Millis, looks: usize) {
        for _ in 0..looks {
            self.outlook.looks_left = self.outlook.looks_left.saturating_sub(1);
            let Some(number) = self.idle.oldest.index() else { continue };
            if self.entries[number as usize].is_settled(now) {
                self.remove(number);
            } else {
                self.link(number);
            }
        }
    }

    fn remove(&mut self, number: u32) {
        self.unlink(number);
        let network = self.entries[number as usize].network;
        let hash = self.hasher.hash_one(network);
        if let Ok(own) = self.by_network.find_entry(hash, |own| *own == number) {
            own.remove();
        }
        self.entries.remove(number as usize);
    }

    /// The entry is the newest of the idle ones from now on.
    fn link(&mut self, number: u32) {
        if self.entries[number as usize].open > 0 {
            return;
        }
        self.unlink(number);
        let older = std::mem::replace(&mut self.idle.newest, SlotRef::to(number));
        let entry = &mut self.entries[number as usize];
        entry.links = Links { older, newer: SlotRef::NONE };
        entry.is_idle = true;
        self.outlook.note(entry.settled_at());
        self.idle.count += 1;
        match older.index() {
            Some(older) => self.entries[older as usize].links.newer = SlotRef::to(number),
            None => self.idle.oldest = SlotRef::to(number),
        }
    }

    /// The entry is no idle one from now on.
    fn unlink(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        if !std::mem::take(&mut entry.is_idle) {
            return;
        }
        let Links { older, newer } = std::mem::take(&mut entry.links);
        self.idle.count -= 1;
        match older.index() {
            Some(older) => self.entries[older as usize].links.newer = newer,
            None => self.idle.oldest = newer,
        }
        match newer.index() {
            Some(newer) => self.entries[newer as usize].links.older = older,
            None => self.idle.newest = older,
        }
    }

    /// The idle entries with their numbers, the oldest first.
    #[cfg(test)]
    fn idle(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let at = |number: SlotRef| {
            let number = number.index()?;
            Some((number, &self.entries[number as usize]))
        };
        std::iter::successors(at(self.idle.oldest), move |(_, entry)| at(entry.links.newer))
    }
}

impl Outlook {
    /// An entry is idle until it can be forgotten at this moment, or later.
    fn note(&mut self, settled_at: Millis) {
        self.due = self.due.min(settled_at);
        self.next_due = self.next_due.min(settled_at);
    }

    /// A pass has seen all, and the next begins with `idle_count` entries.
    fn begin(&mut self, idle_count: usize) {
        *self = Self { due: self.next_due, looks_left: idle_count, ..Self::default() };
    }
}

impl Default for Outlook {
    fn default() -> Self {
        Self { due: Millis(u64::MAX), next_due: Millis(u64::MAX), looks_left: 0 }
    }
}

impl Entry {
    fn new(network: Network) -> Self {
        Self {
            connections: Bucket::default(),
            failures: Bucket::default(),
            answers: Bucket::default(),
            open: 0,
            open_in_network: 0,
            parent: 0,
            links: Links::default(),
            network,
            is_idle: false,
        }
    }

    /// Takes what a connection takes, or says why it may not.
    fn refusal(&mut self, limits: AddressLimits, now: Millis) -> Option<Refusal> {
        let (reason, wait_ns) = self.broken_limit(limits, now)?;
        let is_silent = self.answers.take(limits.answers(), now).is_err();
        Some(Refusal { reason, wait_ns, is_silent })
    }

    fn broken_limit(
        &mut self,
        limits: AddressLimits,
        now: Millis,
    ) -> Option<(AddressReason, Option<u64>)> {
        if limits.connections_max > 0 && self.open >= limits.connections_max {
            return Some((AddressReason::Open, None));
        }
        let wait_ns = self.failures.wait_ns(limits.failures, now);
        if limits.failures.is_limited() && wait_ns > 0 {
            return Some((AddressReason::Failures, Some(wait_ns)));
        }
        let wait_ns = self.connections.take(limits.connections, now).err()?;
        Some((AddressReason::Rate, Some(wait_ns)))
    }

    /// When nothing is left to remember, if no connection comes.
    fn settled_at(&self) -> Millis {
        let Self { connections, failures, answers, .. } = self;
        connections.full_at().max(failures.full_at()).max(answers.full_at())
    }

    /// Whether nothing is left to remember.
    fn is_settled(&self, now: Millis) -> bool {
        self.open == 0 && self.settled_at() <= now
    }
}

/// Idle entries that are looked at for each that is added.
const LOOKS_USUAL: usize = 2;
/// As many again where there is no room.
const LOOKS_WHEN_FULL: usize = 8;

#[cfg(test)]
mod tests;
