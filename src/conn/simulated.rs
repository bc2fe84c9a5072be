//! What connections have in the simulation only.

use slab::Slab;

use crate::key::{SlotRef, slot_number};
use crate::stream::cipher::FakeCipher;
use crate::timer::Tick;

/// These parts of the connections of one loop. The pool is not charged for them.
#[derive(Debug, Default)]
pub(super) struct SimulatedParts {
    parts: Slab<Simulated>,
}

/// What one connection has.
#[derive(Debug)]
pub(super) enum Simulated {
    /// A fake cipher, and since when the socket took none of the bytes that are sealed and unsent.
    Cipher(Box<FakeCipher>, Tick),
}

impl SimulatedParts {
    /// Adds parts, and gives the link to them.
    pub(super) fn add(&mut self, parts: Simulated) -> SlotRef {
        SlotRef::to(slot_number(self.parts.insert(parts)))
    }

    pub(super) fn get(&self, link: SlotRef) -> Option<&Simulated> {
        self.parts.get(link.index()? as usize)
    }

    pub(super) fn get_mut(&mut self, link: SlotRef) -> Option<&mut Simulated> {
        self.parts.get_mut(link.index()? as usize)
    }

    /// Drops the parts, if there are any.
    pub(super) fn release(&mut self, link: SlotRef) {
        if let Some(index) = link.index() {
            self.parts.try_remove(index as usize);
        }
    }

    /// How many connections have any.
    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }
}
