//! Masking: XOR with a repeated four-byte key (RFC 6455 §5.3).

/// Masks or unmasks `payload` in place. `phase` is the offset of its first byte in the payload of
/// the frame, so that a payload can be unmasked in parts while it arrives.
///
/// The loop works on words in safe code, which the compiler turns into vector instructions.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], phase: usize) {
    // XOR with 0 changes nothing. Clients that send large payloads may choose this key.
    if key == [0; 4] {
        return;
    }
    if payload.len() < ALIGNED_FROM_BYTES {
        return xor(payload, key, phase);
    }
    // Large payloads are aligned to cache lines. Behind a header of 14 bytes every fourth vector of
    // 16 bytes would cross a line, which takes a sixth longer in benches/mask.rs.
    let unaligned = payload.as_ptr().align_offset(CACHE_LINE_BYTES).min(payload.len());
    let (head, lines) = payload.split_at_mut(unaligned);
    xor(head, key, phase);
    xor(lines, key, phase + unaligned);
}

fn xor(payload: &mut [u8], key: [u8; 4], phase: usize) {
    // Rotate the key so that its first byte belongs to the first byte of `payload`.
    let turned = u32::from_le_bytes(key).rotate_right(8 * u32::from(phase.to_le_bytes()[0] % 4));
    let half = u64::from(u32::from_ne_bytes(turned.to_le_bytes()));
    let wide = half | half << 32;
    let (blocks, rest) = payload.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        xor_words(block.as_chunks_mut().0, wide);
    }
    let (words, rest) = rest.as_chunks_mut();
    xor_words(words, wide);
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

fn xor_words(words: &mut [[u8; 8]], key: u64) {
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

/// Two vectors of 16 bytes, which every x86-64 has. With larger blocks the compiler adds a second,
/// slower loop for what is left over.
const BLOCK_BYTES: usize = 32;
/// Below this, aligning costs more than it saves.
const ALIGNED_FROM_BYTES: usize = 2048;
const CACHE_LINE_BYTES: usize = 64;

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
        fn masking_equals_the_formula_of_the_rfc(
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
        fn alignment_of_a_large_payload_makes_no_difference(
            payload in prop::collection::vec(any::<u8>(), 2200..2500), key: [u8; 4],
            at in 0..100usize, phase in 0..9usize,
        ) {
            let mut fast = payload[at..].to_vec();
            let mut in_place = payload.clone();
            let mut slow = payload[at..].to_vec();
            apply_mask(&mut fast, key, phase);
            apply_mask(&mut in_place[at..], key, phase);
            naive(&mut slow, key, phase);
            prop_assert_eq!(&fast, &slow);
            prop_assert_eq!(&in_place[at..], slow);
        }

        #[test]
        fn masking_in_parts_equals_masking_the_whole(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            cut in 0..200usize,
        ) {
            let cut = cut.min(payload.len());
            let mut whole = payload.clone();
            apply_mask(&mut whole, key, 0);
            let mut parts = payload;
            apply_mask(&mut parts[..cut], key, 0);
            apply_mask(&mut parts[cut..], key, cut);
            prop_assert_eq!(whole, parts);
        }
    }
}
