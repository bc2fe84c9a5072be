//! Keys: of connections, of slots in slabs, and of the loops that are home to topics.
//!
//! A slot is reused as soon as its connection is removed, so an index alone may name a later
//! connection. A [`ConnKey`] therefore carries the generation of the connection for which it was
//! made, and every look-up compares it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Identifies one connection of one event loop. It never matches a later connection in the same
/// slot before 2³² connections of the loop have come and gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Slot in the loop's connection table.
    pub index: u32,
    /// Serial number of the connection in its loop, never [`ConnKey::NOT_A_CONNECTION`].
    pub generation: u32,
}

impl ConnKey {
    /// The generation that marks poll tokens of listeners and mailboxes.
    pub const NOT_A_CONNECTION: u32 = 0;

    /// Packs the key into a poll token, which epoll returns with each event (`epoll_data`,
    /// epoll_ctl(2)).
    #[must_use]
    pub const fn to_token(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// Unpacks what [`ConnKey::to_token`] packed.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
    pub const fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// An optional index into a slab, in four bytes where `Option<u32>` takes eight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotRef(u32);

impl SlotRef {
    /// Refers to no slot.
    pub const NONE: Self = Self(u32::MAX);

    /// A reference to slot `index`, which must be below `u32::MAX`.
    #[must_use]
    pub fn to(index: u32) -> Self {
        debug_assert_ne!(index, u32::MAX);
        Self(index)
    }

    /// The index, if this refers to a slot.
    #[must_use]
    pub fn index(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }

    /// Whether this refers to no slot.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl Default for SlotRef {
    fn default() -> Self {
        Self::NONE
    }
}

impl std::fmt::Debug for SlotRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index() {
            Some(index) => write!(formatter, "→{index}"),
            None => formatter.write_str("→none"),
        }
    }
}

/// The home loop of a topic or room: the one loop that decides the order of what happens in it. All
/// loops get the same answer for the same `name` and `loop_count`; it is below `loop_count`, or 0
/// if that is 0.
#[must_use]
pub(crate) fn home_loop(name: &str, loop_count: u16) -> u16 {
    // `DefaultHasher::new` has a fixed key, unlike the `RandomState` of a map, so all loops of the
    // process agree. No other process sees the result, so it may change with the Rust version.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    u16::try_from(hasher.finish() % u64::from(loop_count.max(1))).unwrap_or(0)
}

/// Narrows a slab index. Descriptor and byte limits bound all slabs far below `u32::MAX`, which is
/// kept free for [`SlotRef::NONE`].
#[must_use]
pub(crate) fn slot_number(index: usize) -> u32 {
    debug_assert!(index < u32::MAX as usize);
    u32::try_from(index).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_key_back() {
        for key in [
            ConnKey { index: 0, generation: 1 },
            ConnKey { index: u32::MAX, generation: u32::MAX },
            ConnKey { index: 7, generation: 0x8000_0000 },
        ] {
            assert_eq!(ConnKey::from_token(key.to_token()), key);
        }
    }

    #[test]
    fn home_loops_are_below_the_loop_count_and_spread_over_it() {
        for loop_count in 0..9 {
            let home = home_loop("lobby", loop_count);
            assert!(home < loop_count.max(1));
            assert_eq!(home_loop("lobby", loop_count), home);
        }
        let homes = (0..100).map(|room| home_loop(&room.to_string(), 4));
        assert_eq!(homes.collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_slot_ref_takes_four_bytes() {
        assert_eq!(size_of::<SlotRef>(), 4);
        assert_eq!(SlotRef::default().index(), None);
        assert_eq!(SlotRef::to(3).index(), Some(3));
    }
}
