//! Numbers as text, which take no allocation: each publication has several of them.

/// A number in decimal digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    digits: [u8; DIGITS_MAX],
    /// Where the digits begin, which end with the array.
    start: usize,
}

impl Decimal {
    pub(super) fn new(number: u64) -> Self {
        let (mut digits, mut start, mut rest) = ([b'0'; DIGITS_MAX], DIGITS_MAX, number);
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10).to_le_bytes()[0];
            rest /= 10;
            if rest == 0 {
                return Self { digits, start };
            }
        }
    }

    #[cfg(feature = "redis")]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }

    #[cfg(feature = "nats")]
    pub(super) fn as_str(&self) -> &str {
        // Digits are always text.
        str::from_utf8(&self.digits[self.start..]).unwrap_or_default()
    }
}

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

#[cfg(all(test, feature = "nats", feature = "redis"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_written_as_the_library_writes_it(number: u64, bits in 0..64_u32) {
            for number in [number >> bits, 0, u64::MAX] {
                let (decimal, text) = (Decimal::new(number), number.to_string());
                prop_assert_eq!((decimal.as_str(), decimal.as_bytes()), (&*text, text.as_bytes()));
            }
        }
    }
}
