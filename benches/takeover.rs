//! The cost and the gain of context takeover, with messages like those of a price feed: each
//! compressed on its own, by a shared stream with the window as dictionary as in the gateway, and
//! by a stream that only this connection uses.

use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tidegate::pool::{Window, Windows};
use tidegate::timer::Millis;
use tidegate::ws::{Compressors, DeflateTerms, FillState, Inflater};

#[expect(clippy::print_stdout, reason = "it prints a table")]
fn main() {
    println!(
        "| messages of | window | on its own | with dictionary | stream of its own | inflated, with dictionary | by a stream |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for bytes in [100, 300, 1000, 4000] {
        let messages = feed(bytes);
        let mean = messages.iter().map(Vec::len).sum::<usize>() / messages.len();
        for window_bits in 9..=15 {
            let [alone, with_dictionary, inflated] = gateway(&messages, window_bits);
            let [stream, inflated_by_stream] = streams(&messages, window_bits);
            let window = 1_u32 << window_bits;
            println!(
                "| {mean} | {window} | {alone} | {with_dictionary} | {stream} | {inflated} | {inflated_by_stream} |"
            );
        }
    }
}

/// The average size of a message, and the time for all.
struct Cost {
    bytes: usize,
    time: Duration,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = self.time.as_secs_f64() * 1e6 / MESSAGES as f64;
        write!(formatter, "{} bytes, {us:.1} us", self.bytes / MESSAGES)
    }
}

/// Runs `each` for every message and adds up the bytes that it returns.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn cost(messages: &[Vec<u8>], mut each: impl FnMut(usize, &[u8]) -> usize) -> Cost {
    let mut total = Cost { bytes: 0, time: Duration::ZERO };
    for (number, message) in messages.iter().enumerate() {
        let start = Instant::now();
        total.bytes += each(number, message);
        total.time += start.elapsed();
    }
    total
}

fn gateway(messages: &[Vec<u8>], window_bits: u8) -> [Cost; 3] {
    let terms = DeflateTerms { window_bits, level: 3, bytes_min: 0 };
    let (mut compressors, mut inflater) = (Compressors::default(), Inflater::default());
    let mut payloads = Vec::new();
    let alone = cost(messages, |_, message| {
        compressors.compress(message, terms, None).map_or(message.len(), <[u8]>::len)
    });
    let (mut windows, mut window) = (Windows::default(), Window::default());
    let with_dictionary = cost(messages, |_, message| {
        let dictionary = Some(windows.bytes(&window));
        let payload = compressors.compress(message, terms, dictionary).map(<[u8]>::to_vec);
        let bytes = payload.as_ref().map_or(message.len(), Vec::len);
        if payload.is_some() {
            windows.slide(&mut window, message, window_bits);
        }
        payloads.push(payload);
        bytes
    });
    let (mut windows, mut window) = (Windows::default(), Window::default());
    let mut buffer = vec![0; 1 << 16];
    let inflated = cost(messages, |number, message| {
        let Some(payload) = &payloads[number] else { return message.len() };
        let mut progress = inflater.start(windows.bytes(&window), Millis(0));
        let filled = inflater.fill(payload, &mut progress, &mut buffer, usize::MAX);
        assert!(filled.is_ok_and(|filled| {
            filled.state == FillState::Whole && filled.written == message.len()
        }));
        windows.slide(&mut window, &buffer[..message.len()], window_bits);
        message.len()
    });
    [alone, with_dictionary, inflated]
}

fn streams(messages: &[Vec<u8>], window_bits: u8) -> [Cost; 2] {
    let mut compress = Compress::new_with_window_bits(Compression::new(3), false, window_bits);
    let mut decompress = Decompress::new_with_window_bits(false, window_bits);
    let mut payloads = Vec::new();
    let there = cost(messages, |_, message| {
        let mut payload = Vec::with_capacity(message.len() + 64);
        let status = compress.compress_vec(message, &mut payload, FlushCompress::Sync);
        assert!(status.is_ok());
        payloads.push(payload);
        payloads.last().map_or(0, Vec::len) - 4
    });
    let mut buffer = Vec::with_capacity(1 << 16);
    let back = cost(messages, |number, message| {
        buffer.clear();
        let status =
            decompress.decompress_vec(&payloads[number], &mut buffer, FlushDecompress::Sync);
        assert!(status.is_ok() && buffer == message);
        message.len()
    });
    [there, back]
}

/// JSON messages of at least `bytes` bytes.
fn feed(bytes: usize) -> Vec<Vec<u8>> {
    let mut state = 12_345_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let message = |serial: usize| {
        let time = 1_763_712_000_000 + serial as u64 * 250 + random(50);
        let mut text = format!(r#"{{"type":"ticks","serial":{serial},"time":{time},"ticks":["#);
        while text.len() + 2 < bytes {
            let symbol = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD"][serial * 7 % 13 % 4];
            let (bid, ask, volume) = (random(100_000), random(100_000), random(5_000));
            text += &format!(
                r#"{{"symbol":"{symbol}","bid":1.{bid:05},"ask":1.{ask:05},"volume":{volume}}},"#
            );
        }
        text.pop();
        text.push_str("]}");
        text.into_bytes()
    };
    (1000..1000 + MESSAGES).map(message).collect()
}

const MESSAGES: usize = 4000;
