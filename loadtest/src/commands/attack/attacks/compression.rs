//! Compressed messages that are cheap to send and expensive to inflate, or to compress again.

use super::empty_blocks::EmptyBlock;
use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::commands::attack::frames::compressed_frame;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::random::mix;
use crate::target::ECHO_PATH;
use crate::websocket::{DataKind, Deflater};

/// Every connection sends messages of empty blocks, half of them of one kind, half of the other.
pub(super) fn inflate(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let frames = [EmptyBlock::Dynamic, EmptyBlock::Fixed]
        .map(|block| compressed_frame(DataKind::Binary, &block.payload(INFLATE_BYTES)));
    flood(attackers, &frames)
}

/// Every connection sends messages that the server has to compress when it sends them back.
pub(super) fn compress(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let payload = Deflater::default().compress(&slow_text(COMPRESS_BYTES));
    flood(attackers, &[compressed_frame(DataKind::Text, &payload)])
}

/// Sends frames as fast as the server takes them.
fn flood(attackers: &mut Attackers<'_>, frames: &[Vec<u8>]) -> Result<(), CommandError> {
    let keys = attackers.open(ECHO_PATH, attackers.options.connections)?;
    attackers.begin()?;
    attackers.drive(|driver, counts| {
        for (key, frame) in keys.iter().zip(frames.iter().cycle()) {
            counts.fill(driver, *key, frame);
        }
        if driver.len() == 0 { NextTurn::Done } else { NextTurn::Wait(TURN_MAX) }
    })
}

/// Text of two letters in a random order. It is full of short matches, and each of them has
/// thousands of candidates for a longer one.
fn slow_text(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|index| if mix(index) & 1 == 0 { b'a' } else { b'b' }).collect()
}

const INFLATE_BYTES: usize = 512 * 1024;
const COMPRESS_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_text_is_cheap_to_send() {
        let text = slow_text(COMPRESS_BYTES);
        assert!(text.is_ascii());
        assert!(Deflater::default().compress(&text).len() * 2 < text.len());
    }
}
