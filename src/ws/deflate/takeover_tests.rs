//! Messages that refer back to those before them, against streams of the library that live as long
//! as a connection does.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::tests::{inflate_after, message, naively_inflated, terms};
use super::*;
use crate::ws::Violation;

/// A peer with a compressor of its own, for as long as it lives.
struct NaiveSender(Compress);

impl NaiveSender {
    fn new(window_bits: u8, level: u32) -> Self {
        Self(Compress::new_with_window_bits(Compression::new(level), false, window_bits))
    }

    fn say(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            // A second flush with nothing in between would give nothing (RFC 7692 §7.2.3.6).
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

/// A peer with a decompressor of its own, whose window is no larger than what was agreed.
struct NaiveReceiver(Decompress);

impl NaiveReceiver {
    fn new(window_bits: u8) -> Self {
        Self(Decompress::new_with_window_bits(false, window_bits))
    }

    fn hear(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, &FLUSH_MARK].concat();
        let mut output = Vec::with_capacity(1 << 20);
        let before = self.0.total_in();
        self.0.decompress_vec(&input, &mut output, FlushDecompress::Sync).unwrap();
        assert_eq!(self.0.total_in() - before, input.len() as u64);
        output
    }
}

/// The end of what went through, kept without thrift.
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

/// What becomes of a message on its way to the client.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Compressed, referring back where that helps.
    After,
    /// Compressed on its own and shared with others: our window is given up.
    Shared,
    /// As it is.
    Plain,
    /// The window was given up for want of use or memory before it.
    Forgotten,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        4 => Just(Way::After),
        1 => Just(Way::Shared),
        1 => Just(Way::Plain),
        1 => Just(Way::Forgotten),
    ]
}

proptest! {
    #[test]
    fn whoever_keeps_a_decompressor_understands_us(
        messages in prop::collection::vec((message(), way()), 1..20),
        window_bits in 9..=15u8,
        level in 1..=9u8,
    ) {
        let mut compressors = Compressors::default();
        let mut window = SlidingWindow::default();
        let mut client = NaiveReceiver::new(window_bits);
        let terms = terms(window_bits, level);
        for (message, way) in messages {
            if matches!(way, Way::Shared | Way::Forgotten) {
                window = SlidingWindow::default();
            }
            let dictionary = (!matches!(way, Way::Shared)).then_some(window.as_bytes());
            if matches!(way, Way::Plain) {
                // Also what was tried and then not sent leaves no trace.
                let _ = compressors.compress(&message, terms, dictionary);
                continue;
            }
            let Some(payload) = compressors.compress(&message, terms, dictionary) else { continue };
            let begins_window = dictionary.is_some_and(<[u8]>::is_empty);
            let growth_max = if begins_window { 12 } else { 0 };
            prop_assert!(payload.len() < message.len() + growth_max);
            if matches!(way, Way::Shared) {
                prop_assert_eq!(naively_inflated(payload).unwrap(), message.clone());
            } else {
                window.slide(&message, window_bits);
            }
            prop_assert_eq!(client.hear(payload), message);
        }
    }

    #[test]
    fn whoever_keeps_a_compressor_is_understood(
        messages in prop::collection::vec(message(), 1..20),
        window_bits in 9..=15u8,
        level in 0..=9u32,
        step in 5..5000usize,
    ) {
        let mut client = NaiveSender::new(window_bits, level);
        let mut window = SlidingWindow::default();
        for message in messages {
            let payload = client.say(&message);
            let inflated = inflate_after(window.as_bytes(), &payload, step, usize::MAX);
            prop_assert_eq!(inflated.as_ref(), Ok(&message));
            window.slide(&message, window_bits);
        }
    }

    #[test]
    fn any_bytes_come_to_an_end_after_others(
        dictionary in prop::collection::vec(any::<u8>(), 0..600),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        // Neither a panic nor a walk without end.
        let _ = inflate_after(&dictionary, &payload, 100, 1 << 20);
    }
}

#[test]
fn the_example_of_rfc_7692_section_7_2_3_2() {
    assert_eq!(inflate_after(b"Hello", b"\xf2\x00\x11\x00\x00", 3, 100), Ok(b"Hello".to_vec()));
    // Further back than anything was said.
    let result = inflate_after(b"llo", b"\xf2\x00\x11\x00\x00", 3, 100);
    assert_eq!(result, Err(Violation::NotDeflate));
}

#[test]
fn nothing_is_found_beyond_the_window_that_was_agreed() {
    let noise: Vec<u8> = (0..2000_u32).map(|at| (at * at % 8191).to_le_bytes()[0]).collect();
    let mut client = NaiveSender::new(15, 9);
    let mut window = SlidingWindow::default();
    for message in [&noise[..100], &noise[100..1100]] {
        let payload = client.say(message);
        assert!(inflate_after(window.as_bytes(), &payload, 500, 5000).is_ok());
        window.slide(message, 10);
    }
    // It repeats what lies 1,100 bytes back: its window is larger than the agreed 1,024.
    let payload = client.say(&noise[..100]);
    assert!(payload.len() < 50);
    let result = inflate_after(window.as_bytes(), &payload, 500, 5000);
    assert_eq!(result, Err(Violation::NotDeflate));
}

#[test]
fn small_similar_messages_shrink_to_a_third_and_less() {
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
