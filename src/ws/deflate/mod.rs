//! Messages compressed with DEFLATE (RFC 7692 §7.2), each on its own or referring back to those
//! before it.
//!
//! A compressor takes a quarter of a megabyte and a decompressor some tens of kilobytes, so there
//! is one of a kind for a whole loop. A connection has none; where it takes over context it has a
//! window's bytes, which whoever is about to work for it is shown first.

mod compress;
mod inflate;
#[cfg(test)]
mod takeover_tests;
#[cfg(test)]
mod tests;

pub use compress::{Compressors, DeflateTerms, compressor_bytes};
pub use inflate::{DECOMPRESSOR_BYTES, Filled, Inflater, Inflating};

/// What ends the compressed form of a message and is left out of it (RFC 7692 §7.2.1).
const FLUSH_MARK: [u8; 4] = [0, 0, 0xFF, 0xFF];
