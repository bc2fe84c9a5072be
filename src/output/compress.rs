//! The compression of outgoing messages: the compressors of one loop, and the windows of its
//! connections. Their memory counts against the pool; where the pool has no room, a message is sent
//! uncompressed, which every client accepts.

use super::contexts::{ContextKey, Contexts};
use crate::pool::{Lease, SharedBudget};
use crate::timer::Millis;
use crate::work::prices;
use crate::ws::{Compressors, DeflateTerms};

/// How the messages of a route are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// From 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Messages with fewer bytes are sent as they are.
    pub bytes_min: usize,
    /// The base-two logarithm of the window, 9 to 15, within which the messages of either side may
    /// refer back to earlier ones (context takeover, RFC 7692 §7.1.1). With `None` each message is
    /// compressed on its own.
    pub context_bits: Option<u8>,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self { level: DEFLATE_LEVEL, bytes_min: DEFLATE_BYTES_MIN, context_bits: None }
    }
}

/// The level of a route that names none: half the time of the usual 6, and nearly as small.
pub const DEFLATE_LEVEL: u8 = 3;
/// The least message that is compressed on a route that names none.
pub const DEFLATE_BYTES_MIN: usize = 1024;
/// The window of a route that takes over contexts and names none, as its base-two logarithm: what
/// 4 KiB hold serves messages of up to 3 KiB nearly as well as the largest window.
pub const DEFLATE_CONTEXT_BITS: u8 = 12;

/// Compresses the messages to a loop's connections.
#[derive(Debug)]
pub(crate) struct MessageCompressor {
    compressors: Compressors,
    contexts: Contexts,
    /// The bytes that `compressors` and `contexts` hold. During a call it is at least that; between
    /// two calls exactly.
    budget: Lease,
    now: Millis,
    /// Messages that were sent uncompressed because the pool had no room.
    out_of_room: u64,
    /// What was charged of the work of `compressors`.
    charged: u64,
}

impl MessageCompressor {
    /// Without compressors and windows. Memory counts against `pool`, in bytes.
    pub(crate) fn new(pool: SharedBudget) -> Self {
        Self {
            compressors: Compressors::bounded(prices::STEP_MAX),
            contexts: Contexts::default(),
            budget: Lease::new(pool, 0),
            now: Millis::default(),
            out_of_room: 0,
            charged: 0,
        }
    }

    /// Sets the time that counts as the last use in the calls that follow.
    pub(crate) fn set_now(&mut self, now: Millis) {
        self.now = now;
        self.compressors.set_now(now);
    }

    /// Compresses a message. `None` if it has to be sent uncompressed: it is too short, does not become
    /// shorter, takes too long, or the pool has no room.
    ///
    /// With a context, the result may refer back to earlier messages of that connection. It must then
    /// be sent, and be the next message of the connection: the client's window slides with each.
    pub(crate) fn compress(
        &mut self,
        message: &[u8],
        terms: DeflateTerms,
        context: Option<ContextKey>,
    ) -> Option<&[u8]> {
        if message.len() < terms.bytes_min {
            return None;
        }
        let Some(level) = prices::affordable_level(message.len(), terms.level) else {
            self.compressors.given_up += 1;
            return None;
        };
        let terms = DeflateTerms { level, ..terms };
        // The output of the message before is still held, because that call returned a slice of it.
        self.compressors.shrink();
        self.release_unused();
        if !self.budget.take(self.compressors.bytes_wanted(message.len(), terms)) {
            self.out_of_room += 1;
            return None;
        }
        let dictionary = context.map(|context| self.contexts.dictionary(context));
        let payload = self.compressors.compress(message, terms, dictionary)?;
        if let Some(context) = context {
            // The window slides only after the message has been compressed, since the dictionary must
            // be the window that the client has when the message arrives.
            let wanted = self.contexts.bytes_wanted(context, message.len());
            if self.budget.take(wanted) {
                let before = self.contexts.bytes();
                self.contexts.remember(context, message, self.now);
                // `wanted` is an upper bound; what was not needed goes back.
                self.budget.give(before + wanted - self.contexts.bytes());
            } else {
                // Dropping a window is always allowed: later messages then refer back to less than
                // the client remembers.
                self.budget.give(self.contexts.forget(context.slot));
            }
        }
        Some(payload)
    }

    /// Drops the window of the connection in `slot`. Call it when the connection is gone, and when it
    /// is sent a compressed message that did not go through its context.
    ///
    /// A publication is such a message. It is compressed once, without a dictionary, and shared by all
    /// recipients. The window of each client slides with it and the one here does not, so distances
    /// would be wrong in any later message that refers back beyond the publication. A slow policy may
    /// also drop the publication from the queue before it is sent; then too nothing may refer to it.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.budget.give(self.contexts.forget(slot));
    }

    /// Frees what was not used in the last `idle_ms`. Returns when to call this again, if anything is
    /// held.
    pub(crate) fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        if self.budget.used() == 0 {
            return None;
        }
        let compressors_due = self.compressors.trim(now, idle_ms);
        let contexts_due = self.contexts.forget_unused(now, idle_ms);
        self.release_unused();
        compressors_due.into_iter().chain(contexts_due).min()
    }

    /// Returns to the pool what is charged and no longer held.
    fn release_unused(&mut self) {
        let held = self.compressors.bytes() + self.contexts.bytes();
        debug_assert!(held <= self.budget.used());
        self.budget.give(self.budget.used().saturating_sub(held));
    }

    /// What compressing has cost that is not charged yet.
    #[inline]
    pub(crate) fn work(&self) -> u64 {
        self.compressors.work - self.charged
    }

    /// As [`MessageCompressor::work`], for whom it is charged to.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u64 {
        let work = self.work();
        self.charged = self.compressors.work;
        work
    }

    /// Bytes of memory charged to the pool.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// The windows of connections.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// The compressors, for their counts.
    pub(crate) fn compressors(&self) -> &Compressors {
        &self.compressors
    }

    /// Messages that were sent uncompressed because the pool had no room.
    pub(crate) fn out_of_room(&self) -> u64 {
        self.out_of_room
    }
}
