//! Who holds most of the pool: when it runs short, the largest holders go first, and of those the one
//! that has held it the longest. So it is not the next client that asks who pays for the others.
//!
//! Only what is large is followed. A loop keeps its large holders in order, and shows the others the
//! first of them as one number, its rank, so that the loop with the heaviest holder of all knows that
//! it has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::key::ConnKey;
use crate::timer::Tick;

/// The ranks of the heaviest holders of all loops.
#[derive(Clone, Debug)]
pub(super) struct SharedRanks {
    /// One for each loop, in the order in which they came; 0 without a holder.
    ranks: Arc<[AtomicU64]>,
    loops: Arc<AtomicUsize>,
}

impl SharedRanks {
    /// No holders, on at most `loops_max` loops.
    pub(super) fn new(loops_max: usize) -> Self {
        let ranks = (0..loops_max).map(|_| AtomicU64::new(0)).collect();
        Self { ranks, loops: Arc::default() }
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        // Relaxed: a rank guards no other memory, and one that is seen late is acted on late.
        let ranks = self.ranks.iter().take(self.loops.load(Ordering::Relaxed));
        ranks.map(|rank| rank.load(Ordering::Relaxed)).filter(|rank| *rank > 0)
    }

    fn highest(&self) -> u64 {
        self.iter().max().unwrap_or(0)
    }

    /// Loops that have a holder.
    fn count(&self) -> usize {
        self.iter().count()
    }
}

/// The large holders of one loop.
#[derive(Debug)]
pub struct Holders {
    shared: SharedRanks,
    /// Which of the shared ranks is that of this loop.
    loop_number: usize,
    records: BTreeMap<u32, Record>,
    /// Those of [`HEAVY_BYTES`] and more.
    order: BTreeSet<Entry>,
    last_serial: u64,
}

/// The size as a power of two, a serial number that says which had it first, and the slot.
type Entry = (u32, u64, u32);

#[derive(Clone, Copy, Debug)]
struct Record {
    key: ConnKey,
    /// Bytes of its partial-read buffer, of a message that waits to be inflated on, bytes that wait to be sent
    /// to it, and bytes of records that are not opened or not sent; 0 if they are few.
    input: usize,
    inflating: usize,
    output: usize,
    records: usize,
    /// Its size as a power of two, and since when it has had that size.
    size: u32,
    since: Tick,
    serial: u64,
}

impl Record {
    fn entry(&self) -> Option<Entry> {
        (self.size >= HEAVY_BYTES.ilog2()).then_some((self.size, self.serial, self.key.index))
    }
}

impl Holders {
    /// No holders. Its rank goes to the others by `shared`.
    pub(super) fn new(shared: SharedRanks) -> Self {
        let loop_number = shared.loops.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            loop_number,
            records: BTreeMap::new(),
            order: BTreeSet::new(),
            last_serial: 0,
        }
    }

    /// Whether no connection of the loop holds much.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A connection has a partial-read buffer of this size.
    #[inline]
    pub fn set_input(&mut self, key: ConnKey, bytes: usize, now: Tick) {
        // Most connections hold little, and most loops have none that hold much.
        if bytes >= NOTED_BYTES || !self.is_empty() {
            self.set(key, now, |record| record.input = bytes);
        }
    }

    /// A message of a connection holds so much while it waits to be inflated on.
    pub fn set_inflating(&mut self, key: ConnKey, bytes: usize, now: Tick) {
        if bytes >= NOTED_BYTES || !self.is_empty() {
            self.set(key, now, |record| record.inflating = bytes);
        }
    }

    /// So much waits to be sent to a connection.
    #[inline]
    pub fn set_output(&mut self, key: ConnKey, bytes: usize, now: Tick) {
        if bytes >= NOTED_BYTES || !self.is_empty() {
            self.set(key, now, |record| record.output = bytes);
        }
    }

    /// So many bytes of a connection's records are not opened or not sent.
    #[inline]
    pub fn set_records(&mut self, key: ConnKey, bytes: usize, now: Tick) {
        if bytes >= NOTED_BYTES || !self.is_empty() {
            self.set(key, now, |record| record.records = bytes);
        }
    }

    #[inline(never)]
    fn set(&mut self, key: ConnKey, now: Tick, change: impl FnOnce(&mut Record)) {
        let known = self.records.get(&key.index).copied().filter(|record| record.key == key);
        let unknown = Record {
            key,
            input: 0,
            inflating: 0,
            output: 0,
            records: 0,
            size: 0,
            since: now,
            serial: 0,
        };
        let mut record = known.unwrap_or(unknown);
        change(&mut record);
        let parts = [record.input, record.inflating, record.output, record.records];
        let is_noted = parts.iter().any(|bytes| *bytes >= NOTED_BYTES);
        let size = parts.iter().sum::<usize>().max(1).ilog2();
        if is_noted && known.is_some_and(|known| known.size == size) {
            self.records.insert(key.index, record);
            return;
        }
        self.remove(key.index);
        if is_noted {
            self.last_serial += 1;
            (record.size, record.since, record.serial) = (size, now, self.last_serial);
            self.order.extend(record.entry());
            self.records.insert(key.index, record);
            self.show_rank();
        }
    }

    /// The connection in this slot is no more.
    #[inline]
    pub fn remove(&mut self, slot: u32) {
        if !self.is_empty()
            && let Some(record) = self.records.remove(&slot)
            && let Some(entry) = record.entry()
        {
            self.order.remove(&entry);
            self.show_rank();
        }
    }

    /// The one that is to go first: the oldest of those of the largest size.
    #[must_use]
    pub fn heaviest(&self) -> Option<ConnKey> {
        self.first().map(|record| record.key)
    }

    fn first(&self) -> Option<&Record> {
        let (largest, ..) = *self.order.last()?;
        let (.., slot) = self.order.range((largest, 0, 0)..).next()?;
        self.records.get(slot)
    }

    /// Whether there is only one in all loops.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.order.len() == 1 && self.shared.count() == 1
    }

    /// Whether no loop has a heavier one.
    #[must_use]
    pub fn has_heaviest_of_all(&self) -> bool {
        self.rank() > 0 && self.rank() >= self.shared.highest()
    }

    /// Whether another loop has one that goes before those of this one.
    #[must_use]
    pub fn is_heavier_elsewhere(&self) -> bool {
        self.shared.highest() > self.rank()
    }

    /// Sizes come before ages.
    fn rank(&self) -> u64 {
        self.first().map_or(0, |own| u64::from(own.size) << 32 | u64::from(!own.since.0))
    }

    fn show_rank(&self) {
        if let Some(rank) = self.shared.ranks.get(self.loop_number) {
            rank.store(self.rank(), Ordering::Relaxed);
        }
    }

    /// All that is known: key, partial-read buffer, output.
    #[cfg(any(test, feature = "sim"))]
    pub fn iter(&self) -> impl Iterator<Item = (ConnKey, usize, usize)> {
        self.records.values().map(|record| (record.key, record.input, record.output))
    }

    /// Bytes noted of a message that waits to be inflated on.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn inflating(&self, key: ConnKey) -> usize {
        let own = self.records.get(&key.index).filter(|record| record.key == key);
        own.map_or(0, |record| record.inflating)
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        self.order.clear();
        self.show_rank();
    }
}

/// Who holds less than this of each of the four kinds does not hold `HEAVY_BYTES` of all.
pub const NOTED_BYTES: usize = HEAVY_BYTES / 4;
/// From here on a connection is a large holder.
const HEAVY_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(index: u32) -> ConnKey {
        ConnKey { index, generation: 1 }
    }

    proptest! {
        /// The first to go is that of a naive look at all of them.
        #[test]
        fn the_oldest_of_the_largest_size_goes_first(
            steps in prop::collection::vec((0..6u32, 0..4usize, 0..100_000usize), 1..100),
        ) {
            let shared = SharedRanks::new(2);
            let (mut holders, other) = (Holders::new(shared.clone()), Holders::new(shared));
            let mut naive: BTreeMap<u32, ([usize; 4], u32, u32)> = BTreeMap::new();
            for ((slot, kind, bytes), now) in steps.into_iter().zip(0..) {
                let set = [
                    Holders::set_input,
                    Holders::set_inflating,
                    Holders::set_output,
                    Holders::set_records,
                ];
                set[kind](&mut holders, key(slot), bytes, Tick(now));
                let (parts, size, since) = naive.entry(slot).or_default();
                parts[kind] = bytes;
                // What is little of each kind is not followed.
                if parts.iter().all(|bytes| *bytes < NOTED_BYTES) {
                    *parts = [0; 4];
                }
                let new_size = parts.iter().sum::<usize>().max(1).ilog2();
                if new_size != *size {
                    (*size, *since) = (new_size, now);
                }
                let heavy =
                    naive.iter().filter(|(_, own)| own.0.iter().sum::<usize>() >= HEAVY_BYTES);
                let first = heavy.max_by_key(|(_, own)| (own.1, u32::MAX - own.2));
                prop_assert_eq!(holders.heaviest(), first.map(|(slot, _)| key(*slot)));
                prop_assert_eq!(holders.has_heaviest_of_all(), first.is_some());
                prop_assert_eq!(other.is_heavier_elsewhere(), first.is_some());
            }
            drop(holders);
            prop_assert!(!other.is_heavier_elsewhere());
        }
    }

    #[test]
    fn loops_agree_on_the_one_that_goes_first() {
        let shared = SharedRanks::new(2);
        let [mut one, mut two] = [Holders::new(shared.clone()), Holders::new(shared)];
        one.set_input(key(1), 64 << 10, Tick(10));
        two.set_output(key(1), 100 << 10, Tick(5));
        assert!(two.has_heaviest_of_all() && one.is_heavier_elsewhere(), "the older one");
        one.set_output(key(1), 70 << 10, Tick(11));
        assert!(one.has_heaviest_of_all() && !two.has_heaviest_of_all(), "the larger one");
        one.remove(1);
        assert!(one.is_empty() && two.has_heaviest_of_all());
    }
}
