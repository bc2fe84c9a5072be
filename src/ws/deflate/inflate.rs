//! The decompressor that a loop's connections share.

use flate2::{Decompress, FlushDecompress, Status};

use crate::timer::Millis;
use crate::ws::Violation;

/// A decompressor, made when first wanted.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    last_used: Millis,
}

/// What has come of a message so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The room is full and there may be more to come.
    Full,
    /// This was the rest of the message: so many bytes.
    Whole(usize),
}

/// One message on its way out of its compressed form.
#[derive(Debug)]
pub struct Inflating<'i> {
    stream: &'i mut Decompress,
    input: &'i [u8],
    /// The payload is through; `input` is from [`END`].
    is_ending: bool,
}

impl Inflater {
    /// Begins with the payload of a compressed message, which may refer back to `past`: the end of
    /// what came compressed before it, or nothing.
    pub fn start<'i>(
        &'i mut self,
        payload: &'i [u8],
        dictionary: &[u8],
        now: Millis,
    ) -> Inflating<'i> {
        self.last_used = now;
        // It takes any window, so no client need be asked for a smaller one.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        if !dictionary.is_empty() {
            // A raw stream takes one at any time; were it to refuse, what refers back would be
            // found wrong.
            let _ = stream.set_dictionary(dictionary);
        }
        // Empty is what some leave of an empty message when they strip the end of its last block.
        let input = if payload.is_empty() { &EMPTY } else { payload };
        Inflating { stream, input, is_ending: false }
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if self.stream.is_some() { DECOMPRESSOR_BYTES } else { 0 }
    }

    /// Frees the decompressor if it was not used in the last `idle_ms`. Gives the moment to ask
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
    /// Inflates into `room` until it is full or the message ends.
    ///
    /// # Errors
    /// [`Violation::NotDeflate`] for bytes that are no DEFLATE, or stop inside a block.
    pub fn fill(&mut self, room: &mut [u8]) -> Result<Filled, Violation> {
        let mut written = 0;
        loop {
            let before = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(self.input, &mut room[written..], FlushDecompress::None)
                .map_err(|_| Violation::NotDeflate)?;
            let consumed = progress(before.0, self.stream.total_in());
            let produced = progress(before.1, self.stream.total_out());
            self.input = self.input.get(consumed..).unwrap_or(&[]);
            written += produced;
            match status {
                Status::StreamEnd if self.is_ending => {
                    // It was ours, or the message's own last block was the empty one.
                    let is_whole = self.input.is_empty() || self.input == LAST_BLOCK;
                    return if is_whole { Ok(Filled::Whole(written)) } else { NOT_DEFLATE };
                }
                // A last block within the message: what follows starts afresh (RFC 7692 §7.2.3.4).
                Status::StreamEnd => self.stream.reset(false),
                Status::Ok | Status::BufError => {
                    if written == room.len() {
                        return Ok(Filled::Full);
                    }
                    if self.input.is_empty() && self.is_ending {
                        return NOT_DEFLATE;
                    }
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

/// Bytes that the library allocates for a decompressor, whatever the window
/// (`tests/deflate_memory.rs` counts them).
pub const DECOMPRESSOR_BYTES: usize = 47_552;

const NOT_DEFLATE: Result<Filled, Violation> = Err(Violation::NotDeflate);
/// The end of the empty block that every message ends with and that is not sent (RFC 7692 §7.2.2),
/// and then an empty last block: it ends the stream only if it stands where a block may begin, so
/// that a message which is cut inside a block does not pass for a whole one.
const END: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
/// The second part of it.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// An empty message (RFC 7692 §7.2.3.6).
const EMPTY: [u8; 1] = [0];
