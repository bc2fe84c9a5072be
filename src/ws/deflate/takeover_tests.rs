//! Messages with context takeover, against streams of the library that live as long as a
//! connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::tests::{inflate_after, message, naively_inflated, terms};
use super::*;
use crate::ws::Violation;

/// A peer that keeps its compressor for the whole connection.
struct NaiveSender(Compress);

impl NaiveSender {
    fn new(window_bits: u8, level: u32) -> Self {
        Self(Compress::new_with_window_bits(Compression::new(level), false, window_bits))
    }

    fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            // A second flush without input would write nothing (RFC 7692 §7.2.3.6).
            return vec![0];
        }
        let mut output = Vec::with_capacity(message.len() * 2 + 100);
        let before = self.0.total_in();
        self.0.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        assert_eq!(self.0.total_in() - before, message.len() as u64);
        output.truncate(output.len() - FLUSH_MARK.len());
        output
    }
}

/// A peer that keeps its decompressor for the whole connection, with the agreed window.
struct NaiveReceiver(Decompress);

impl NaiveReceiver {
    fn new(window_bits: u8) -> Self {
        Self(Decompress::new_with_window_bits(false, window_bits))
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, &FLUSH_MARK].concat();
        let mut output = Vec::with_capacity(1 << 20);
        let before = self.0.total_in();
        self.0.decompress_vec(&input, &mut output, FlushDecompress::Sync).unwrap();
        assert_eq!(self.0.total_in() - before, input.len() as u64);
        output
    }
}

/// The naive twin of a window.
#[derive(Default)]
struct SlidingWindow(Vec<u8>);

impl SlidingWindow {
    fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn slide(&mut self, message: &[u8], window_bits: u8) {
        self.0.extend_from_slice(message);
        self.0.drain(..self.0.len().saturating_sub(1 << window_bits));
    }
}

/// How a message is sent to the client.
#[derive(Clone, Copy, Debug)]
enum Sending {
    /// Compressed with the window as dictionary.
    After,
    /// Compressed without a dictionary, for several clients: the window is dropped.
    Shared,
    /// Uncompressed.
    Plain,
    /// Compressed after the window was dropped for lack of use or memory.
    Forgotten,
}

fn sending() -> impl Strategy<Value = Sending> {
    prop_oneof![
        4 => Just(Sending::After),
        1 => Just(Sending::Shared),
        1 => Just(Sending::Plain),
        1 => Just(Sending::Forgotten),
    ]
}

proptest! {
    #[test]
    fn our_messages_are_inflated_by_a_peer_that_keeps_its_decompressor(
        messages in prop::collection::vec((message(), sending()), 1..20),
        window_bits in 9..=15u8,
        level in 1..=9u8,
    ) {
        let mut compressors = Compressors::default();
        let mut window = SlidingWindow::default();
        let mut client = NaiveReceiver::new(window_bits);
        let terms = terms(window_bits, level);
        for (message, sending) in messages {
            if matches!(sending, Sending::Shared | Sending::Forgotten) {
                window = SlidingWindow::default();
            }
            let dictionary = (!matches!(sending, Sending::Shared)).then_some(window.as_bytes());
            if matches!(sending, Sending::Plain) {
                // A payload that is not sent must not change what follows.
                let _ = compressors.compress(&message, terms, dictionary);
                continue;
            }
            let Some(payload) = compressors.compress(&message, terms, dictionary) else { continue };
            let begins_window = dictionary.is_some_and(<[u8]>::is_empty);
            let growth_max = if begins_window { 12 } else { 0 };
            prop_assert!(payload.len() < message.len() + growth_max);
            if matches!(sending, Sending::Shared) {
                prop_assert_eq!(naively_inflated(payload).unwrap(), message.clone());
            } else {
                window.slide(&message, window_bits);
            }
            prop_assert_eq!(client.inflate(payload), message);
        }
    }

    #[test]
    fn messages_of_a_peer_that_keeps_its_compressor_are_inflated(
        messages in prop::collection::vec(message(), 1..20),
        window_bits in 9..=15u8,
        level in 0..=9u32,
        step in 5..5000usize,
    ) {
        let mut client = NaiveSender::new(window_bits, level);
        let mut window = SlidingWindow::default();
        for message in messages {
            let payload = client.compress(&message);
            let inflated = inflate_after(window.as_bytes(), &payload, step, usize::MAX);
            prop_assert_eq!(inflated.as_ref(), Ok(&message));
            window.slide(&message, window_bits);
        }
    }

    #[test]
    fn inflating_any_bytes_with_a_dictionary_ends(
        dictionary in prop::collection::vec(any::<u8>(), 0..600),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        // It must neither panic nor loop for ever.
        let _ = inflate_after(&dictionary, &payload, 100, 1 << 20);
    }
}

#[test]
fn the_example_of_rfc_7692_section_7_2_3_2_is_inflated() {
    assert_eq!(inflate_after(b"Hello", b"\xf2\x00\x11\x00\x00", 3, 100), Ok(b"Hello".to_vec()));
    // A reference beyond the dictionary.
    let result = inflate_after(b"llo", b"\xf2\x00\x11\x00\x00", 3, 100);
    assert_eq!(result, Err(Violation::NotDeflate));
}

#[test]
fn a_reference_beyond_the_agreed_window_is_refused() {
    let noise: Vec<u8> = (0..2000_u32).map(|at| (at * at % 8191).to_le_bytes()[0]).collect();
    let mut client = NaiveSender::new(15, 9);
    let mut window = SlidingWindow::default();
    for message in [&noise[..100], &noise[100..1100]] {
        let payload = client.compress(message);
        assert!(inflate_after(window.as_bytes(), &payload, 500, 5000).is_ok());
        window.slide(message, 10);
    }
    // It repeats what lies 1,100 bytes back: its window is larger than the agreed 1,024.
    let payload = client.compress(&noise[..100]);
    assert!(payload.len() < 50);
    let result = inflate_after(window.as_bytes(), &payload, 500, 5000);
    assert_eq!(result, Err(Violation::NotDeflate));
}

#[test]
fn small_similar_messages_shrink_to_a_third_or_less() {
    let mut compressors = Compressors::default();
    let mut window = SlidingWindow::default();
    let (mut alone, mut after) = (0, 0);
    for serial in 0..200 {
        let message = format!(
            "{{\"type\":\"tick\",\"serial\":{serial},\"symbol\":\"EURUSD\",\"bid\":1.{:05},\"ask\":1.{:05}}}",
            serial * 7919 % 99_991,
            serial * 7907 % 99_989,
        );
        let own = compressors.compress(message.as_bytes(), terms(12, 3), None);
        alone += own.map_or(message.len(), <[u8]>::len);
        let dictionary = Some(window.as_bytes());
        let taken_over = compressors.compress(message.as_bytes(), terms(12, 3), dictionary);
        after += taken_over.map_or(message.len(), <[u8]>::len);
        window.slide(message.as_bytes(), 12);
    }
    assert!(after * 3 < alone, "{after} of {alone}");
}
