//! Messages compressed with DEFLATE (RFC 7692 §7.2), each on its own or with context takeover.
//!
//! A compressor takes a quarter of a megabyte and a decompressor about 47 KiB, so the connections
//! of a loop share them: one compressor for each window size and level, one decompressor. A
//! connection with context takeover keeps only the bytes of its LZ77 window, which becomes the
//! dictionary of the shared stream before each of its messages.

mod compress;
mod inflate;
#[cfg(test)]
mod takeover_tests;
#[cfg(test)]
mod tests;

pub use compress::{Compressors, DeflateTerms, compressor_bytes};
pub use inflate::{DECOMPRESSOR_BYTES, FillState, Filled, InflateProgress, Inflater};

/// The end of a message's compressed form, which is removed before it is sent (RFC 7692 §7.2.1).
const FLUSH_MARK: [u8; 4] = [0, 0, 0xFF, 0xFF];
