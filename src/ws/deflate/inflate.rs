//! The decompressor that the connections of a loop share.

use flate2::{Decompress, FlushDecompress, Status};

use crate::timer::Millis;
use crate::ws::Violation;

/// A decompressor, created when it is first needed.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    last_used: Millis,
}

/// How far a message is inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The output is full, and the message may have more bytes.
    Full,
    /// The message is complete; the last part has this many bytes.
    Whole(usize),
}

/// A message that is being inflated.
#[derive(Debug)]
pub struct Inflating<'i> {
    stream: &'i mut Decompress,
    input: &'i [u8],
    /// The payload is consumed, and `input` is what is left of [`END`].
    is_ending: bool,
}

impl Inflater {
    /// Starts to inflate the payload of a message. `dictionary` is the LZ77 window of the
    /// connection, or empty without context takeover.
    pub fn start<'i>(
        &'i mut self,
        payload: &'i [u8],
        dictionary: &[u8],
        now: Millis,
    ) -> Inflating<'i> {
        self.last_used = now;
        // The largest window, so that a client need not be limited to a smaller one.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        if !dictionary.is_empty() {
            // A raw stream accepts a dictionary at any time. If it refused, references into the
            // dictionary would fail as invalid.
            let _ = stream.set_dictionary(dictionary);
        }
        // Some clients strip an empty message's only block down to nothing.
        let input = if payload.is_empty() { &EMPTY } else { payload };
        Inflating { stream, input, is_ending: false }
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if self.stream.is_some() { DECOMPRESSOR_BYTES } else { 0 }
    }

    /// Frees the decompressor if it was not used in the last `idle_ms`. Returns when to call this
    /// again, if there is anything to free.
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        self.stream.as_ref()?;
        let due = self.last_used.plus(idle_ms);
        if now < due {
            return Some(due);
        }
        self.stream = None;
        None
    }
}

impl Inflating<'_> {
    /// Inflates into `output` until it is full or the message ends. The caller repeats it and
    /// enforces the message limit between the calls, so a decompression bomb is stopped early.
    ///
    /// # Errors
    /// [`Violation::NotDeflate`] if the payload is not DEFLATE, or stops inside a block.
    pub fn fill(&mut self, output: &mut [u8]) -> Result<Filled, Violation> {
        let mut written = 0;
        loop {
            let before = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(self.input, &mut output[written..], FlushDecompress::None)
                .map_err(|_| Violation::NotDeflate)?;
            let consumed = progress(before.0, self.stream.total_in());
            let produced = progress(before.1, self.stream.total_out());
            self.input = self.input.get(consumed..).unwrap_or(&[]);
            written += produced;
            match status {
                Status::StreamEnd if self.is_ending => {
                    // The stream ended in our last block, or in an empty last block of the message
                    // itself. In that case our last block is left.
                    let is_whole = self.input.is_empty() || self.input == LAST_BLOCK;
                    return if is_whole { Ok(Filled::Whole(written)) } else { NOT_DEFLATE };
                }
                // A last block inside the message: what follows is a new stream (RFC 7692
                // §7.2.3.4).
                Status::StreamEnd => self.stream.reset(false),
                Status::Ok | Status::BufError => {
                    if written == output.len() {
                        return Ok(Filled::Full);
                    }
                    if self.input.is_empty() && self.is_ending {
                        return NOT_DEFLATE;
                    }
                    // Without this a stream that neither reads nor writes would loop for ever.
                    if !self.input.is_empty() && consumed == 0 && produced == 0 {
                        return NOT_DEFLATE;
                    }
                }
            }
            if self.input.is_empty() && !self.is_ending {
                self.input = &END;
                self.is_ending = true;
            }
        }
    }
}

fn progress(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

/// Bytes that the library allocates for a decompressor, with any window
/// (`tests/deflate_memory.rs` counts them).
pub const DECOMPRESSOR_BYTES: usize = 47_552;

const NOT_DEFLATE: Result<Filled, Violation> = Err(Violation::NotDeflate);
/// The end of the empty block that senders remove (RFC 7692 §7.2.2), and an empty last block. The
/// last block ends the stream only where a block may start, so a message that is cut inside a block
/// does not pass for a complete one.
const END: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
/// The second part of [`END`].
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// An empty message (RFC 7692 §7.2.3.6).
const EMPTY: [u8; 1] = [0];
