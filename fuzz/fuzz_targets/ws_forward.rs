//! Frames of either side of a relay in parts of any size: what goes on is what goes on of the whole, but
//! for the fragments that long frames are split into.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::ws::{
    DecoderState, ForwardDecoder, Forwarded, Opcode, Progress, Sender, Violation, apply_mask, parse_close,
};

const MESSAGE_BYTES_MAX: usize = 1 << 12;
const WHOLE_BYTES_MAX: usize = 100;

fuzz_target!(|input: (Vec<u8>, u8, bool, bool)| {
    let (bytes, part, is_client, takes_compressed) = input;
    let sender = if is_client { Sender::Client } else { Sender::Server };
    let whole = forward(&bytes, usize::MAX, sender, takes_compressed);
    let parts = forward(&bytes, usize::from(part) + 1, sender, takes_compressed);
    // A text may be found out before all of it has come, and then some of it has gone on.
    assert_eq!(whole.1, parts.1);
    if whole.1.is_none() {
        assert!(parts.0 == whole.0);
    }
});

/// The messages and control frames that went on, those cut short included, and how it ended.
fn forward(
    stream: &[u8],
    part: usize,
    sender: Sender,
    takes_compressed: bool,
) -> (Vec<(Opcode, Vec<u8>)>, Option<Violation>) {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let (mut buffer, mut events, mut forwarded_bytes) = (Vec::new(), Vec::new(), 0);
    let mut message: Option<(Opcode, Vec<u8>)> = None;
    for piece in stream.chunks(part) {
        buffer.extend_from_slice(piece);
        loop {
            let limits = (MESSAGE_BYTES_MAX, WHOLE_BYTES_MAX);
            let (state, progress_now) = (&mut state, &mut progress);
            let mut decoder =
                ForwardDecoder::new(sender, state, progress_now, &mut forwarded_bytes, limits)
                    .taking_compressed(takes_compressed);
            let next = match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(next)) => next,
                Err(violation) => return (events, Some(violation)),
            };
            match next {
                Forwarded::Close(payload) => {
                    return (events, parse_close(&buffer[payload]).err());
                }
                Forwarded::Compressed { kind, payload } => {
                    events.push((kind.opcode(), buffer[payload].to_vec()));
                }
                Forwarded::Kept => {}
                Forwarded::Ping(payload) => events.push((Opcode::Ping, buffer[payload].to_vec())),
                Forwarded::Pong(payload) => events.push((Opcode::Pong, buffer[payload].to_vec())),
                Forwarded::Frame(frame) => {
                    let begun = message.get_or_insert((frame.opcode, Vec::new()));
                    let at = begun.1.len();
                    begun.1.extend_from_slice(&buffer[frame.payload]);
                    apply_mask(&mut begun.1[at..], frame.mask, 0);
                    if let Some(rest) = frame.rest {
                        buffer.clear();
                        rest.append_to(&mut buffer);
                        progress = Progress::default();
                    }
                    if frame.fin {
                        events.extend(message.take());
                    }
                }
            }
        }
    }
    (events, None)
}
