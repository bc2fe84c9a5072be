//! Masking: XOR with a four-byte key that repeats (RFC 6455 §5.3).

/// Masks or unmasks `payload` in place. `phase` is the position of its first byte in the frame's
/// payload, so that a payload can be handled in pieces as it arrives.
///
/// Eight bytes at a time in safe code: the compiler turns the loop into vector instructions, and
/// the test compares it with the byte-wise formula of the RFC.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], phase: usize) {
    if key == [0; 4] {
        return;
    }
    // The key as it stands at the first byte.
    let turned = u32::from_le_bytes(key).rotate_right(8 * u32::from(phase.to_le_bytes()[0] % 4));
    let half = u64::from(u32::from_ne_bytes(turned.to_le_bytes()));
    let wide = half | half << 32;
    let mut words = payload.chunks_exact_mut(8);
    for word in words.by_ref() {
        if let Ok(bytes) = <&mut [u8; 8]>::try_from(word) {
            *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(payload: &mut [u8], key: [u8; 4], phase: usize) {
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[(at + phase) % 4];
        }
    }

    proptest! {
        #[test]
        fn equals_the_byte_wise_formula(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            phase in 0..9usize,
        ) {
            let mut fast = payload.clone();
            let mut slow = payload;
            apply_mask(&mut fast, key, phase);
            naive(&mut slow, key, phase);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn pieces_make_the_whole(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            cut in 0..200usize,
        ) {
            let cut = cut.min(payload.len());
            let mut whole = payload.clone();
            apply_mask(&mut whole, key, 0);
            let mut pieces = payload;
            apply_mask(&mut pieces[..cut], key, 0);
            apply_mask(&mut pieces[cut..], key, cut);
            prop_assert_eq!(whole, pieces);
        }
    }
}
