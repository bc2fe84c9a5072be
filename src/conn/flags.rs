//! Facts about a connection, most of them yes or no: four bytes for all.

use crate::http::Deflate;
use crate::output::ContextKey;

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// An edge said that bytes or the end of input wait in the socket, and no read has shown
    /// since that they are all gone. No further edge will come for them.
    pub(crate) const INPUT_PENDING: Self = Self(1);
    /// An edge said that the peer has ended its half: read until it shows.
    pub(crate) const INPUT_ENDING: Self = Self(1 << 1);
    /// A read showed the end of input.
    pub(crate) const INPUT_ENDED: Self = Self(1 << 2);
    /// The partial-read buffer may hold whole messages that were not decoded, because reading was
    /// paused or the connection's share of the turn was used up.
    pub(crate) const UNDECODED: Self = Self(1 << 3);
    /// Not read because replies pile up.
    pub(crate) const PAUSED_BY_BACKLOG: Self = Self(1 << 4);
    /// Stands in the run queue.
    pub(crate) const QUEUED: Self = Self(1 << 5);
    /// Stands in the list of connections to write to.
    pub(crate) const DIRTY: Self = Self(1 << 6);
    /// The socket took less than it was given; an edge will say when it takes more.
    pub(crate) const WRITE_BLOCKED: Self = Self(1 << 7);
    /// Write interest is registered. It stays, for it costs nothing once it is there.
    pub(crate) const WRITE_INTEREST: Self = Self(1 << 8);
    /// A ping is out and nothing came since.
    pub(crate) const PINGED: Self = Self(1 << 9);
    /// Counted as half-open.
    pub(crate) const HALF_OPEN: Self = Self(1 << 10);
    /// Counted against `refusals_max` rather than `connections_max`.
    pub(crate) const REFUSED: Self = Self(1 << 11);
    /// Not read because the mailboxes that its messages go to are full.
    pub(crate) const PAUSED_BY_MAIL: Self = Self(1 << 12);
    /// The ping that is out waits in the queue.
    pub(crate) const PING_UNWRITTEN: Self = Self(1 << 13);
    /// Not read until its service says whether it is let in.
    pub(crate) const UNDECIDED: Self = Self(1 << 14);
    /// Not read because the connection that its bytes go on to has too many of them waiting, or the
    /// backend that its service tells of its messages.
    pub(crate) const PAUSED_BY_PARTNER: Self = Self(1 << 15);
    /// The peer sent its close frame: it has no more to say.
    pub(crate) const CLOSE_RECEIVED: Self = Self(1 << 25);
    /// The stream holds sealed bytes that the socket had no room for.
    pub(crate) const UNSENT: Self = Self(1 << 26);
    /// Its deadline may be nearer than what is filed in the wheel.
    pub(crate) const REARM: Self = Self(1 << 27);
    /// Of a line client: its first line was looked at, and is one.
    pub(crate) const SPEAKS_LINES: Self = Self(1 << 29);
    /// A compressed message of it waits to be inflated further.
    pub(crate) const INFLATING: Self = Self(1 << 30);
    /// Not read because it has sent as much as a rate of its route allows.
    pub(crate) const PAUSED_BY_RATE: Self = Self(1 << 28);
    /// Not read because publications of it wait to be delivered.
    pub(crate) const PAUSED_BY_FANOUT: Self = Self(1 << 31);
    /// Not read because of what it has sent before, whatever it does now.
    pub(crate) const PAUSED_BY_PAST: Self =
        Self(Self::PAUSED_BY_MAIL.0 | Self::PAUSED_BY_FANOUT.0 | Self::PAUSED_BY_RATE.0);
    /// What a flush that took everything leaves to be done.
    pub(crate) const AFTER_FLUSH: Self = Self(Self::PAUSED_BY_BACKLOG.0 | Self::REARM.0);

    /// Of a relay, which has no lines: our half ends once what waits is written.
    pub(crate) const ENDS_OUTPUT: Self = Self::SPEAKS_LINES;

    /// Every reason for which a connection is not read. What has arrived meanwhile gave its edge, so
    /// whatever takes a reason away puts the connection into the run queue.
    const PAUSED: Self = Self(
        Self::PAUSED_BY_BACKLOG.0
            | Self::PAUSED_BY_FANOUT.0
            | Self::PAUSED_BY_MAIL.0
            | Self::PAUSED_BY_PARTNER.0
            | Self::PAUSED_BY_RATE.0
            | Self::UNDECIDED.0,
    );

    /// Four bits that are no flags: how large a window messages to it may be compressed with, or 0
    /// where no compression was agreed.
    const DEFLATE_WINDOW_SHIFT: u32 = 16;
    const DEFLATE_WINDOW_MASK: u32 = 0xF << Self::DEFLATE_WINDOW_SHIFT;

    /// Our messages to it may refer back to those before them.
    pub(crate) const TAKES_OVER: Self = Self(1 << 20);

    /// Of a connection that is refused, which has no messages: it is so because of overload.
    pub(crate) const SHED: Self = Self::TAKES_OVER;

    /// Four more: the window that its own messages may refer back in, or 0 where they may not.
    const CLIENT_CONTEXT_SHIFT: u32 = 21;
    const CLIENT_CONTEXT_MASK: u32 = 0xF << Self::CLIENT_CONTEXT_SHIFT;

    /// The base-two logarithm of its window, if compression was agreed.
    pub(crate) fn deflate_window_bits(self) -> Option<u8> {
        let bits = (self.0 & Self::DEFLATE_WINDOW_MASK) >> Self::DEFLATE_WINDOW_SHIFT;
        u8::try_from(bits).ok().filter(|bits| *bits > 0)
    }

    /// Notes what was agreed about compression.
    pub(crate) fn set_deflate(&mut self, deflate: Deflate) {
        self.set_deflate_window_bits(deflate.window_bits);
        if deflate.takes_over {
            self.set(Self::TAKES_OVER);
        }
        self.set_client_context_bits(deflate.client_context_bits.unwrap_or(0));
    }

    /// Notes that compression was agreed, with a window of at most 2¹⁵ bytes.
    fn set_deflate_window_bits(&mut self, window_bits: u8) {
        debug_assert!(window_bits <= 15);
        self.0 &= !Self::DEFLATE_WINDOW_MASK;
        self.0 |= (u32::from(window_bits) & 0xF) << Self::DEFLATE_WINDOW_SHIFT;
    }

    /// Notes that messages of the client may refer back to those before them, within a window of at
    /// most 2¹⁵ bytes.
    fn set_client_context_bits(&mut self, window_bits: u8) {
        debug_assert!(window_bits <= 15);
        self.0 &= !Self::CLIENT_CONTEXT_MASK;
        self.0 |= (u32::from(window_bits) & 0xF) << Self::CLIENT_CONTEXT_SHIFT;
    }

    /// Where what the client sent is kept if its messages may refer back to it and its slot is
    /// this.
    pub(crate) fn client_context(self, slot: u32) -> Option<ContextKey> {
        let bits = (self.0 & Self::CLIENT_CONTEXT_MASK) >> Self::CLIENT_CONTEXT_SHIFT;
        let window_bits = u8::try_from(bits).ok().filter(|bits| *bits > 0)?;
        Some(ContextKey { slot, window_bits })
    }

    /// Whether messages refer back to those before them, in either direction.
    pub(crate) fn has_contexts(self) -> bool {
        self.0 & (Self::TAKES_OVER.0 | Self::CLIENT_CONTEXT_MASK) != 0
    }

    /// Whether compression was agreed.
    #[inline]
    pub(crate) fn has_deflate(self) -> bool {
        self.0 & Self::DEFLATE_WINDOW_MASK != 0
    }

    /// Whether it is not read for now, for whatever reason.
    #[inline]
    pub(crate) fn is_paused(self) -> bool {
        self.0 & Self::PAUSED.0 != 0
    }

    /// The reasons for which the connection is not read for now, in the words of docs/operations.md.
    pub(crate) fn pauses(self) -> impl Iterator<Item = &'static str> {
        let reasons = [
            (Self::PAUSED_BY_BACKLOG, "backlog"),
            (Self::PAUSED_BY_FANOUT, "fan-out"),
            (Self::PAUSED_BY_MAIL, "mailboxes"),
            (Self::PAUSED_BY_PARTNER, "partner"),
            (Self::PAUSED_BY_RATE, "rate"),
            (Self::UNDECIDED, "decision"),
        ];
        reasons.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }

    /// Whether any of these flags is set.
    #[inline]
    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(crate) fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// Clears the flag; whether it was set.
    pub(crate) fn take(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.clear(flag);
        had
    }

    /// Sets the flag; whether it was not set before.
    pub(crate) fn raise(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.set(flag);
        !had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stands_beside_the_flags() {
        let mut flags = Flags::default();
        flags.set(Flags::UNDECIDED);
        assert_eq!(flags.deflate_window_bits(), None);
        for bits in [15, 9] {
            flags.set_deflate_window_bits(bits);
            assert_eq!(flags.deflate_window_bits(), Some(bits));
            assert_eq!((flags.has(Flags::UNDECIDED), flags.has(Flags::QUEUED)), (true, false));
        }
    }

    #[test]
    fn every_pause_has_a_word() {
        let mut words = std::collections::BTreeSet::new();
        for bit in 0..u32::BITS {
            let flags = Flags(1 << bit);
            assert_eq!(flags.pauses().count(), usize::from(flags.is_paused()), "bit {bit}");
            words.extend(flags.pauses());
        }
        assert_eq!(words.len(), Flags::PAUSED.0.count_ones() as usize);
    }

    #[test]
    fn the_contexts_of_both_sides_are_told_apart() {
        let mut flags = Flags::default();
        flags.set_deflate_window_bits(15);
        assert!(!flags.has_contexts());
        flags.set_client_context_bits(8);
        flags.set_client_context_bits(9);
        assert!(flags.has_contexts() && !flags.has(Flags::TAKES_OVER));
        assert_eq!(flags.client_context(7), Some(ContextKey { slot: 7, window_bits: 9 }));
        assert_eq!(flags.deflate_window_bits(), Some(15));

        let mut flags = Flags::default();
        flags.set(Flags::TAKES_OVER);
        assert!(flags.has_contexts());
        assert_eq!((flags.client_context(7), flags.deflate_window_bits()), (None, None));
    }
}
