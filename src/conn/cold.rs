//! What only some connections have, reached by one link from the slot: a connection without any of
//! it pays four bytes that point nowhere.

use std::net::SocketAddr;

use slab::Slab;

use crate::key::{SlotRef, slot_number};
use crate::pool::{Buffers, Need, OverBudget};
use crate::stream::Stream;

#[cfg(any(test, feature = "sim"))]
use crate::key::ConnKey;
#[cfg(any(test, feature = "sim"))]
use crate::stream::cipher::FakeCipher;
#[cfg(any(test, feature = "sim"))]
use crate::timer::Tick;

/// A record holds only what was asked for. Each is charged to the pool.
#[derive(Debug)]
pub(crate) enum Cold {
    /// The peer's address, for routes whose services want to know it.
    Address(SocketAddr),
    /// A fake cipher, the address behind it, and since when the socket took none of the bytes that
    /// are sealed and unsent.
    #[cfg(any(test, feature = "sim"))]
    Cipher(Box<FakeCipher>, SocketAddr, Tick),
    /// The connection that the bytes of this one go on to, once there is one.
    #[cfg(any(test, feature = "sim"))]
    Relay(Option<ConnKey>),
}

/// The cold records of one loop.
#[derive(Debug, Default)]
pub(crate) struct ColdRecords {
    records: Slab<Cold>,
}

impl ColdRecords {
    /// Adds a record and gives the link to it.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn add(
        &mut self,
        record: Cold,
        memory: &mut Buffers,
    ) -> Result<SlotRef, OverBudget> {
        // Charged before it is inserted, so that a flood of connections meets `pool_bytes_max` and
        // not the allocator.
        memory.charge_for(Need::Head, RECORD_BYTES)?;
        Ok(SlotRef::to(slot_number(self.records.insert(record))))
    }

    /// Drops the record, if there is one.
    pub(crate) fn release(&mut self, link: &mut SlotRef, memory: &mut Buffers) {
        let Some(index) = std::mem::take(link).index() else { return };
        self.records.remove(index as usize);
        memory.discharge(RECORD_BYTES);
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    /// Drops the address of a connection whose service does not want it.
    pub(crate) fn release_address(&mut self, link: &mut SlotRef, memory: &mut Buffers) {
        if matches!(self.get(*link), Some(Cold::Address(_))) {
            self.release(link, memory);
        }
    }

    /// The record.
    #[inline]
    pub(crate) fn get(&self, link: SlotRef) -> Option<&Cold> {
        self.records.get(link.index()? as usize)
    }

    /// As [`ColdRecords::get`], to change it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn get_mut(&mut self, link: SlotRef) -> Option<&mut Cold> {
        self.records.get_mut(link.index()? as usize)
    }

    /// The peer's address, if it was kept.
    pub(crate) fn address(&self, link: SlotRef) -> Option<SocketAddr> {
        match self.get(link)? {
            Cold::Address(address) => Some(*address),
            #[cfg(any(test, feature = "sim"))]
            Cold::Cipher(_, address, _) => Some(*address),
            #[cfg(any(test, feature = "sim"))]
            Cold::Relay(_) => None,
        }
    }

    /// The stream of a connection with this socket and this link.
    #[inline]
    #[cfg_attr(
        not(any(test, feature = "sim")),
        expect(clippy::needless_pass_by_ref_mut, reason = "a cipher changes with each record")
    )]
    pub(crate) fn stream<'c, S>(&'c mut self, socket: &'c mut S, link: SlotRef) -> Stream<'c, S> {
        #[cfg(any(test, feature = "sim"))]
        if let Some(Cold::Cipher(cipher, ..)) = self.get_mut(link) {
            return Stream::Cipher(socket, cipher);
        }
        let _ = link;
        Stream::Plain(socket)
    }

    /// Whether there are records between the socket and the plaintext.
    #[inline]
    pub(crate) fn has_cipher(&self, link: SlotRef) -> bool {
        match self.get(link) {
            #[cfg(any(test, feature = "sim"))]
            Some(Cold::Cipher(..)) => true,
            _ => false,
        }
    }

    /// Notes that the socket took some of what is sealed, or that it had no room for the first time.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn touch_unsent(&mut self, link: SlotRef, now: Tick) {
        if let Some(Cold::Cipher(_, _, since)) = self.get_mut(link) {
            *since = now;
        }
    }

    /// Since when the socket took none of the bytes that are sealed and unsent.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn unsent_since(&self, link: SlotRef) -> Option<Tick> {
        match self.get(link)? {
            Cold::Cipher(_, _, since) => Some(*since),
            Cold::Address(_) | Cold::Relay(_) => None,
        }
    }

    /// How many there are.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool for all records.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES
    }
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
const RECORD_BYTES: usize = 2 * size_of::<Cold>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::SharedBudget;

    #[test]
    fn a_record_is_charged_while_it_is_there() {
        let mut memory = Buffers::new(SharedBudget::new(1 << 20));
        let mut records = ColdRecords::default();
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let mut link = records.add(Cold::Address(address), &mut memory).unwrap();
        assert_eq!(records.address(link), Some(address));
        assert_eq!(memory.allocated_bytes(), RECORD_BYTES);
        records.release(&mut link, &mut memory);
        assert_eq!((link, records.count(), memory.allocated_bytes()), (SlotRef::NONE, 0, 0));
        records.release(&mut link, &mut memory);
    }
}
