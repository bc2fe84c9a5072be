//! Partial reads: what a connection keeps of an unfinished request head, frame or fragmented
//! message.

use slab::Slab;

use super::buffers::{Buffers, OverBudget};
use crate::key::{SlotRef, slot_number};
use crate::timer::Millis;
use crate::ws::Progress;

/// Bytes read from a client, and how far they are parsed. All connections of a loop share one; a
/// connection has one of its own only while a head, frame or message is unfinished.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The buffer; its first `filled` bytes have arrived.
    pub bytes: Vec<u8>,
    /// How many bytes have arrived.
    pub filled: usize,
    /// While a request head is read: bytes in which its end was searched for.
    pub scanned: usize,
    /// While frames are read: how far they are decoded.
    pub progress: Progress,
}

impl ReadBuffer {
    /// An empty read buffer over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, filled: 0, scanned: 0, progress: Progress::default() }
    }

    /// Forgets what arrived and keeps the buffer.
    pub fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.bytes));
    }

    /// The bytes that have arrived.
    #[must_use]
    pub fn arrived(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Bytes that must be kept for the next read of the connection.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.progress.kept_bytes(self.filled)
    }

    /// Where the started message ends, if its header has arrived and it is a single frame.
    #[must_use]
    pub fn message_end(&self) -> Option<usize> {
        self.progress.message_end(self.arrived())
    }

    /// The size of the buffer for what must be kept: enough for the whole message once a quarter of
    /// it has arrived. A length that a peer claims reserves at most [`GROWTH_FACTOR_MAX`] times the
    /// bytes that it has sent.
    fn wanted_bytes(&self) -> usize {
        let kept_bytes = self.kept_bytes();
        let whole = self.message_end().map_or(0, |end| end - self.progress.consumed());
        whole.min(kept_bytes.saturating_mul(GROWTH_FACTOR_MAX)).max(kept_bytes)
    }

    /// Moves what must be kept to the front of the buffer.
    pub fn close_up(&mut self) {
        self.filled = self.progress.close_up(&mut self.bytes, self.filled);
    }

    /// Copies what must be kept into `buffer`, which must have at least
    /// [`kept_bytes`](Self::kept_bytes).
    #[must_use]
    pub fn copy_kept(&self, mut buffer: Vec<u8>) -> Self {
        let [message, rest] = self.progress.kept_ranges(self.filled);
        let filled = message.len() + rest.len();
        buffer[..message.len()].copy_from_slice(&self.bytes[message.clone()]);
        buffer[message.len()..filled].copy_from_slice(&self.bytes[rest]);
        Self { bytes: buffer, filled, scanned: self.scanned, progress: self.progress.closed_up() }
    }
}

/// The partial-read buffers of one loop.
#[derive(Debug, Default)]
pub struct PartialReads {
    slots: Slab<ReadBuffer>,
}

impl PartialReads {
    /// Copies what the shared buffer holds of an unfinished message into a buffer of its own.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory for it; the connection cannot go on then.
    pub fn keep(
        &mut self,
        shared: &ReadBuffer,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<SlotRef, OverBudget> {
        let buffer = match buffers.take(shared.wanted_bytes(), now) {
            Ok(buffer) => buffer,
            // Without memory for the whole message the connection can still go on with what it has.
            Err(OverBudget) => buffers.take(shared.kept_bytes(), now)?,
        };
        let index = self.slots.insert(shared.copy_kept(buffer));
        Ok(SlotRef::to(slot_number(index)))
    }

    /// Moves a partial-read buffer out for the time of a read. The slot stays reserved until
    /// [`PartialReads::restore`] or [`PartialReads::release`].
    pub fn borrow(&mut self, slot: SlotRef) -> Option<ReadBuffer> {
        let index = slot.index()?;
        self.slots.get_mut(index as usize).map(std::mem::take)
    }

    /// Puts back what [`PartialReads::borrow`] moved out.
    pub fn restore(&mut self, slot: SlotRef, partial: ReadBuffer) {
        if let Some(kept) = slot.index().and_then(|index| self.slots.get_mut(index as usize)) {
            *kept = partial;
        }
    }

    /// Frees the slot and returns its buffer to `buffers`.
    pub fn release(&mut self, slot: SlotRef, buffers: &mut Buffers) {
        let Some(index) = slot.index() else { return };
        if let Some(partial) = self.slots.try_remove(index as usize)
            && partial.bytes.capacity() > 0
        {
            buffers.give(partial.bytes);
        }
        if self.slots.is_empty() {
            // Few connections read partially at one time, but a burst may have needed many slots,
            // and a slab gives memory back only when its end is empty.
            self.slots.shrink_to_fit();
        }
    }

    /// The number of connections that hold a partial-read buffer.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len()
    }
}

/// Most bytes reserved for each byte of a message that has arrived.
const GROWTH_FACTOR_MAX: usize = 4;
