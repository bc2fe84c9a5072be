//! What this loop has to say to others, and the connections that are not read while that piles up.

use super::flags::Flags;
use super::slot::Conn;
use crate::key::ConnKey;
use crate::mail::LoopMessage;
use crate::shrink::Shrink as _;

/// Messages to other loops that the event loop has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// With the loop that each is for.
    messages: Vec<(u16, LoopMessage)>,
    /// Mailboxes of other loops are full: connections whose messages go there are not read.
    is_full: bool,
    paused: Vec<ConnKey>,
}

impl Outbox {
    pub(super) fn send(&mut self, to: u16, message: LoopMessage) {
        self.messages.push((to, message));
    }

    /// How many wait to be taken.
    pub(super) fn count(&self) -> usize {
        self.messages.len()
    }

    /// Whether the list has room for more than usual.
    #[inline]
    pub(super) fn has_grown(&self) -> bool {
        self.messages.capacity() > MESSAGES_KEPT
    }

    /// Takes them out.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, (u16, LoopMessage)> {
        // Here and not behind the drain, which borrows them: a burst is given back a turn later.
        if self.messages.capacity() > MESSAGES_KEPT {
            self.messages.shrink_if_sparse(MESSAGES_KEPT);
        }
        self.messages.drain(..)
    }

    /// Whether mailboxes are full.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Says whether mailboxes are full. Gives the connections that may be read again.
    pub(super) fn set_full(&mut self, is_full: bool) -> Vec<ConnKey> {
        self.is_full = is_full;
        if is_full { Vec::new() } else { std::mem::take(&mut self.paused) }
    }

    /// A connection has led to messages, while `before` were there: it pauses if mailboxes are full.
    pub(super) fn pause_if_full<S>(&mut self, conn: &mut Conn<S>, key: ConnKey, before: usize) {
        // Only the connections that cause messages are held up. An echo next to them goes on.
        if self.is_full && self.messages.len() > before && conn.flags.raise(Flags::PAUSED_BY_MAIL) {
            self.paused.push(key);
        }
    }
}

/// About 14 KiB.
const MESSAGES_KEPT: usize = 128;
