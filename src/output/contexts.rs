//! The windows that connections take over from message to message, for one direction. They are kept
//! here and not in the slots of connections, because few connections have one: the route must allow
//! context takeover, the client must agree to it, and a compressed message must have been sent.

use std::collections::HashMap;

use crate::pool::{Window, Windows};
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// The key of a connection's window, with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContextKey {
    /// The connection's slot in the table.
    pub(crate) slot: u32,
    /// The base-two logarithm of the window.
    pub(crate) window_bits: u8,
}

/// The windows of one direction of a loop's connections.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    by_slot: HashMap<u32, Context>,
    windows: Windows,
    /// When to look for windows that were not used.
    sweep_due: Option<Millis>,
}

#[derive(Debug, Default)]
struct Context {
    window: Window,
    last_used: Millis,
}

impl Contexts {
    /// The bytes that the next message of a connection may refer back to; empty without a window.
    pub(crate) fn dictionary(&self, key: ContextKey) -> &[u8] {
        let context = self.by_slot.get(&key.slot);
        context.map_or(&[], |context| self.windows.bytes(&context.window))
    }

    /// An upper bound of the bytes of memory that [`Contexts::remember`] adds for a message of
    /// `message_len` bytes.
    pub(crate) fn bytes_wanted(&self, key: ContextKey, message_len: usize) -> usize {
        let wanted = |window| self.windows.bytes_wanted(window, message_len, key.window_bits);
        match self.by_slot.get(&key.slot) {
            Some(context) => wanted(&context.window),
            None => ENTRY_BYTES + wanted(&Window::default()),
        }
    }

    /// Slides the window of a connection over a message that was sent or received compressed. The
    /// memory must have been charged before, by [`Contexts::bytes_wanted`].
    pub(crate) fn remember(&mut self, key: ContextKey, message: &[u8], now: Millis) {
        let context = self.by_slot.entry(key.slot).or_default();
        self.windows.slide(&mut context.window, message, key.window_bits);
        context.last_used = now;
    }

    /// Drops the window of the connection in `slot`, if it has one. Returns the bytes of memory that
    /// are no longer held.
    pub(crate) fn forget(&mut self, slot: u32) -> usize {
        let before = self.bytes();
        let Some(mut context) = self.by_slot.remove(&slot) else { return 0 };
        self.windows.release(&mut context.window);
        self.by_slot.shrink_if_sparse(0);
        before - self.bytes()
    }

    /// Drops the windows that were not used in the last `idle_ms`. Each call that is due looks at all
    /// windows, so only one in `idle_ms` is, and a window may stay for twice that time. Returns when to
    /// call this again, if there are windows.
    pub(crate) fn forget_unused(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        if self.by_slot.is_empty() {
            self.sweep_due = None;
            return None;
        }
        let due = *self.sweep_due.get_or_insert_with(|| now.plus(idle_ms));
        if now < due {
            return Some(due);
        }
        let windows = &mut self.windows;
        self.by_slot.retain(|_, context| {
            let is_kept = now < context.last_used.plus(idle_ms);
            if !is_kept {
                windows.release(&mut context.window);
            }
            is_kept
        });
        self.by_slot.shrink_if_sparse(0);
        self.sweep_due = (!self.by_slot.is_empty()).then(|| now.plus(idle_ms));
        self.sweep_due
    }

    /// Bytes of memory held for the connection in `slot`, as far as they are in use.
    pub(crate) fn bytes_of(&self, slot: u32) -> usize {
        let context = self.by_slot.get(&slot);
        context.map_or(0, |own| ENTRY_BYTES + self.windows.bytes(&own.window).len())
    }

    /// The number of connections that have a window.
    pub(crate) fn count(&self) -> usize {
        self.by_slot.len()
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.by_slot.len() * ENTRY_BYTES + self.windows.held_bytes()
    }

    /// The slots of the connections that have a window.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_slot.keys().copied()
    }
}

/// The most bytes of memory that a connection takes for windows of this size, in both directions.
#[must_use]
pub const fn context_bytes_max(window_bits: u8) -> usize {
    2 * (ENTRY_BYTES + (1 << window_bits))
}

/// Bytes that a window takes beside its contents: its entry in the map, which may be half empty.
const ENTRY_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> ContextKey {
        ContextKey { slot, window_bits: 10 }
    }

    #[test]
    fn bytes_wanted_are_the_bytes_held_afterwards() {
        let mut contexts = Contexts::default();
        for (slot, len, wanted, held) in [
            (7, 0, ENTRY_BYTES, ENTRY_BYTES),
            (7, 100, 512, 512),
            (7, 500, 1024, 1024 - 512),
            (7, 5000, 0, 0),
            (8, 5000, ENTRY_BYTES + 1024, ENTRY_BYTES + 1024),
        ] {
            let before = contexts.bytes();
            assert_eq!(contexts.bytes_wanted(key(slot), len), wanted);
            contexts.remember(key(slot), &vec![b'a'; len], Millis(0));
            assert_eq!(contexts.bytes() - before, held);
        }
        assert_eq!(contexts.dictionary(key(7)), [b'a'; 1024]);
        assert_eq!(contexts.dictionary(key(9)), b"");
        contexts.forget(8);
        assert_eq!(contexts.bytes_wanted(key(8), 5000), ENTRY_BYTES, "the room is still there");
        contexts.forget(8);
        contexts.forget(7);
        assert_eq!((contexts.count(), contexts.bytes()), (0, 0));
    }

    #[test]
    fn an_entry_takes_no_more_than_is_charged() {
        // A map doubles when seven eighths are full, and each place has a byte of its own.
        let place_bytes = size_of::<(u32, Context)>() + 1;
        assert!(place_bytes * 16 / 7 <= ENTRY_BYTES, "{place_bytes}");
    }

    #[test]
    fn windows_that_were_not_used_are_dropped() {
        let mut contexts = Contexts::default();
        assert_eq!(contexts.forget_unused(Millis(0), 100), None);
        for slot in 0..1000 {
            contexts.remember(key(slot), b"early", Millis(10));
        }
        assert_eq!(contexts.forget_unused(Millis(20), 100), Some(Millis(120)));
        contexts.remember(key(3), b"late", Millis(60));
        assert_eq!(contexts.forget_unused(Millis(119), 100), Some(Millis(120)));
        assert_eq!(contexts.count(), 1000);
        assert_eq!(contexts.forget_unused(Millis(120), 100), Some(Millis(220)));
        // Its window lies behind three free ones, and the block shrinks in steps that depend on the
        // order of the map: it may keep four times what is in use.
        let held_windows = (contexts.bytes() - ENTRY_BYTES) / 512;
        assert_eq!(contexts.count(), 1);
        assert!((4..=16).contains(&held_windows), "{held_windows}");
        assert_eq!(contexts.dictionary(key(3)), b"earlylate");
        assert!(contexts.by_slot.capacity() < 10);
        assert_eq!(contexts.forget_unused(Millis(220), 100), None);
        assert_eq!((contexts.count(), contexts.bytes()), (0, 0));
    }
}
