//! Names for things that live in slots: a connection's key, and a link from one slot to another.
//!
//! A slot is reused as soon as its connection is gone, so an index alone may mean a stranger.
//! A [`ConnKey`] therefore carries the generation of the connection it was made for, and every
//! look-up compares it.

/// Identifies one connection of one event loop, for the life of that connection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Slot in the loop's connection table.
    pub index: u32,
    /// Serial number of the connection in that loop, never [`ConnKey::NOT_A_CONNECTION`].
    pub generation: u32,
}

impl ConnKey {
    /// The generation that marks poll tokens of listeners and mailboxes.
    pub const NOT_A_CONNECTION: u32 = 0;

    /// Packs the key into a poll token.
    #[must_use]
    pub const fn to_token(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The reverse of [`ConnKey::to_token`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    pub const fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// An optional index into a slab: four bytes where `Option<u32>` would take eight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotRef(u32);

impl SlotRef {
    /// Points nowhere.
    pub const NONE: Self = Self(u32::MAX);

    /// A link to `index`, which must be below `u32::MAX`.
    #[must_use]
    pub fn to(index: u32) -> Self {
        debug_assert_ne!(index, u32::MAX);
        Self(index)
    }

    /// The index, if the link points anywhere.
    #[must_use]
    pub fn index(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }

    /// Whether the link points nowhere.
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

/// Narrows a slab index; slabs here are bounded far below `u32::MAX` by descriptor and byte limits.
#[must_use]
pub(crate) fn slot_number(index: usize) -> u32 {
    debug_assert!(index < u32::MAX as usize);
    u32::try_from(index).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_the_whole_key() {
        for key in [
            ConnKey { index: 0, generation: 1 },
            ConnKey { index: u32::MAX, generation: u32::MAX },
            ConnKey { index: 7, generation: 0x8000_0000 },
        ] {
            assert_eq!(ConnKey::from_token(key.to_token()), key);
        }
    }

    #[test]
    fn a_link_is_four_bytes() {
        assert_eq!(size_of::<SlotRef>(), 4);
        assert_eq!(SlotRef::default().index(), None);
        assert_eq!(SlotRef::to(3).index(), Some(3));
    }
}
