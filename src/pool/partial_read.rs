//! Partial reads: what a connection keeps of an unfinished request head, frame or fragmented
//! message.

use super::budget::Need;
use super::buffers::{BUFFER_BYTES_MIN, Buffers, OverBudget, buffer_bytes};
use super::slots::{Account, Slots};
use crate::key::{SlotRef, slot_number};
use crate::timer::{Millis, Tick};
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

    /// Puts `bytes` in the place of all that has arrived, as the beginning of something new.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        // One byte lies before them: what is to be kept of a buffer begins anew where it does not begin
        // with it.
        if let Some(room) = self.bytes.get_mut(1..1 + bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled = 1 + bytes.len();
            self.progress = Progress::starting_at(1);
        }
    }

    /// Forgets the first `bytes` of what arrived, before anything of it is parsed.
    pub fn drop_front(&mut self, bytes: usize) {
        let bytes = bytes.min(self.filled);
        self.bytes.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        self.scanned = 0;
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

    /// The size of the buffer for what must be kept: enough for the whole message if that is at most
    /// [`GROWTH_FACTOR_MAX`] times what has arrived of it, once sizes are rounded, and otherwise no
    /// more than has arrived. A length that a peer claims reserves nothing by itself.
    fn wanted_bytes(&self) -> usize {
        let kept_bytes = self.kept_bytes();
        let whole = self.message_end().map_or(0, |end| end - self.progress.consumed());
        if buffer_bytes(whole) <= kept_bytes.saturating_mul(GROWTH_FACTOR_MAX) {
            whole.max(kept_bytes)
        } else {
            kept_bytes
        }
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
    slots: Slots<PartialRead>,
    account: Account,
}

/// A partial-read buffer, and the clock of what is unfinished in it.
#[derive(Debug, Default)]
struct PartialRead {
    buffer: ReadBuffer,
    /// When it was begun, or as much later as its connection was not read.
    begun: Tick,
    /// Since when its connection is not read, if it is not.
    paused: Option<Tick>,
}

impl PartialRead {
    fn resume(&mut self, now: Tick) {
        if let Some(since) = self.paused.take() {
            self.begun.0 = self.begun.0.saturating_add(now.0.saturating_sub(since.0));
        }
    }
}

impl PartialReads {
    /// Copies what the shared buffer holds of an unfinished message into a buffer of its own.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory for it; the connection cannot go on then.
    pub fn keep(
        &mut self,
        shared: &ReadBuffer,
        kind: Unfinished,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<SlotRef, OverBudget> {
        self.settle(buffers)?;
        let buffer = shared.copy_kept(take_for(shared, kind, buffers, now)?);
        let kept = PartialRead { buffer, begun: now.tick(), paused: None };
        Ok(SlotRef::to(slot_number(self.slots.insert(kept))))
    }

    /// Notes that something else is unfinished in the buffer than before, from now on.
    pub fn begin(&mut self, slot: SlotRef, now: Tick) {
        if let Some(own) = self.get_mut(slot) {
            (own.begun, own.paused) = (now, None);
        }
    }

    /// Notes whether the connection is read, and gives whether it is and was not. The time in which
    /// it is not does not count.
    pub fn set_paused(&mut self, slot: SlotRef, is_paused: bool, now: Tick) -> bool {
        let Some(own) = self.get_mut(slot) else { return false };
        let was_paused = own.paused.is_some();
        if !is_paused {
            own.resume(now);
        } else if !was_paused {
            own.paused = Some(now);
        }
        was_paused && !is_paused
    }

    /// When what is unfinished was begun, and how many bytes of it have arrived.
    #[must_use]
    pub fn begun(&self, slot: SlotRef) -> Option<(Tick, usize)> {
        let own = self.slots.get(slot.index()? as usize)?;
        Some((own.begun, own.buffer.kept_bytes()))
    }

    fn get_mut(&mut self, slot: SlotRef) -> Option<&mut PartialRead> {
        self.slots.get_mut(slot.index()? as usize)
    }

    /// Exchanges the buffer of a partial read for a smaller one if it is far larger than what is left
    /// in it: that of a long message which is over, with the beginning of a short one behind it.
    pub fn shrink(
        &self,
        partial: &mut ReadBuffer,
        kind: Unfinished,
        buffers: &mut Buffers,
        now: Millis,
    ) {
        if kind == Unfinished::Forwarded
            && partial.message_end().is_some_and(|end| end > partial.bytes.len())
        {
            // The rest of a frame that has filled it, and will again.
            return;
        }
        let kept_bytes = partial.kept_bytes().max(BUFFER_BYTES_MIN);
        if partial.bytes.len() <= GROWTH_FACTOR_MAX * kept_bytes {
            return;
        }
        // Without memory it stays where it is.
        if let Ok(buffer) = take_for(partial, kind, buffers, now) {
            let smaller = partial.copy_kept(buffer);
            buffers.give(std::mem::replace(partial, smaller).bytes);
        }
    }

    /// Charges the pool for the table. To be called at the end of each turn.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    #[inline]
    pub fn settle(&mut self, buffers: &mut Buffers) -> Result<(), OverBudget> {
        self.account.settle(self.slots.bytes(), buffers)
    }

    /// Whether the table is no larger than what a loop has anyway.
    #[must_use]
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.slots.bytes() == 0
    }

    /// Frees a part of the table that lies unused. Gives the moment to ask again.
    #[inline]
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        // Most loops have few at a time.
        if self.slots.bytes() == 0 { None } else { self.slots.trim(now, idle_ms) }
    }

    /// Bytes charged for the table, and bytes of the buffers.
    #[cfg(any(test, feature = "sim"))]
    pub fn recount(&self) -> usize {
        let buffers = self.slots.iter().map(|own| own.buffer.bytes.capacity());
        self.account.charged() + buffers.sum::<usize>()
    }

    /// Moves a partial-read buffer out for the time of a read. The slot stays reserved until
    /// [`PartialReads::restore`] or [`PartialReads::release`].
    pub fn borrow(&mut self, slot: SlotRef) -> Option<ReadBuffer> {
        self.get_mut(slot).map(|own| std::mem::take(&mut own.buffer))
    }

    /// Puts back what [`PartialReads::borrow`] moved out.
    pub fn restore(&mut self, slot: SlotRef, partial: ReadBuffer) {
        if let Some(own) = self.get_mut(slot) {
            own.buffer = partial;
        }
    }

    /// Whether the buffer is out, by [`PartialReads::borrow`].
    pub fn is_lent(&self, slot: SlotRef) -> bool {
        !slot.is_none() && self.bytes(slot) == 0
    }

    /// The size of the buffer, 0 while it is lent.
    pub fn bytes(&self, slot: SlotRef) -> usize {
        let own = slot.index().and_then(|index| self.slots.get(index as usize));
        own.map_or(0, |own| own.buffer.bytes.capacity())
    }

    /// Frees the slot and returns its buffer to `buffers`.
    pub fn release(&mut self, slot: SlotRef, buffers: &mut Buffers) {
        let Some(index) = slot.index() else { return };
        if let Some(partial) = self.slots.try_remove(index as usize)
            && partial.buffer.bytes.capacity() > 0
        {
            buffers.give(partial.buffer.bytes);
        }
        // Few connections read partially at one time, but a burst may have needed many slots.
        self.slots.shrink_if_empty();
    }

    /// The number of connections that hold a partial-read buffer.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len()
    }
}

/// What is kept: the beginning of a request head, or of a frame, message or line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Of a request head.
    Head,
    /// Of a frame that goes on to another connection as it comes.
    Forwarded,
    /// Of anything else that comes later.
    Message,
}

/// A buffer for what `source` must keep.
fn take_for(
    source: &ReadBuffer,
    kind: Unfinished,
    buffers: &mut Buffers,
    now: Millis,
) -> Result<Vec<u8>, OverBudget> {
    let mut take = |bytes| match kind {
        Unfinished::Head => buffers.take_for(Need::Head, bytes, now),
        Unfinished::Forwarded | Unfinished::Message => buffers.take(bytes, now),
    };
    // Without memory for the whole message the connection can still go on with what it has.
    take(source.wanted_bytes()).or_else(|OverBudget| take(source.kept_bytes()))
}

/// Most bytes held for each byte of a message that has arrived.
const GROWTH_FACTOR_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::SharedBudget;

    /// A read buffer with the beginning of a binary message of `whole` bytes, of which `arrived` bytes
    /// have come, the header included.
    fn begun(whole: usize, arrived: usize) -> ReadBuffer {
        // Final, binary, masked, with a length of eight bytes (RFC 6455 §5.2).
        let mut bytes = vec![0x82, 0x80 | 127];
        bytes.extend((whole as u64).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.resize(arrived.max(bytes.len()), 0);
        let filled = bytes.len();
        ReadBuffer { filled, ..ReadBuffer::new(bytes) }
    }

    proptest! {
        /// Whatever length is announced, and whatever came before: what is held is at most four times
        /// what has arrived, and at most twice, rounded up to the smallest buffer, before a quarter of
        /// the message has.
        #[test]
        fn memory_follows_what_has_arrived(
            whole in 1usize << 16..1 << 22,
            part in 14usize..1 << 18,
            before in prop_oneof![Just(0usize), 1..1usize << 20],
        ) {
            let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
            let mut partial_reads = PartialReads::default();
            let arrived = part.min(whole);
            let source = begun(whole, arrived);
            let kind = Unfinished::Message;
            let slot = partial_reads.keep(&source, kind, &mut buffers, Millis(0)).unwrap();
            let mut partial = partial_reads.borrow(slot).unwrap();
            prop_assert_eq!(partial.arrived(), source.arrived());
            let held = partial.bytes.capacity();
            prop_assert!(held <= (4 * source.filled).max(BUFFER_BYTES_MIN), "{} for {}", held, arrived);
            if 4 * arrived < whole {
                prop_assert!(held <= (2 * arrived).max(BUFFER_BYTES_MIN), "{} for {}", held, arrived);
            }
            // The same in a buffer that held a longer message before.
            if partial.bytes.len() < before {
                let mut larger = buffers.take(before, Millis(0)).unwrap();
                larger[..partial.filled].copy_from_slice(partial.arrived());
                buffers.give(std::mem::replace(&mut partial.bytes, larger));
            }
            partial_reads.shrink(&mut partial, kind, &mut buffers, Millis(0));
            let held = partial.bytes.capacity();
            prop_assert!(held <= 4 * source.filled.max(BUFFER_BYTES_MIN), "{} for {}", held, arrived);
            prop_assert_eq!(partial.arrived(), source.arrived());
            partial_reads.restore(slot, partial);
            partial_reads.release(slot, &mut buffers);
            prop_assert_eq!(buffers.allocated_bytes(), buffers.free_bytes());
        }
    }
}
