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
        // Where this is not enough, the message does not shrink.
        self.output.reserve(message.len() + FLUSH_MARK.len());
        let stream = stream_for(&mut self.streams, terms);
        stream.reset();
        stream.compress_vec(message, &mut self.output, FlushCompress::Sync).ok()?;
        // A flush that filled its room may have more to say (zlib.h, "deflate").
        let is_whole =
            stream.total_in() == message.len() as u64 && self.output.len() < self.output.capacity();
        let payload = self.output.strip_suffix(&FLUSH_MARK).filter(|_| is_whole)?;
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

fn stream_for(streams: &mut Vec<((u8, u8), Compress)>, terms: DeflateTerms) -> &mut Compress {
    let wanted = (terms.window_bits, terms.level);
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
