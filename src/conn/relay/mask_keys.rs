//! Masking keys for frames to backends. A sender that chooses what is masked must not foresee them (RFC 6455
//! §5.3, §10.3): they come from the kernel's generator (getrandom(2)), many at a time.

use ring::rand::{SecureRandom as _, SystemRandom};

/// The masking keys of one loop.
#[derive(Debug, Default)]
pub(in crate::conn) struct MaskKeys {
    /// [`KEYS`] keys, or none before the first is asked for.
    keys: Vec<[u8; 4]>,
    /// How many of them are used up.
    used: usize,
}

impl MaskKeys {
    /// A key that no frame had; `None` if the kernel gives none.
    #[inline]
    pub(in crate::conn) fn next(&mut self) -> Option<[u8; 4]> {
        if self.used >= self.keys.len() {
            self.fill()?;
        }
        let key = self.keys.get(self.used).copied();
        self.used += 1;
        key
    }

    #[cold]
    fn fill(&mut self) -> Option<()> {
        self.keys.resize(KEYS, [0; 4]);
        self.used = KEYS;
        SystemRandom::new().fill(self.keys.as_flattened_mut()).ok()?;
        self.used = 0;
        Some(())
    }
}

/// One call for this number of frames costs less than a hundredth of what they do.
const KEYS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_given_twice() {
        let mut keys = MaskKeys::default();
        let mut given: Vec<_> = (0..3 * KEYS).map(|_| keys.next().unwrap()).collect();
        given.sort_unstable();
        given.dedup();
        // Two of 768 are equal by chance once in 14,000 runs.
        assert!(given.len() >= 3 * KEYS - 2, "{}", given.len());
    }
}
