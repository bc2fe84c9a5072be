//! A secret: bytes that are overwritten before their memory is used for anything else.

use std::fmt;

use zeroize::Zeroize as _;

/// Room for the longest secret: a hash of 48 bytes, or a key of 32 with its 12 bytes of nonce.
pub(super) const SECRET_BYTES_MAX: usize = 48;

/// A traffic secret of TLS 1.3, or the key and the fixed nonce of a TLS 1.2 connection.
#[derive(Clone)]
pub struct Secret([u8; SECRET_BYTES_MAX]);

impl Secret {
    /// The secret that consists of `parts`, one behind the other. `None` if they are longer than any
    /// secret.
    pub fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut secret = Self([0; SECRET_BYTES_MAX]);
        let mut at = 0;
        for part in parts {
            secret.0.get_mut(at..at + part.len())?.copy_from_slice(part);
            at += part.len();
        }
        Some(secret)
    }

    /// Its first `count` bytes.
    pub fn first(&self, count: usize) -> &[u8] {
        &self.0[..count.min(SECRET_BYTES_MAX)]
    }

    /// Its first `count` bytes, to be filled.
    pub(super) fn first_mut(&mut self, count: usize) -> &mut [u8] {
        &mut self.0[..count.min(SECRET_BYTES_MAX)]
    }

    /// `count` bytes behind the first `start`.
    pub(super) fn after(&self, start: usize, count: usize) -> &[u8] {
        self.0.get(start..start + count).unwrap_or_default()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
