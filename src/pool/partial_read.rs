//! PartialReads: what a connection keeps of an unfinished request head, frame or fragmented message.

use slab::Slab;

use super::buffers::{Buffers, OverBudget};
use crate::key::{SlotRef, slot_number};
use crate::timer::Millis;
use crate::ws::Progress;

/// Bytes read from a client, and how far they have been understood. Each loop has one that all
/// its connections share; a connection has one of its own only while something is unfinished.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// Room for bytes; the first `filled` have arrived.
    pub bytes: Vec<u8>,
    /// How many bytes have arrived.
    pub filled: usize,
    /// Of a request head: bytes already searched for its end.
    pub scanned: usize,
    /// Of frames: how far they are decoded.
    pub progress: Progress,
}

impl ReadBuffer {
    /// An empty read buffer over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, filled: 0, scanned: 0, progress: Progress::default() }
    }

    /// Forgets what arrived, keeps the room.
    pub fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.bytes));
    }

    /// The bytes that have arrived.
    #[must_use]
    pub fn arrived(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Bytes that would have to be kept for the connection to go on.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.progress.kept_bytes(self.filled)
    }

    /// Where the message ends that has begun, if that is known and it is all there is.
    #[must_use]
    pub fn message_end(&self) -> Option<usize> {
        self.progress.message_end(self.arrived())
    }

    /// Room for what must be kept and what it will grow to: for the whole message, once a good part
    /// of it has arrived. A header alone may promise anything.
    fn wanted_bytes(&self) -> usize {
        let kept_bytes = self.kept_bytes();
        let whole = self.message_end().map_or(0, |end| end - self.progress.consumed());
        whole.min(kept_bytes.saturating_mul(GROWTH_FACTOR_MAX)).max(kept_bytes)
    }

    /// Moves what must be kept to the front.
    pub fn close_up(&mut self) {
        self.filled = self.progress.close_up(&mut self.bytes, self.filled);
    }

    /// Copies what must be kept into `room`, which is large enough.
    #[must_use]
    pub fn copy_kept(&self, mut room: Vec<u8>) -> Self {
        let [message, rest] = self.progress.kept_ranges(self.filled);
        let filled = message.len() + rest.len();
        room[..message.len()].copy_from_slice(&self.bytes[message.clone()]);
        room[message.len()..filled].copy_from_slice(&self.bytes[rest]);
        Self { bytes: room, filled, scanned: self.scanned, progress: self.progress.closed_up() }
    }
}

/// The partial-read buffers of one loop.
#[derive(Debug, Default)]
pub struct PartialReads {
    slots: Slab<ReadBuffer>,
}

impl PartialReads {
    /// Makes a partial-read buffer of what `shared` holds beyond this turn.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory for it.
    pub fn keep(
        &mut self,
        shared: &ReadBuffer,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<SlotRef, OverBudget> {
        let room = match buffers.take(shared.wanted_bytes(), now) {
            Ok(room) => room,
            Err(OverBudget) => buffers.take(shared.kept_bytes(), now)?,
        };
        let index = self.slots.insert(shared.copy_kept(room));
        Ok(SlotRef::to(slot_number(index)))
    }

    /// Takes a partial-read buffer's contents for the time of a read; the slot stays its own.
    pub fn borrow(&mut self, link: SlotRef) -> Option<ReadBuffer> {
        let index = link.index()?;
        self.slots.get_mut(index as usize).map(std::mem::take)
    }

    /// Puts back what [`PartialReads::borrow`] took.
    pub fn restore(&mut self, link: SlotRef, partial: ReadBuffer) {
        if let Some(slot) = link.index().and_then(|index| self.slots.get_mut(index as usize)) {
            *slot = partial;
        }
    }

    /// Frees the slot and gives its buffer back.
    pub fn release(&mut self, link: SlotRef, buffers: &mut Buffers) {
        let Some(index) = link.index() else { return };
        if let Some(partial) = self.slots.try_remove(index as usize)
            && partial.bytes.capacity() > 0
        {
            buffers.give(partial.bytes);
        }
        if self.slots.is_empty() {
            // Connections far outnumber partial-read buffers, but a flood may have needed many at once.
            self.slots.shrink_to_fit();
        }
    }

    /// How many connections hold a partial-read buffer.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len()
    }
}

/// Times what has arrived of a message that is set aside for the whole.
const GROWTH_FACTOR_MAX: usize = 4;
