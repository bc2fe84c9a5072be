use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::*;
use crate::timer::Millis;
use crate::ws::Violation;

pub(super) fn terms(window_bits: u8, level: u8) -> DeflateTerms {
    DeflateTerms { window_bits, level, bytes_min: 0 }
}

/// Inflates into buffers of `step` bytes, up to `bytes_max` in all.
fn inflate(payload: &[u8], step: usize, bytes_max: usize) -> Result<Vec<u8>, Violation> {
    inflate_after(&[], payload, step, bytes_max)
}

pub(super) fn inflate_after(
    dictionary: &[u8],
    payload: &[u8],
    step: usize,
    bytes_max: usize,
) -> Result<Vec<u8>, Violation> {
    let mut inflater = Inflater::default();
    let mut progress = inflater.start(dictionary, Millis(0));
    let mut message = Vec::new();
    loop {
        let mut room = vec![0; step];
        // Pieces of input and of output that never match.
        let filled = inflater.fill(payload, &mut progress, &mut room, step / 3)?;
        message.extend_from_slice(&room[..filled.written]);
        if filled.state == FillState::Whole {
            return Ok(message);
        }
        if message.len() > bytes_max {
            return Err(Violation::MessageTooBig);
        }
    }
}

/// A message compressed by the library, without takeover.
fn deflated(message: &[u8], window_bits: u8, level: u32) -> Vec<u8> {
    let mut stream = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
    let mut output = Vec::with_capacity(message.len() * 2 + 100);
    stream.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
    assert_eq!(stream.total_in(), message.len() as u64);
    output.truncate(output.len() - FLUSH_MARK.len());
    output
}

/// A message as a stream of its own, whose last block says so.
fn finished(message: &[u8], level: u32) -> Vec<u8> {
    let mut stream = Compress::new(Compression::new(level), false);
    let mut output = Vec::with_capacity(message.len() * 2 + 100);
    stream.compress_vec(message, &mut output, FlushCompress::Finish).unwrap();
    output
}

/// The naive twin: all at once, without checking the end of the last block.
pub(super) fn naively_inflated(payload: &[u8]) -> Option<Vec<u8>> {
    let mut stream = Decompress::new(false);
    let mut output = Vec::with_capacity(1 << 20);
    let input = [payload, &FLUSH_MARK].concat();
    stream.decompress_vec(&input, &mut output, FlushDecompress::Sync).ok()?;
    (stream.total_in() == input.len() as u64).then_some(output)
}

/// Text that repeats itself, or bytes that do not.
pub(super) fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "([a-e]{1,20}|the same again ){0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0..20_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #[test]
    fn a_compressed_message_is_inflated_back(
        messages in prop::collection::vec((message(), 9..=15u8, 1..=9u8), 1..5),
        step in 5..5000usize,
    ) {
        let mut compressors = Compressors::default();
        for (message, window_bits, level) in messages {
            let Some(payload) = compressors.compress(&message, terms(window_bits, level), None) else {
                // It did not become shorter. The library must agree.
                let bytes = deflated(&message, window_bits, u32::from(level)).len();
                prop_assert!(bytes >= message.len());
                continue;
            };
            prop_assert!(payload.len() < message.len());
            prop_assert_eq!(&inflate(payload, step, usize::MAX).unwrap(), &message);
            prop_assert_eq!(naively_inflated(payload).unwrap(), message);
        }
    }

    #[test]
    fn messages_compressed_by_the_library_are_inflated(
        message in message(), window_bits in 9..=15u8, level in 0..=9u32, step in 5..5000usize,
    ) {
        let payload = deflated(&message, window_bits, level);
        prop_assert_eq!(inflate(&payload, step, usize::MAX), Ok(message));
    }

    /// Each part ends in a last block, with nothing behind the last one.
    #[test]
    fn messages_of_finished_streams_are_inflated(
        parts in prop::collection::vec(message(), 1..4), level in 0..=9u32, step in 99..5000usize,
    ) {
        let payload: Vec<u8> = parts.iter().flat_map(|part| finished(part, level)).collect();
        prop_assert_eq!(inflate(&payload, step, usize::MAX), Ok(parts.concat()));
    }

    #[test]
    fn a_finished_stream_that_is_cut_is_refused(
        message in "([a-z]{1,9} ){1,60}", level in 1..=9u32, cut in any::<prop::sample::Index>(),
    ) {
        let payload = finished(message.as_bytes(), level);
        let cut = &payload[..cut.index(payload.len())];
        if !cut.is_empty() {
            prop_assert_eq!(inflate(cut, 1000, usize::MAX), Err(Violation::NotDeflate));
        }
    }

    #[test]
    fn changed_bytes_are_refused_or_inflated_as_by_the_library(
        message in message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        step in 5..5000usize,
    ) {
        let mut payload = deflated(&message, 15, 6);
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] ^= byte;
        }
        if let Ok(inflated) = inflate(&payload, step, 1 << 20) {
            // We go on after a last block, where the naive twin stops.
            if let Some(twin) = naively_inflated(&payload) {
                prop_assert_eq!(inflated, twin);
            }
        }
    }

    #[test]
    fn a_truncated_message_is_refused(
        message in "([a-z]{1,9} ){1,60}", level in 1..=9u32, cut in any::<prop::sample::Index>(),
    ) {
        let payload = deflated(message.as_bytes(), 15, level);
        let cut = &payload[..cut.index(payload.len())];
        // An empty payload is an empty message.
        if !cut.is_empty() {
            prop_assert_eq!(inflate(cut, 1000, usize::MAX), Err(Violation::NotDeflate));
        }
    }

    #[test]
    fn inflating_any_bytes_ends(
        payload in prop::collection::vec(any::<u8>(), 0..300), step in 1..500usize,
    ) {
        // It must neither panic nor loop for ever.
        let _ = inflate(&payload, step, 1 << 20);
    }
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_inflated() {
    let hello = Ok(b"Hello".to_vec());
    for payload in [
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        // A stored block.
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        // A last block, followed by an empty one.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        // A last block at the end, as a stream that was finished has it.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
        b"\x01\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f",
        // Two blocks.
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        assert_eq!(inflate(payload, 3, 100), hello, "{payload:x?}");
    }
    // §7.2.1 lets the empty block whose end is left out be a last one.
    assert_eq!(inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x04", 3, 100), hello);
    assert_eq!(inflate(b"\x01", 3, 100), Ok(Vec::new()));
    assert_eq!(inflate(b"\x00", 3, 100), Ok(Vec::new()));
    assert_eq!(inflate(b"", 3, 100), Ok(Vec::new()));
    assert_eq!(inflate(b"\x03\x00", 3, 100), Ok(Vec::new()));
    assert_eq!(inflate(b"\x01\x00\x00\xff\xff", 3, 100), Ok(Vec::new()));
    // A reference to the message before.
    assert_eq!(inflate(b"\xf2\x00\x11\x00\x00", 3, 100), Err(Violation::NotDeflate));
}

#[test]
fn a_decompression_bomb_is_stopped_at_the_limit() {
    let bomb = deflated(&vec![0; 64 << 20], 15, 9);
    assert!(bomb.len() < 70_000);
    assert_eq!(inflate(&bomb, 4096, 1 << 20), Err(Violation::MessageTooBig));
}

#[test]
fn short_messages_and_noise_are_not_compressed() {
    let mut compressors = Compressors::default();
    let least = DeflateTerms { bytes_min: 100, ..terms(15, 6) };
    assert_eq!(compressors.compress(&[b'a'; 99], least, None), None);
    assert_eq!(compressors.count(), 0);
    assert!(compressors.compress(&[b'a'; 100], least, None).is_some());
    assert_eq!(compressors.compress(b"", terms(15, 6), None), None);
    assert_eq!(compressors.compress(b"abc", terms(15, 6), None), None);
    assert_eq!((compressors.messages, compressors.bytes_in), (1, 100));
}

#[test]
fn any_amount_of_noise_leaves_a_working_compressor() {
    let mut random = 1_u32;
    for (level, bytes) in (1..=9).flat_map(|level| [(level, 1024), (level, 70_000)]) {
        let mut compressors = Compressors::default();
        // More in all than fits into zlib's pending output.
        for _ in 0..200_000 / bytes {
            let noise = std::iter::repeat_with(|| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random.to_be_bytes()[0]
            });
            let noise: Vec<u8> = noise.take(bytes).collect();
            assert_eq!(compressors.compress(&noise, terms(15, level), None), None);
        }
        assert_eq!(compressors.count(), 1, "the room for its output was too small");
        let text = [b'a'; 2000];
        let payload = compressors.compress(&text, terms(15, level), None).unwrap();
        assert_eq!(inflate(payload, 4096, usize::MAX).unwrap(), text);
    }
}

#[test]
fn unused_streams_are_freed() {
    let mut compressors = Compressors::default();
    assert_eq!(compressors.trim(Millis(0), 100), None);
    compressors.set_now(Millis(50));
    for window_bits in [15, 9, 15] {
        assert!(compressors.compress(&[b'a'; 100], terms(window_bits, 6), None).is_some());
    }
    assert_eq!(compressors.count(), 2);
    assert_eq!(compressors.trim(Millis(60), 100), Some(Millis(150)));
    assert_eq!(compressors.trim(Millis(150), 100), None);
    assert_eq!(compressors.count(), 0);

    let mut inflater = Inflater::default();
    assert_eq!(inflater.trim(Millis(0), 100), None);
    let mut progress = inflater.start(&[], Millis(7));
    let filled = inflater.fill(b"\x00", &mut progress, &mut [0; 9], 1);
    assert_eq!(filled, Ok(Filled { written: 0, read: 10, state: FillState::Whole }));
    assert_eq!(inflater.trim(Millis(8), 100), Some(Millis(107)));
    assert_eq!(inflater.trim(Millis(107), 100), None);
}
