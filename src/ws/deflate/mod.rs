//! Messages compressed with DEFLATE (RFC 7692 §7.2), each on its own: no context is taken over.
//!
//! A compressor takes a quarter of a megabyte and a decompressor some tens of kilobytes, so there
//! is one of a kind for a whole loop, and a connection has none.

mod compress;
mod inflate;
#[cfg(test)]
mod tests;

pub use compress::{Compressors, DeflateTerms};
pub use inflate::{Filled, Inflater, Inflating};

/// What ends the compressed form of a message and is left out of it (RFC 7692 §7.2.1).
const FLUSH_MARK: [u8; 4] = [0, 0, 0xFF, 0xFF];
