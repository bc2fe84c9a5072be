//! Compressors that a loop's connections share, made when first wanted.

use flate2::{Compress, Compression, FlushCompress};

use super::FLUSH_MARK;
use crate::timer::Millis;

/// How the messages to a connection are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    /// The base-two logarithm of the LZ77 window, 9 to 15.
    pub window_bits: u8,
    /// From 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Shorter messages stay as they are.
    pub bytes_min: usize,
}

/// The compressors of one loop: one for each window size and level in use.
#[derive(Debug, Default)]
pub struct Compressors {
    streams: Vec<((u8, u8), Compress)>,
    output: Vec<u8>,
    now: Millis,
    last_used: Millis,
    /// Messages compressed so far.
    pub messages: u64,
    /// Their bytes before.
    pub bytes_in: u64,
    /// Their bytes afterwards.
    pub bytes_out: u64,
}

impl Compressors {
    /// Says what time it is: it decides what is unused.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    /// The payload of the message compressed; `None` if it is too short to try, or does not shrink.
    pub fn compress(&mut self, message: &[u8], terms: DeflateTerms) -> Option<&[u8]> {
        if message.len() < terms.bytes_min {
            return None;
        }
        self.last_used = self.now;
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_KEPT);
        self.output.reserve(grown_bytes_max(message.len()));
        let stream = stream_for(&mut self.streams, terms);
        stream.reset();
        let outcome = stream.compress_vec(message, &mut self.output, FlushCompress::Sync);
        // A flush that filled its room may have more to say (zlib.h, "deflate").
        let is_whole = outcome.is_ok()
            && stream.total_in() == message.len() as u64
            && self.output.len() < self.output.capacity();
        if !is_whole {
            // What a stream could not hand out takes room in it for good, whatever `reset` says
            // (zlib-rs 0.6.8), and when there is no room left it panics.
            self.streams.retain(|(kind, _)| *kind != terms.kind());
            return None;
        }
        let payload = self.output.strip_suffix(&FLUSH_MARK)?;
        if payload.len() >= message.len() {
            return None;
        }
        self.messages += 1;
        self.bytes_in += message.len() as u64;
        self.bytes_out += payload.len() as u64;
        Some(payload)
    }

    /// Frees all compressors if none was used in the last `idle_ms`. Gives the moment to ask again,
    /// if there is anything to free.
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        if self.streams.is_empty() {
            return None;
        }
        let due = self.last_used.plus(idle_ms);
        if now < due {
            return Some(due);
        }
        self.streams = Vec::new();
        self.output = Vec::new();
        None
    }

    /// How many compressors there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.streams.len()
    }
}

impl DeflateTerms {
    /// What tells one compressor from another.
    fn kind(self) -> (u8, u8) {
        (self.window_bits, self.level)
    }
}

/// The most that so many bytes grow to: at level 1 a byte may take nine bits.
fn grown_bytes_max(bytes: usize) -> usize {
    bytes + bytes / 8 + 64
}

fn stream_for(streams: &mut Vec<((u8, u8), Compress)>, terms: DeflateTerms) -> &mut Compress {
    let wanted = terms.kind();
    let place = match streams.iter().position(|(kind, _)| *kind == wanted) {
        Some(place) => place,
        None => {
            let level = Compression::new(u32::from(terms.level));
            let stream = Compress::new_with_window_bits(level, false, terms.window_bits);
            streams.push((wanted, stream));
            streams.len() - 1
        }
    };
    &mut streams[place].1
}

/// A burst may need more; it is given back with the next message.
const OUTPUT_BYTES_KEPT: usize = 64 << 10;
