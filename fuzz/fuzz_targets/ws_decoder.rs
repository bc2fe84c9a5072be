//! Frames of a client in parts of any size: the events are those of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::ws::{Decoder, DecoderState, Event, Progress, Violation, parse_close};

const MESSAGE_BYTES_MAX: usize = 1 << 16;

fuzz_target!(|input: (Vec<u8>, u8, bool)| {
    let (bytes, part, takes_compressed) = input;
    let whole = decode(&bytes, usize::MAX, takes_compressed);
    let parts = decode(&bytes, usize::from(part) + 1, takes_compressed);
    // A violation may show before the bytes of the same read that follow it.
    assert_eq!(whole, parts);
});

/// What was decoded, and how it ended.
fn decode(
    stream: &[u8],
    part: usize,
    takes_compressed: bool,
) -> (Vec<(&'static str, Vec<u8>)>, Option<Violation>) {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let (mut buffer, mut events) = (Vec::new(), Vec::new());
    for piece in stream.chunks(part) {
        buffer.extend_from_slice(piece);
        loop {
            let mut decoder = Decoder::new(&mut state, &mut progress, MESSAGE_BYTES_MAX)
                .taking_compressed(takes_compressed);
            let event = match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(violation) => return (events, Some(violation)),
            };
            match event {
                Event::Close(payload) => {
                    let violation = parse_close(&buffer[payload.clone()]).err();
                    events.push(("close", buffer[payload].to_vec()));
                    return (events, violation);
                }
                Event::Message { payload, .. } => {
                    events.push(("message", buffer[payload].to_vec()));
                }
                Event::Ping(payload) => events.push(("ping", buffer[payload].to_vec())),
                Event::Pong(payload) => events.push(("pong", buffer[payload].to_vec())),
            }
        }
    }
    (events, None)
}
