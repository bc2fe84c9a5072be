//! How a connection refers to the entry that counts it.

use std::num::NonZeroU32;

/// An entry that counts a connection. It is the same one until [`SharedAddresses::release`](super::SharedAddresses::release).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRef(NonZeroU32);

impl AddressRef {
    pub(super) fn new(shard: usize, number: u32) -> Option<Self> {
        let shard = u32::try_from(shard).ok()?;
        let number = number.checked_mul(1 << SHARD_BITS)?.checked_add(shard)?;
        Self::from_bits(number.checked_add(1)?)
    }

    /// As a number that is not 0, and below 2³¹.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// What [`AddressRef::to_bits`] gave; `None` for 0.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    /// The shard.
    pub(super) fn shard(self) -> usize {
        (self.0.get() - 1) as usize % SHARDS
    }

    /// The number in the shard.
    pub(super) fn number(self) -> u32 {
        (self.0.get() - 1) >> SHARD_BITS
    }
}

/// So that loops seldom wait for each other, and a shard grows in little steps.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_one_entry_of_one_shard() {
        for (shard, number) in [(0, 0), (1, 0), (SHARDS - 1, 7), (3, 100_000_000)] {
            let own = AddressRef::new(shard, number).unwrap();
            assert_eq!((own.shard(), own.number()), (shard, number));
            assert_eq!(AddressRef::from_bits(own.to_bits()), Some(own));
            assert!(own.to_bits() < 1 << 31);
        }
        assert_eq!(AddressRef::new(0, u32::MAX), None);
        assert_eq!(AddressRef::from_bits(0), None);
    }
}
