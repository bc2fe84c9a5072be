//! The decompressor that the connections of a loop share.

use flate2::{Decompress, FlushDecompress, Status};

use crate::timer::Millis;
use crate::work::{meter, prices};
use crate::ws::Violation;

/// A decompressor, created when it is first needed.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    last_used: Millis,
}

/// What one call of [`Inflater::fill`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Bytes that came out.
    pub written: usize,
    /// Bytes that went in.
    pub read: usize,
    /// Whether that was all, and why not if it was not.
    pub state: FillState,
}

/// How far a message is inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillState {
    /// The output is full, and the message may have more bytes.
    OutputFull,
    /// As much has gone in as was allowed, and the message goes on.
    InputUsed,
    /// The message is complete.
    Whole,
}

/// How far a payload is inflated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InflateProgress {
    /// Bytes of the payload, and then of [`END`], that have gone in.
    read: usize,
    /// The payload has gone in, and `read` counts bytes of [`END`].
    is_ending: bool,
}

impl Inflater {
    /// Starts a message. `dictionary` is the LZ77 window of the connection, or empty without context
    /// takeover.
    pub fn start(&mut self, dictionary: &[u8], now: Millis) -> InflateProgress {
        self.last_used = now;
        // The largest window, so that a client need not be limited to a smaller one.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        if !dictionary.is_empty() {
            // A raw stream accepts a dictionary at any time. If it refused, references into the
            // dictionary would fail as invalid.
            let _ = stream.set_dictionary(dictionary);
        }
        InflateProgress::default()
    }

    /// Goes on with the message that was started, whose payload is this: reads about `read_max` bytes
    /// of it and writes into `output`, which must have room. The caller repeats it and enforces the
    /// message limit between the calls, so a decompression bomb is stopped early.
    ///
    /// # Errors
    /// [`Violation::NotDeflate`] if the payload is not DEFLATE, or stops inside a block.
    pub fn fill(
        &mut self,
        payload: &[u8],
        progress: &mut InflateProgress,
        output: &mut [u8],
        read_max: usize,
    ) -> Result<Filled, Violation> {
        let Some(stream) = &mut self.stream else { return Err(Violation::NotDeflate) };
        // Some clients strip an empty message's only block down to nothing.
        let payload = if payload.is_empty() { &EMPTY } else { payload };
        let (mut written, mut read) = (0, 0);
        loop {
            let source: &[u8] = if progress.is_ending { &END } else { payload };
            let rest = source.get(progress.read..).unwrap_or(&[]);
            // The end is never cut, as it is short.
            let piece = match progress.is_ending {
                true => rest,
                false => &rest[..rest.len().min(read_max.saturating_sub(read).max(1))],
            };
            let before = (stream.total_in(), stream.total_out());
            let status = stream
                .decompress(piece, &mut output[written..], FlushDecompress::None)
                .map_err(|_| Violation::NotDeflate)?;
            let consumed = difference(before.0, stream.total_in());
            let produced = difference(before.1, stream.total_out());
            meter::spend(prices::inflated(consumed, produced));
            progress.read += consumed;
            read += consumed;
            written += produced;
            let rest = source.get(progress.read..).unwrap_or(&[]);
            // It had stopped for lack of input, so a byte that comes out now was decoded from what is
            // no part of the message: that is cut inside a block.
            if progress.is_ending && produced > 0 {
                return Err(Violation::NotDeflate);
            }
            let state = match status {
                Status::StreamEnd if progress.is_ending => {
                    // The stream ended in our last block, or in an empty last block of the message
                    // itself. In that case our last block is left.
                    let is_whole = rest.is_empty() || rest == LAST_BLOCK;
                    if !is_whole {
                        return Err(Violation::NotDeflate);
                    }
                    Some(FillState::Whole)
                }
                // A last block at the very end: some senders leave out the empty block behind it,
                // whose first byte would be the only one on the wire.
                Status::StreamEnd if rest.is_empty() => Some(FillState::Whole),
                // A last block inside the message: what follows is a new stream (RFC 7692
                // §7.2.3.4).
                Status::StreamEnd => {
                    stream.reset(false);
                    (read >= read_max).then_some(FillState::InputUsed)
                }
                Status::Ok | Status::BufError if written == output.len() => {
                    Some(FillState::OutputFull)
                }
                Status::Ok | Status::BufError => {
                    let is_stuck = consumed == 0 && produced == 0;
                    // Without this a stream that neither reads nor writes would loop for ever.
                    if progress.is_ending && rest.is_empty() || is_stuck && !rest.is_empty() {
                        return Err(Violation::NotDeflate);
                    }
                    if rest.is_empty() {
                        *progress = InflateProgress { read: 0, is_ending: true };
                    }
                    (!rest.is_empty() && read >= read_max).then_some(FillState::InputUsed)
                }
            };
            if let Some(state) = state {
                return Ok(Filled { written, read, state });
            }
        }
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

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

/// Bytes that the library allocates for a decompressor, with any window
/// (`tests/deflate_memory.rs` counts them).
pub const DECOMPRESSOR_BYTES: usize = 47_552;

/// The end of the empty block that senders remove (RFC 7692 §7.2.2), and an empty last block. The
/// last block ends the stream only where a block may start, so a message that is cut inside a block
/// does not pass for a complete one.
const END: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
/// The second part of [`END`].
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// An empty message (RFC 7692 §7.2.3.6).
const EMPTY: [u8; 1] = [0];
