//! Where a segment stands among those of its queue: what kind it is, and how many messages end up to
//! its own end, in four bytes.

use std::num::NonZeroU32;

/// The kind of a segment in the two lowest bits, and above them a running number of messages. It is
/// the number of the segment before, plus the messages of this one; it wraps, so only the difference
/// of two numbers in one queue means anything.
///
/// It is never zero, so that a slab keeps the tag of a free entry in it: an entry takes no more
/// memory than the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order(NonZeroU32);

/// What a segment refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// Bytes that belong to one connection.
    Block,
    /// As `Block`, beginning in the middle of a frame. The first bytes of that frame are in the
    /// segment before it or, at the head, already on the wire.
    Continuation,
    /// A frame that many connections share.
    Frame,
}

impl SegmentKind {
    const fn bits(self) -> NonZeroU32 {
        let bits = match self {
            Self::Block => 1,
            Self::Continuation => 2,
            Self::Frame => 3,
        };
        match NonZeroU32::new(bits) {
            Some(bits) => bits,
            None => NonZeroU32::MIN,
        }
    }
}

impl Order {
    /// Of the first segment of a queue. Its number does not matter: what of its messages waits is
    /// seen from how much of it is written.
    #[inline]
    pub(super) fn first(kind: SegmentKind) -> Self {
        Self(kind.bits())
    }

    /// Of the segment behind this one, which holds `messages` messages.
    #[inline]
    pub(super) fn followed_by(self, kind: SegmentKind, messages: u32) -> Self {
        let number = (self.0.get() & NUMBER_MASK).wrapping_add(messages << KIND_BITS);
        Self(kind.bits() | number)
    }

    /// Of another kind, with the same number.
    pub(super) fn of_kind(self, kind: SegmentKind) -> Self {
        self.followed_by(kind, 0)
    }

    #[inline]
    pub(super) fn kind(self) -> SegmentKind {
        match self.0.get() & !NUMBER_MASK {
            1 => SegmentKind::Block,
            2 => SegmentKind::Continuation,
            _ => SegmentKind::Frame,
        }
    }

    /// The messages in the segments behind `earlier` up to this one. Less than 2³⁰ of them may be in
    /// one queue: their bytes are bounded by `backlog_hard_bytes`, and where that is 2 GiB, a queue
    /// of the shortest messages of two bytes is full before.
    #[inline]
    pub(super) fn messages_behind(self, earlier: Self) -> usize {
        let difference = (self.0.get() & NUMBER_MASK).wrapping_sub(earlier.0.get() & NUMBER_MASK);
        (difference >> KIND_BITS) as usize
    }
}

const KIND_BITS: u32 = 2;
const NUMBER_MASK: u32 = !0b11;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [SegmentKind; 3] =
        [SegmentKind::Block, SegmentKind::Continuation, SegmentKind::Frame];

    proptest! {
        #[test]
        fn numbers_count_messages_also_where_they_wrap(
            before in 0..u32::MAX >> 2,
            messages in prop::collection::vec((0..3usize, 0..1_000_000u32), 0..50),
        ) {
            let head = Order::first(SegmentKind::Block).followed_by(SegmentKind::Frame, before);
            let (mut tail, mut count) = (head, 0);
            for (kind, messages) in messages {
                tail = tail.followed_by(KINDS[kind], messages);
                count += messages as usize;
                prop_assert_eq!(tail.kind(), KINDS[kind]);
                prop_assert_eq!(tail.messages_behind(head), count);
            }
        }
    }

    #[test]
    fn a_free_entry_needs_no_memory_of_its_own() {
        assert_eq!(size_of::<Option<Order>>(), 4);
    }
}
