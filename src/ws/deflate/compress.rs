//! Compressors that the connections of a loop share, created when they are first needed.

use flate2::{Compress, Compression, FlushCompress};

use super::FLUSH_MARK;
use crate::shrink::Shrink as _;
use crate::timer::Millis;
use crate::work::{meter, prices};

/// How the messages to a connection are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    /// The base-two logarithm of the LZ77 window, 9 to 15.
    pub window_bits: u8,
    /// From 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Shorter messages are not compressed.
    pub bytes_min: usize,
}

/// The compressors of one loop: one for each window size and level in use.
#[derive(Debug, Default)]
pub struct Compressors {
    streams: Vec<((u8, u8), Compress)>,
    output: Vec<u8>,
    now: Millis,
    last_used: Millis,
    /// What one message may cost; no bound with `None`.
    work_max: Option<u64>,
    /// What all messages have cost.
    pub work: u64,
    /// Messages that were given up because they took too long.
    pub given_up: u64,
    /// Messages compressed so far.
    pub messages: u64,
    /// Bytes of these messages before compression.
    pub bytes_in: u64,
    /// Bytes of these messages after compression.
    pub bytes_out: u64,
}

impl Compressors {
    /// Compressors that give a message up when it has cost so much.
    #[must_use]
    pub fn bounded(work_max: u64) -> Self {
        Self { work_max: Some(work_max), ..Self::default() }
    }

    /// Sets the time that counts as the last use.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    /// Compresses a message. `None` if it is shorter than `bytes_min`, does not become shorter, or
    /// costs too much.
    ///
    /// With a dictionary, which must be the LZ77 window that the recipient has, the message may
    /// refer to it. If the window is still empty the message may even become a little longer,
    /// because it fills the window for those after it. Without a dictionary every recipient can
    /// inflate the message.
    pub fn compress(
        &mut self,
        message: &[u8],
        terms: DeflateTerms,
        dictionary: Option<&[u8]>,
    ) -> Option<&[u8]> {
        if message.len() < terms.bytes_min {
            return None;
        }
        self.last_used = self.now;
        self.output.clear();
        // The stream must never run out of output: see below.
        self.output.reserve_exact(grown_bytes_max(message.len()));
        self.work += prices::COMPRESSOR + prices::dictionary(dictionary.map_or(0, <[u8]>::len));
        let stream = stream_for(&mut self.streams, terms);
        meter::spend(prices::COMPRESSOR);
        stream.reset();
        if let Some(dictionary) = dictionary.filter(|dictionary| !dictionary.is_empty()) {
            stream.set_dictionary(dictionary).ok()?;
        }
        let work_end = self.work_max.map_or(u64::MAX, |work_max| self.work + work_max);
        let (output, work) = (&mut self.output, &mut self.work);
        if write_pieces(stream, message, output, terms.level, (work, work_end)).is_none() {
            // Output that a stream could not write stays pending in it, even after `reset` (zlib-rs
            // 0.6.8). When its pending buffer is full it panics, so such a stream is dropped.
            self.streams.retain(|(kind, _)| *kind != terms.kind());
            self.given_up += 1;
            return None;
        }
        let payload = self.output.strip_suffix(&FLUSH_MARK)?;
        let begins_window = dictionary.is_some_and(<[u8]>::is_empty) && !message.is_empty();
        let growth_max = if begins_window { GROWTH_BYTES_MAX } else { 0 };
        if payload.len() >= message.len() + growth_max {
            return None;
        }
        self.messages += 1;
        self.bytes_in += message.len() as u64;
        self.bytes_out += payload.len() as u64;
        Some(payload)
    }

    /// Frees the output of the last message if that was unusually large.
    pub fn shrink(&mut self) {
        self.output.clear();
        self.output.shrink_if_sparse(OUTPUT_BYTES_KEPT);
    }

    /// The bytes of memory that compressing a message of `message_len` bytes adds to what is held.
    #[must_use]
    pub fn bytes_wanted(&self, message_len: usize, terms: DeflateTerms) -> usize {
        let is_made = self.streams.iter().any(|(kind, _)| *kind == terms.kind());
        let stream_bytes = if is_made { 0 } else { compressor_bytes(terms.window_bits) };
        let output_bytes = grown_bytes_max(message_len);
        stream_bytes + output_bytes.saturating_sub(self.output.capacity())
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let streams = self.streams.iter().map(|((window_bits, _), _)| *window_bits);
        streams.map(compressor_bytes).sum::<usize>() + self.output.capacity()
    }

    /// Frees all compressors if none was used in the last `idle_ms`. Returns when to call this
    /// again, if there is anything to free.
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        // The output of a message that was given up stays without its stream.
        if self.streams.is_empty() && self.output.capacity() == 0 {
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

    /// The number of compressors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.streams.len()
    }
}

impl DeflateTerms {
    /// The key by which a compressor is shared.
    fn kind(self) -> (u8, u8) {
        (self.window_bits, self.level)
    }
}

/// Compresses a message piece by piece, as what it costs shows only on the way; `None` if the
/// stream has to be dropped.
fn write_pieces(
    stream: &mut Compress,
    message: &[u8],
    output: &mut Vec<u8>,
    level: u8,
    (work, work_end): (&mut u64, u64),
) -> Option<()> {
    let mut rest = message;
    loop {
        let (piece, behind) = rest.split_at(rest.len().min(PIECE_BYTES));
        rest = behind;
        let flush = if rest.is_empty() { FlushCompress::Sync } else { FlushCompress::None };
        let before = (stream.total_in(), output.len());
        stream.compress_vec(piece, output, flush).ok()?;
        let units = prices::compressed(piece.len(), output.len() - before.1, level);
        meter::spend(units);
        *work += units;
        // A flush that fills the output may have more to write (zlib.h, "deflate").
        let is_taken =
            stream.total_in() - before.0 == piece.len() as u64 && output.len() < output.capacity();
        if !is_taken || *work > work_end {
            return None;
        }
        if rest.is_empty() {
            return Some(());
        }
    }
}

/// The largest output for a message of `bytes` bytes: at level 1 a byte may take nine bits.
fn grown_bytes_max(bytes: usize) -> usize {
    bytes + bytes / 8 + 64
}

fn stream_for(streams: &mut Vec<((u8, u8), Compress)>, terms: DeflateTerms) -> &mut Compress {
    let wanted = terms.kind();
    let index = match streams.iter().position(|(kind, _)| *kind == wanted) {
        Some(index) => index,
        None => {
            let level = Compression::new(u32::from(terms.level));
            let stream = Compress::new_with_window_bits(level, false, terms.window_bits);
            streams.push((wanted, stream));
            streams.len() - 1
        }
    };
    &mut streams[index].1
}

/// Bytes that the library allocates for a compressor: twice the window, a link for each byte of it,
/// and tables (`tests/deflate_memory.rs` counts them).
#[must_use]
pub const fn compressor_bytes(window_bits: u8) -> usize {
    248_960 + (4 << window_bits)
}

/// The first message in a window may become this much longer, exclusive: a stored block adds 5
/// bytes, the flush marker a few more.
const GROWTH_BYTES_MAX: usize = 12;
/// Input between two looks at what it has cost.
const PIECE_BYTES: usize = 16 << 10;
/// Capacity of the output that stays between messages.
const OUTPUT_BYTES_KEPT: usize = 64 << 10;
