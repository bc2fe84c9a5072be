//! Whether and how a route compresses messages.

use crate::services::{DEFLATE_BYTES_MIN, DEFLATE_LEVEL};

/// The keys of a WebSocket route about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteDeflate {
    /// Whether clients that offer compression get it. Default: yes.
    pub deflate: bool,
    /// From 1, the fastest, to 9, the smallest. Default 3.
    pub level: usize,
    /// Messages with fewer bytes are sent as they are. Default 1024.
    pub bytes_min: usize,
}

impl Default for RouteDeflate {
    fn default() -> Self {
        Self { deflate: true, level: usize::from(DEFLATE_LEVEL), bytes_min: DEFLATE_BYTES_MIN }
    }
}
