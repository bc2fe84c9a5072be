//! Seeded random numbers, so that a run can be repeated byte for byte.

/// One step of `SplitMix64`. It is a bijection: different inputs have different outputs.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(GOLDEN_GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A `SplitMix64` generator.
///
/// RFC 6455 §5.3 asks for mask keys that no page script can predict, which protects proxies from
/// browsers. Here one program makes both payload and mask, so there is nothing to protect, and
/// repeatable bytes are worth more than entropy.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn mask_key(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = mix(self.state).to_le_bytes();
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        [a, b, c, d]
    }
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_matches_the_published_first_outputs_of_seed_1234567() {
        let seed: u64 = 1_234_567;
        assert_eq!(mix(seed), 6_457_827_717_110_365_317);
        assert_eq!(mix(seed.wrapping_add(GOLDEN_GAMMA)), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_same_seed_gives_the_same_mask_keys() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        let keys: Vec<_> = (0..4).map(|_| one.mask_key()).collect();
        assert!(keys.iter().all(|key| *key == other.mask_key()));
        assert_ne!(keys[0], keys[1]);
    }
}
