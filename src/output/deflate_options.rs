//! How the messages of a route are compressed.

/// How the messages of a route are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// From 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Messages with fewer bytes are sent as they are.
    pub bytes_min: usize,
    /// The base-two logarithm of the window, 9 to 15, within which the messages of either side may
    /// refer back to earlier ones (context takeover, RFC 7692 §7.1.1). With `None` each message is
    /// compressed on its own.
    pub context_bits: Option<u8>,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self { level: DEFLATE_LEVEL, bytes_min: DEFLATE_BYTES_MIN, context_bits: None }
    }
}

/// The level of a route that names none: half the time of the usual 6, and nearly as small.
pub const DEFLATE_LEVEL: u8 = 3;
/// The least message that is compressed on a route that names none.
pub const DEFLATE_BYTES_MIN: usize = 1024;
/// The window of a route that takes over contexts and names none, as its base-two logarithm: what
/// 4 KiB hold serves messages of up to 3 KiB nearly as well as the largest window.
pub const DEFLATE_CONTEXT_BITS: u8 = 12;
