//! What is read into: the loop's receive buffer, or a connection's partial-read buffer while a
//! request head or a message of it is unfinished.

use super::inflate::MessageInflater;
use crate::key::SlotRef;
use crate::pool::{Buffers, OverBudget, PartialReads, ReadBuffer, Unfinished};
use crate::timer::{Millis, Tick};

/// The receive side of one loop.
#[derive(Debug)]
pub(crate) struct Input {
    /// What reads go into unless the connection has a partial-read buffer.
    shared: ReadBuffer,
    partial_reads: PartialReads,
    inflater: MessageInflater,
}

impl Input {
    /// With a shared receive buffer of `receive_buffer_bytes`.
    pub(crate) fn new(receive_buffer_bytes: usize) -> Self {
        Self {
            shared: ReadBuffer::new(vec![0; receive_buffer_bytes]),
            partial_reads: PartialReads::default(),
            inflater: MessageInflater::default(),
        }
    }

    /// Lends the buffer to read into: the partial-read buffer, or the shared one where there is
    /// none. [`Input::keep`] takes it back.
    #[inline]
    pub(crate) fn lend(&mut self, partial: SlotRef) -> ReadBuffer {
        match self.partial_reads.borrow(partial) {
            Some(buffer) => buffer,
            None => std::mem::take(&mut self.shared),
        }
    }

    /// Makes the shared buffer longer where it is shorter than what must fit into it at once. Called
    /// while it is not lent.
    pub(crate) fn make_shared_room(&mut self, bytes: usize) {
        if self.shared.bytes.len() < bytes {
            self.shared = ReadBuffer::new(vec![0; bytes]);
        }
    }

    /// The room of the shared buffer, while it is not lent.
    pub(crate) fn shared_room(&mut self) -> &mut [u8] {
        &mut self.shared.bytes
    }

    /// Takes back the shared buffer, in which nothing is unfinished.
    #[inline]
    pub(crate) fn take_back(&mut self, mut buffer: ReadBuffer) {
        buffer.clear();
        self.shared = buffer;
    }

    /// Takes back what was lent. What is unfinished in it is kept if there is a use for it.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory to keep it; it is lost then.
    pub(crate) fn keep(
        &mut self,
        partial: &mut SlotRef,
        unfinished: Option<Unfinished>,
        mut buffer: ReadBuffer,
        memory: &mut Buffers,
        now: Millis,
    ) -> Result<Kept, OverBudget> {
        let unfinished = unfinished.filter(|_| buffer.kept_bytes() > 0);
        if partial.is_none() {
            let mut kept = Ok(Kept::Nothing);
            if let Some(kind) = unfinished {
                match self.partial_reads.keep(&buffer, kind, memory, now) {
                    Ok(link) => {
                        *partial = link;
                        kept = Ok(Kept::Begun);
                    }
                    Err(error) => kept = Err(error),
                }
            }
            // Also when there was no memory to keep the rest: the loop has only this one.
            buffer.clear();
            self.shared = buffer;
            return kept;
        }
        if let Some(kind) = unfinished {
            let is_begun = buffer.progress.is_begun_anew();
            // Moved to the front, so that a stream of messages in one partial-read buffer does not
            // make it grow.
            buffer.close_up();
            self.partial_reads.shrink(&mut buffer, kind, memory, now);
            self.partial_reads.restore(*partial, buffer);
            if !is_begun {
                return Ok(Kept::GoesOn);
            }
            self.partial_reads.begin(*partial, now.tick());
            return Ok(Kept::Begun);
        }
        self.partial_reads.restore(*partial, buffer);
        self.release(partial, memory);
        Ok(Kept::Nothing)
    }

    /// Notes whether the connection is read, where it has a partial-read buffer. Gives whether it is
    /// and was not.
    pub(crate) fn set_paused(&mut self, partial: SlotRef, is_paused: bool, now: Tick) -> bool {
        self.partial_reads.set_paused(partial, is_paused, now)
    }

    /// When the message in a partial-read buffer was begun, as if it had been later by the time in
    /// which the connection was not read, and how many bytes of it have arrived.
    pub(crate) fn begun(&self, partial: SlotRef) -> Option<(Tick, usize)> {
        self.partial_reads.begun(partial)
    }

    /// Gives a partial-read buffer back to the pool.
    pub(crate) fn release(&mut self, partial: &mut SlotRef, memory: &mut Buffers) {
        self.partial_reads.release(std::mem::take(partial), memory);
    }

    /// As [`Input::release`], for a connection that ends. A buffer that is lent comes back by
    /// [`Input::keep`], which must find its slot.
    pub(crate) fn release_unless_lent(&mut self, partial: &mut SlotRef, memory: &mut Buffers) {
        if !self.partial_reads.is_lent(*partial) {
            self.release(partial, memory);
        }
    }

    /// The size of a partial-read buffer, 0 without one and while it is lent.
    pub(crate) fn partial_bytes(&self, partial: SlotRef) -> usize {
        self.partial_reads.bytes(partial)
    }

    /// Charges the pool for tables that have grown. To be called at the end of each turn.
    pub(crate) fn settle(&mut self, memory: &mut Buffers) -> Result<(), OverBudget> {
        self.partial_reads.settle(memory)
    }

    /// Whether the tables are no larger than what a loop has anyway.
    #[inline]
    pub(crate) fn is_bare(&self) -> bool {
        self.partial_reads.is_bare()
    }

    /// Frees the decompressor and parts of tables that lie unused. Gives the moment to ask again.
    pub(crate) fn trim(
        &mut self,
        now: Millis,
        idle_ms: u64,
        memory: &mut Buffers,
    ) -> Option<Millis> {
        let due = self.partial_reads.trim(now, idle_ms);
        self.inflater.trim(now, idle_ms, memory).into_iter().chain(due).min()
    }

    /// Bytes that are held and charged to the pool, counted anew.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn recount(&self) -> usize {
        self.partial_reads.recount() + self.inflater.recount()
    }

    /// Decompresses messages that came compressed.
    #[inline]
    pub(crate) fn inflater(&mut self) -> &mut MessageInflater {
        &mut self.inflater
    }

    /// As [`Input::inflater`], to see what it did.
    pub(crate) fn inflated(&self) -> &MessageInflater {
        &self.inflater
    }

    /// Connections that hold a partial-read buffer.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn partial_count(&self) -> usize {
        self.partial_reads.count()
    }
}

/// What became of a buffer that was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing was unfinished in it.
    Nothing,
    /// What is unfinished in it was begun since it was lent.
    Begun,
    /// What is unfinished in it was so before.
    GoesOn,
}

/// The end of a large message for whose rest a buffer has room. It is read to its end straight into
/// its place, and what follows it into the receive buffer, by the same call:
///
/// ```text
///   partial-read buffer  [ header | payload so far | rest ]
///   receive buffer                                        [ further messages … ]
///                                                 ◄──────── one read ────────►
/// ```
pub(super) fn large_end(buffer: &ReadBuffer) -> Option<usize> {
    let end = buffer.message_end().filter(|end| *end >= LARGE_BYTES)?;
    (buffer.filled + 1..=buffer.bytes.len()).contains(&end).then_some(end)
}

/// Shorter messages are read together with what follows them, and answered in one write.
const LARGE_BYTES: usize = 16 << 10;
