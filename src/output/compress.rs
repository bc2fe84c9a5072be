//! Outgoing compressed messages: the compressors of one loop, and what its connections remember of
//! what they were sent. All of it counts against the pool; where that refuses, a message goes out
//! as it is.

use super::contexts::{ContextKey, Contexts};
use crate::pool::{Lease, SharedBudget};
use crate::timer::Millis;
use crate::ws::{Compressors, DeflateTerms};

/// Compresses what a loop's connections are sent.
#[derive(Debug)]
pub(crate) struct MessageCompressor {
    compressors: Compressors,
    contexts: Contexts,
    /// Always what both hold, between two calls.
    budget: Lease,
    now: Millis,
    /// Messages that were not compressed for want of memory.
    out_of_room: u64,
    /// Bytes of windows and tables that compressors were made ready with since the share began.
    setup_bytes: usize,
}

impl MessageCompressor {
    /// Nothing yet; `pool` counts bytes.
    pub(crate) fn new(pool: SharedBudget) -> Self {
        Self {
            compressors: Compressors::default(),
            contexts: Contexts::default(),
            budget: Lease::new(pool, 0),
            now: Millis::default(),
            out_of_room: 0,
            setup_bytes: 0,
        }
    }

    /// Says what time it is: it decides what is unused.
    pub(crate) fn set_now(&mut self, now: Millis) {
        self.now = now;
        self.compressors.set_now(now);
    }

    /// The payload of the message compressed; `None` if it is to be sent as it is. With a place, it
    /// may refer back to what the connection was sent before, and must be the next that it is sent.
    pub(crate) fn compress(
        &mut self,
        message: &[u8],
        terms: DeflateTerms,
        context: Option<ContextKey>,
    ) -> Option<&[u8]> {
        if message.len() < terms.bytes_min {
            return None;
        }
        self.compressors.shrink();
        self.release_unused();
        if !self.budget.take(self.compressors.bytes_wanted(message.len(), terms)) {
            self.out_of_room += 1;
            return None;
        }
        let dictionary = context.map(|context| self.contexts.dictionary(context));
        self.setup_bytes += TABLE_BYTES + dictionary.map_or(0, <[u8]>::len);
        let payload = self.compressors.compress(message, terms, dictionary)?;
        if let Some(context) = context {
            let wanted = self.contexts.bytes_wanted(context, message.len());
            if self.budget.take(wanted) {
                let before = self.contexts.bytes();
                self.contexts.remember(context, message, self.now);
                self.budget.give(before + wanted - self.contexts.bytes());
            } else {
                // A window may be given up at any time: what comes does not refer back to it.
                self.budget.give(self.contexts.forget(context.slot));
            }
        }
        Some(payload)
    }

    /// The connection in `slot` is no more, or is sent a message that its window does not hold:
    /// nothing that comes refers back beyond this.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.budget.give(self.contexts.forget(slot));
    }

    /// Frees what nobody used in the last `idle_ms`. Gives the moment to ask again, if there is
    /// anything to free.
    pub(crate) fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        if self.budget.used() == 0 {
            return None;
        }
        let compressors_due = self.compressors.trim(now, idle_ms);
        let contexts_due = self.contexts.forget_unused(now, idle_ms);
        self.release_unused();
        compressors_due.into_iter().chain(contexts_due).min()
    }

    /// Gives back what was charged and is not held.
    fn release_unused(&mut self) {
        let held = self.compressors.bytes() + self.contexts.bytes();
        debug_assert!(held <= self.budget.used());
        self.budget.give(self.budget.used().saturating_sub(held));
    }

    /// Another connection's share of the turn begins.
    pub(crate) fn begin_share(&mut self) {
        self.setup_bytes = 0;
    }

    /// What making ready for messages came to in this share, in bytes that take as long to inflate:
    /// for short ones that is nearly all the work.
    pub(crate) fn setup_bytes(&self) -> usize {
        self.setup_bytes
    }

    /// Bytes of memory charged to the pool.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// What connections remember of what they were sent.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// The compressors, to see what they did.
    pub(crate) fn compressors(&self) -> &Compressors {
        &self.compressors
    }

    /// Messages that were not compressed for want of memory.
    pub(crate) fn out_of_room(&self) -> u64 {
        self.out_of_room
    }
}

/// Clearing a compressor's tables takes as long as inflating so many bytes.
const TABLE_BYTES: usize = 4 << 10;
