//! DEFLATE blocks that hold nothing (RFC 1951 §3.2): an inflater works on them and returns no byte.

/// Kinds of empty blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EmptyBlock {
    /// With Huffman codes of its own, whose tables the inflater has to build: 92 bits.
    Dynamic,
    /// With the fixed codes: 10 bits.
    Fixed,
}

impl EmptyBlock {
    /// The payload of a compressed message (RFC 7692 §7.2.1) that inflates to nothing: at most `bytes`
    /// long, and at least long enough for a few blocks.
    pub(super) fn payload(self, bytes: usize) -> Vec<u8> {
        let group = self.group();
        let groups = (bytes / group.len()).max(1);
        let mut payload = group.repeat(groups);
        // The three bits that begin an empty stored block, up to the next byte: its length is what a
        // sender leaves out at the end of a message.
        payload.push(0);
        payload
    }

    /// As many blocks as fill whole bytes.
    fn group(self) -> Vec<u8> {
        let mut bits = Bits::default();
        while bits.is_empty() || !bits.is_whole() {
            match self {
                Self::Dynamic => push_dynamic(&mut bits),
                Self::Fixed => {
                    bits.push(NOT_LAST, 1);
                    bits.push(FIXED, 2);
                    // The end of the block, which has seven bits in the fixed code.
                    bits.push(0, 7);
                }
            }
        }
        bits.bytes
    }
}

/// Appends a block whose only code is that of its own end.
fn push_dynamic(bits: &mut Bits) {
    bits.push(NOT_LAST, 1);
    bits.push(DYNAMIC, 2);
    // 257 codes of literals and lengths, 1 of distances, 18 of code lengths.
    bits.push(0, 5);
    bits.push(0, 5);
    bits.push(18 - 4, 4);
    // The lengths of the codes of code lengths, in the order 16, 17, 18, 0, 8, 7, …, 14, 1.
    for index in 0..18 {
        let length = match index {
            2 => 1,
            3 | 17 => 2,
            _ => 0,
        };
        bits.push(length, 3);
    }
    // Huffman codes come with their highest bit first: `0` is 18, `10` is 0, `11` is 1. Symbol 18 is 11
    // and up to 127 further zeros: 256 literals have no code.
    for zeros in [138, 118] {
        bits.push(0, 1);
        bits.push(zeros - 11, 7);
    }
    // The end of the block has a code of one bit, the distance none.
    bits.push(0b11, 2);
    bits.push(0b01, 2);
    // The end of the block.
    bits.push(0, 1);
}

/// Bits, of which each byte is filled from its lowest on (RFC 1951 §3.1.1).
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are in use; 0 if all of them are.
    used: u32,
}

impl Bits {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.used == 0
    }

    /// Appends the lowest `count` bits of `value`, the lowest first.
    fn push(&mut self, value: u8, count: u32) {
        for position in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (value >> position & 1) << self.used;
            }
            self.used = (self.used + 1) % u8::BITS;
        }
    }
}

const NOT_LAST: u8 = 0;
const FIXED: u8 = 0b01;
const DYNAMIC: u8 = 0b10;

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress, Status};

    use super::*;

    #[test]
    fn the_blocks_have_the_documented_lengths() {
        assert_eq!(EmptyBlock::Dynamic.group().len() * 8, 2 * 92);
        assert_eq!(EmptyBlock::Fixed.group().len() * 8, 4 * 10);
        assert_eq!(EmptyBlock::Fixed.group(), [0x02, 0x08, 0x20, 0x80, 0x00]);
    }

    #[test]
    fn messages_of_empty_blocks_inflate_to_nothing() {
        for block in [EmptyBlock::Dynamic, EmptyBlock::Fixed] {
            for bytes in [0, 1, 100, 70_000] {
                let mut payload = block.payload(bytes);
                assert!(payload.len() <= bytes.max(24) + 1, "{block:?}");
                // What the receiver appends (RFC 7692 §7.2.2).
                payload.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
                let (mut stream, mut room) = (Decompress::new(false), [0; 64]);
                let status = stream.decompress(&payload, &mut room, FlushDecompress::Sync).unwrap();
                assert_ne!(status, Status::StreamEnd, "no block is the last");
                assert_eq!(stream.total_in(), payload.len() as u64, "{block:?}, {bytes}");
                assert_eq!(stream.total_out(), 0);
            }
        }
    }
}
