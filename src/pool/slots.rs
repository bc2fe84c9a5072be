//! Slots: a slab that says what its table takes in memory, and gives the table back after a burst.

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::buffers::{Buffers, OverBudget};
use crate::timer::Millis;

/// A table of values at fixed indices. Its owner charges the [bytes](Slots::bytes) of the table, which
/// change only in [`Slots::insert`] and the two methods that shrink it.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slab: Slab<T>,
    /// When the table may be looked at again for free entries at its end.
    shrink_due: Millis,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slab: Slab::new(), shrink_due: Millis::default() }
    }
}

impl<T> Slots<T> {
    /// Adds a value; its index.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> usize {
        if self.is_full() {
            self.grow();
        }
        self.slab.insert(value)
    }

    /// As [`Slots::insert`], for a table that is not full.
    #[inline]
    pub(super) fn insert_in_place(&mut self, value: T) {
        debug_assert!(!self.is_full());
        self.slab.insert(value);
    }

    /// Whether the next value makes the table longer.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.slab.len() == self.slab.capacity()
    }

    /// The index of the next value.
    #[inline]
    pub(super) fn next_index(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Makes the table longer.
    #[cold]
    pub(super) fn grow(&mut self) {
        self.slab.reserve_exact(self.slab.capacity().max(SLOTS_KEPT));
    }

    /// As [`Slots::grow`], by a few entries.
    #[cold]
    pub(super) fn grow_little(&mut self) {
        self.slab.reserve_exact(SLOTS_KEPT);
    }

    /// Takes a value out. Panics if there is none at this index.
    #[inline]
    pub(super) fn remove(&mut self, index: usize) -> T {
        self.slab.remove(index)
    }

    /// Takes a value out, if there is one at this index.
    pub(super) fn try_remove(&mut self, index: usize) -> Option<T> {
        self.slab.try_remove(index)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.slab.get(index)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slab.get_mut(index)
    }

    /// How many values there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All values.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slab.iter().map(|(_, value)| value)
    }

    /// The bytes of the table beyond its first few entries, which a loop has anyway.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.slab.capacity().saturating_sub(SLOTS_KEPT) * size_of::<Entry<T>>()
    }

    /// Frees the table of an empty one, if it has grown.
    #[inline]
    pub(super) fn shrink_if_empty(&mut self) {
        if self.slab.is_empty() && self.slab.capacity() > SLOTS_KEPT {
            self.slab = Slab::new();
        }
    }

    /// Frees what is free at the end of a table that is mostly empty. A value that stays may pin any
    /// part of it, so this walks it at most once in `idle_ms`. Gives the moment to call again, if the
    /// table is still mostly empty.
    pub(super) fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        self.shrink_if_empty();
        if self.is_sparse() && now >= self.shrink_due {
            self.shrink_due = now.plus(idle_ms);
            self.slab.shrink_to_fit();
        }
        self.is_sparse().then_some(self.shrink_due)
    }

    fn is_sparse(&self) -> bool {
        self.slab.capacity() > SLOTS_KEPT && self.slab.len() < self.slab.capacity() / 4
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.slab[index]
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.slab[index]
    }
}

/// What the owner of tables has charged for them and for what they refer to. It follows what is held
/// in steps and not with every byte, so that the usual swing of a turn charges nothing.
#[derive(Debug, Default)]
pub(super) struct Account {
    charged: usize,
}

impl Account {
    /// Whether `held` bytes are charged, but for the few that need not be.
    #[inline]
    pub(super) fn covers(&self, held: usize) -> bool {
        held <= self.charged + UNCHARGED_BYTES_MAX
    }

    /// Charges what is held and not charged, and returns what is charged and not held.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room. Nothing is changed then.
    #[inline]
    pub(super) fn settle(&mut self, held: usize, buffers: &mut Buffers) -> Result<(), OverBudget> {
        if self.charged == 0 && held <= UNCHARGED_BYTES_MAX {
            return Ok(());
        }
        self.settle_steps(held, buffers)
    }

    fn settle_steps(&mut self, held: usize, buffers: &mut Buffers) -> Result<(), OverBudget> {
        let due = held.saturating_sub(UNCHARGED_BYTES_MAX).next_multiple_of(STEP_BYTES);
        if due > self.charged {
            buffers.charge_for(super::budget::Need::Small, due - self.charged)?;
        } else if due < self.charged {
            buffers.discharge(self.charged - due);
        }
        self.charged = due;
        Ok(())
    }

    /// Bytes charged.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn charged(&self) -> usize {
        self.charged
    }
}

/// The same shape as the slab's own entry.
#[expect(dead_code, reason = "only its size is asked for")]
enum Entry<T> {
    Vacant(usize),
    Occupied(T),
}

/// Entries that a table keeps when it is empty: it would be allocated anew in nearly every turn.
const SLOTS_KEPT: usize = 32;
/// What one loop holds without charging it.
const UNCHARGED_BYTES_MAX: usize = 16 << 10;
const STEP_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::SharedBudget;

    #[test]
    fn a_table_is_given_back_as_its_end_becomes_free() {
        let mut slots = Slots::default();
        let indices: Vec<usize> = (0..1000).map(|value| slots.insert(value)).collect();
        let full = slots.bytes();
        assert!(full >= (1000 - SLOTS_KEPT) * size_of::<Entry<usize>>());
        indices[1..].iter().for_each(|index| assert_eq!(slots.remove(*index), *index));
        assert_eq!(slots.bytes(), full, "not with each");
        assert_eq!(slots.trim(Millis(50), 100), None);
        assert_eq!(slots.bytes(), 0);
        slots.remove(indices[0]);

        // One that stays at the end pins everything before it.
        let indices: Vec<usize> = (0..1000).map(|value| slots.insert(value)).collect();
        let full = slots.bytes();
        indices[..999].iter().for_each(|index| assert_eq!(slots.remove(*index), *index));
        assert_eq!(slots.trim(Millis(150), 100), Some(Millis(250)));
        assert_eq!(slots.trim(Millis(200), 100), Some(Millis(250)));
        assert!(slots.bytes() > 0 && slots.bytes() <= full);
        slots.remove(indices[999]);
        slots.shrink_if_empty();
        assert_eq!(slots.bytes(), 0);
    }

    #[test]
    fn an_account_follows_what_is_held_in_steps() {
        let shared = SharedBudget::new(64 << 10);
        let mut buffers = Buffers::new(shared.clone());
        let mut account = Account::default();
        assert!(account.covers(UNCHARGED_BYTES_MAX) && !account.covers(UNCHARGED_BYTES_MAX + 1));
        account.settle(UNCHARGED_BYTES_MAX + 1, &mut buffers).unwrap();
        assert_eq!((account.charged(), buffers.allocated_bytes()), (STEP_BYTES, STEP_BYTES));
        assert!(account.covers(UNCHARGED_BYTES_MAX + STEP_BYTES));
        assert_eq!(account.settle(1 << 20, &mut buffers), Err(OverBudget));
        assert_eq!(account.charged(), STEP_BYTES);
        account.settle(0, &mut buffers).unwrap();
        assert_eq!((buffers.allocated_bytes(), shared.available()), (0, 64 << 10));
    }
}
