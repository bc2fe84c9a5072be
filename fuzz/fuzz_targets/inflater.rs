//! The payload of a compressed message in pieces of input and of output of any size: what comes out
//! is what comes out of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::timer::Millis;
use tidegate::ws::{FillState, Inflater, Violation};

const MESSAGE_BYTES_MAX: usize = 1 << 16;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, u16, u16)| {
    let (payload, dictionary, read_max, room) = input;
    let whole = inflate(&payload, &dictionary, usize::MAX, MESSAGE_BYTES_MAX + 1);
    let pieces = inflate(&payload, &dictionary, usize::from(read_max), usize::from(room) + 1);
    assert_eq!(whole, pieces);
});

/// The message; an error where it is too long as well.
fn inflate(
    payload: &[u8],
    dictionary: &[u8],
    read_max: usize,
    room: usize,
) -> Result<Vec<u8>, Violation> {
    let mut inflater = Inflater::default();
    let mut progress = inflater.start(dictionary, Millis(0));
    let mut message = Vec::new();
    let mut output = vec![0; room];
    loop {
        // Never more than a byte beyond the limit, or whether damage behind it is seen would depend
        // on the pieces.
        let room = output.len().min(MESSAGE_BYTES_MAX + 1 - message.len());
        let filled = inflater.fill(payload, &mut progress, &mut output[..room], read_max);
        let filled = filled.map_err(|_| Violation::NotDeflate)?;
        message.extend_from_slice(&output[..filled.written]);
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Violation::MessageTooBig);
        }
        if filled.state == FillState::Whole {
            return Ok(message);
        }
    }
}
