//! Cipher suites, as far as records depend on them.

use ring::{aead, hkdf};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How records are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM; with TLS 1.3 by SHA-256.
    Aes128Gcm,
    /// AES-256-GCM; with TLS 1.3 by SHA-384.
    Aes256Gcm,
    /// ChaCha20-Poly1305; with TLS 1.3 by SHA-256.
    ChaCha20Poly1305,
}

/// A version with a cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The version.
    pub version: Version,
    /// The cipher.
    pub cipher: Cipher,
}

impl Suite {
    /// Its name, as operators see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.version, self.cipher) {
            (Version::Tls12, Cipher::Aes128Gcm) => "TLS 1.2, AES-128-GCM",
            (Version::Tls12, Cipher::Aes256Gcm) => "TLS 1.2, AES-256-GCM",
            (Version::Tls12, Cipher::ChaCha20Poly1305) => "TLS 1.2, ChaCha20-Poly1305",
            (Version::Tls13, Cipher::Aes128Gcm) => "TLS 1.3, AES-128-GCM",
            (Version::Tls13, Cipher::Aes256Gcm) => "TLS 1.3, AES-256-GCM",
            (Version::Tls13, Cipher::ChaCha20Poly1305) => "TLS 1.3, ChaCha20-Poly1305",
        }
    }

    /// The cipher of the library.
    pub fn algorithm(self) -> &'static aead::Algorithm {
        match self.cipher {
            Cipher::Aes128Gcm => &aead::AES_128_GCM,
            Cipher::Aes256Gcm => &aead::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// What derives keys from secrets in TLS 1.3 (RFC 8446 §B.4).
    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self.cipher {
            Cipher::Aes128Gcm | Cipher::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Cipher::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    /// Bytes of a key.
    pub(super) fn key_bytes(self) -> usize {
        self.algorithm().key_len()
    }

    /// Bytes of a traffic secret of TLS 1.3: the length of the hash.
    pub(super) fn secret_bytes(self) -> usize {
        hkdf::KeyType::len(&self.hkdf())
    }

    /// Bytes of the nonce that stand in the record itself (RFC 5288 §3). The other suites compute it
    /// (RFC 8446 §5.3, RFC 7905 §2).
    pub fn explicit_nonce_bytes(self) -> usize {
        match (self.version, self.cipher) {
            (Version::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => EXPLICIT_NONCE_BYTES,
            (Version::Tls12, Cipher::ChaCha20Poly1305) | (Version::Tls13, _) => 0,
        }
    }

    /// Bytes that protection adds to content: before it, and behind it.
    pub fn expansion(self) -> (usize, usize) {
        // TLS 1.3 hides the type behind the content (RFC 8446 §5.2).
        let type_bytes = usize::from(self.version == Version::Tls13);
        (self.explicit_nonce_bytes(), type_bytes + TAG_BYTES)
    }

    /// How many records a key may seal (RFC 8446 §5.5: 2^24.5 for AES-GCM; RFC 9147 §4.5.3 sets none
    /// for ChaCha20-Poly1305 that a sequence number could reach).
    pub(super) fn sealed_max(self) -> u64 {
        match self.cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => 1 << 24,
            Cipher::ChaCha20Poly1305 => 1 << 62,
        }
    }
}

/// Bytes of every tag.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of every nonce.
pub(super) const NONCE_BYTES: usize = aead::NONCE_LEN;
const EXPLICIT_NONCE_BYTES: usize = 8;
