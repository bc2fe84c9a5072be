//! The connection table: one slab of slots, reached by keys whose generation is checked each time.

use std::num::NonZeroI32;

use slab::Slab;

use super::slot::{Conn, Protocol};
use super::state::State;
use crate::key::{ConnKey, slot_number};
use crate::timer::{Tick, TimerLink, TimerLinks};

/// The connections of one loop.
#[derive(Debug)]
pub(crate) struct Table<S> {
    slots: Slab<Conn<S>>,
    /// Slots that were in use since the table was last shrunk: how much of it is real memory.
    touched: usize,
    last_generation: u32,
}

impl<S> Table<S> {
    /// An empty table that has allocated nothing.
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), touched: 0, last_generation: ConnKey::NOT_A_CONNECTION }
    }

    /// The generation of the last connection that was added. They count upwards, and round after 2^32.
    pub(crate) fn last_generation(&self) -> u32 {
        self.last_generation
    }

    /// Adds a connection.
    pub(crate) fn insert(
        &mut self,
        socket: S,
        state: State,
        protocol: Protocol,
        now: Tick,
    ) -> ConnKey {
        self.last_generation = self.last_generation.wrapping_add(1);
        // After 2³² connections of a loop. Its tokens are those of listeners and the mailbox.
        if self.last_generation == ConnKey::NOT_A_CONNECTION {
            self.last_generation += 1;
        }
        let generation = self.last_generation;
        if self.slots.capacity() == 0 {
            // Pages that are never touched cost nothing, and a block of this size is mapped on its
            // own, so that all of it goes back later.
            self.slots.reserve(SLOTS_AT_FIRST);
        }
        let conn = Conn::new(socket, generation, state, protocol, now);
        let index = self.slots.insert(conn);
        self.touched = self.touched.max(index + 1);
        ConnKey { index: slot_number(index), generation }
    }

    /// The connection that `key` was made for, if it is still there.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn<S>> {
        self.slots.get_mut(key.index as usize).filter(|conn| conn.generation == key.generation)
    }

    /// As [`Table::get_mut`], to look only.
    pub(crate) fn get(&self, key: ConnKey) -> Option<&Conn<S>> {
        self.slots.get(key.index as usize).filter(|conn| conn.generation == key.generation)
    }

    /// The key of the connection that is in slot `index` now.
    pub(crate) fn key_of(&self, index: u32) -> Option<ConnKey> {
        let generation = self.slots.get(index as usize)?.generation;
        Some(ConnKey { index, generation })
    }

    /// Takes a connection out.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Option<Conn<S>> {
        self.get(key)?;
        self.slots.try_remove(key.index as usize)
    }

    /// Gives memory back when most of what was used is empty: all of it, or the slots at the end.
    /// A slab keeps its peak by itself.
    pub(crate) fn shrink(&mut self) {
        // `shrink_to_fit` walks the free list, so it is tried only when three quarters of the slots
        // are empty.
        if self.touched <= SLOTS_KEPT || self.slots.len() >= self.touched / 4 {
            return;
        }
        if self.slots.is_empty() {
            self.slots = Slab::new();
        } else {
            self.slots.shrink_to_fit();
        }
        self.touched = self.slots.capacity();
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One past the highest slot that may be in use.
    pub(crate) fn slots_end(&self) -> u32 {
        slot_number(self.slots.capacity())
    }

    /// All connections with their keys.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnKey, &Conn<S>)> {
        self.slots.iter().map(|(index, conn)| {
            (ConnKey { index: slot_number(index), generation: conn.generation }, conn)
        })
    }
}

impl<S> TimerLinks for Table<S> {
    fn timer_link(&mut self, index: u32) -> &mut TimerLink {
        &mut self.slots[index as usize].timer
    }
}

/// 256 KiB of addresses.
const SLOTS_AT_FIRST: usize = 4096;
/// A table that never held more is not worth shrinking: 16 KiB.
const SLOTS_KEPT: usize = 256;

/// Sizes of a connection at rest. In release builds a stream of mio is its descriptor: four bytes, and one value that is
/// none. Every byte is taken.
const _: () = {
    /// The same shape as the slab's own entry.
    #[expect(dead_code, reason = "only its size is asked for")]
    enum Entry<T> {
        Vacant(usize),
        Occupied(T),
    }

    assert!(size_of::<Conn<NonZeroI32>>() == 64);
    assert!(size_of::<Entry<Conn<NonZeroI32>>>() == 64);
};
