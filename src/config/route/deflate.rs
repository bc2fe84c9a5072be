//! Whether and how a route compresses messages.

use crate::services::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL};

/// The keys of a WebSocket route about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteDeflate {
    /// Whether clients that offer compression get it. Default: yes.
    pub deflate: bool,
    /// From 1, the fastest, to 9, the smallest. Default 3.
    pub level: usize,
    /// Messages with fewer bytes are sent as they are. Default 1024.
    pub bytes_min: usize,
    /// Whether messages may refer back to those before them. Default false.
    pub context_takeover: bool,
    /// The base-two logarithm of the window in which they may, 9 to 15. Default 12.
    pub window_bits_max: usize,
}

impl Default for RouteDeflate {
    fn default() -> Self {
        Self {
            deflate: true,
            level: usize::from(DEFLATE_LEVEL),
            bytes_min: DEFLATE_BYTES_MIN,
            context_takeover: false,
            window_bits_max: usize::from(DEFLATE_CONTEXT_BITS),
        }
    }
}
