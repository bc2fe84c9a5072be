//! A naive sealer of records, written from the RFCs without code of the crate.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use tidegate::tls::{Cipher, Suite, Version};

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// One direction of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    pub(crate) suite: Suite,
    /// A traffic secret, or the key and the iv.
    secret: Vec<u8>,
    pub(crate) sequence: u64,
}

impl Sealer {
    pub(crate) fn new(suite: Suite, secret: &[u8], sequence: u64) -> Self {
        Self { suite, secret: secret.to_vec(), sequence }
    }

    /// A record of this type, with `padding` bytes of padding in TLS 1.3.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        match self.suite.version {
            Version::Tls12 => self.seal_12(kind, content),
            Version::Tls13 => {
                let mut inner = content.to_vec();
                inner.push(kind);
                inner.resize(inner.len() + padding, 0);
                self.seal_inner(DATA, &inner)
            }
        }
    }

    /// A record of TLS 1.3 with any inner bytes (RFC 8446 §5.2).
    pub(crate) fn seal_inner(&mut self, outer: u8, inner: &[u8]) -> Vec<u8> {
        let (key, iv) = self.key();
        let mut header = vec![outer, 3, 3];
        header.extend(length(inner.len() + 16));
        let mut body = inner.to_vec();
        let nonce = Nonce::assume_unique_for_key(mixed(&iv, self.sequence));
        key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut body).unwrap();
        self.sequence += 1;
        [header, body].concat()
    }

    /// RFC 5246 §6.2.3.3, RFC 5288 §3, RFC 7905 §2.
    fn seal_12(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let (key, iv) = self.key();
        let mut aad = self.sequence.to_be_bytes().to_vec();
        aad.extend([kind, 3, 3]);
        aad.extend(length(content.len()));
        let mut nonce = mixed(&iv, self.sequence);
        let mut explicit = Vec::new();
        if self.suite.cipher != Cipher::ChaCha20Poly1305 {
            // Any that does not come twice.
            explicit = (self.sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes().to_vec();
            nonce[..4].copy_from_slice(&iv[..4]);
            nonce[4..].copy_from_slice(&explicit);
        }
        let mut body = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(&aad), &mut body).unwrap();
        self.sequence += 1;
        let mut record = vec![kind, 3, 3];
        record.extend(length(explicit.len() + body.len()));
        [record, explicit, body].concat()
    }

    /// The next key (RFC 8446 §7.2).
    pub(crate) fn update(&mut self) {
        let bytes = self.secret.len();
        self.secret = expand_label(self.suite, &self.secret, "traffic upd", bytes);
        self.sequence = 0;
    }

    fn key(&self) -> (LessSafeKey, Vec<u8>) {
        let (algorithm, bytes) = match self.suite.cipher {
            Cipher::Aes128Gcm => (&aead::AES_128_GCM, 16),
            Cipher::Aes256Gcm => (&aead::AES_256_GCM, 32),
            Cipher::ChaCha20Poly1305 => (&aead::CHACHA20_POLY1305, 32),
        };
        let (key, iv) = match self.suite.version {
            Version::Tls12 => (self.secret[..bytes].to_vec(), self.secret[bytes..].to_vec()),
            Version::Tls13 => (
                expand_label(self.suite, &self.secret, "key", bytes),
                expand_label(self.suite, &self.secret, "iv", 12),
            ),
        };
        (LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap()), iv)
    }
}

/// HKDF-Expand-Label where one block suffices (RFC 8446 §7.1, RFC 5869 §2.3).
fn expand_label(suite: Suite, secret: &[u8], label: &str, bytes: usize) -> Vec<u8> {
    let algorithm = match suite.cipher {
        Cipher::Aes256Gcm => hmac::HMAC_SHA384,
        Cipher::Aes128Gcm | Cipher::ChaCha20Poly1305 => hmac::HMAC_SHA256,
    };
    let mut info = length(bytes).to_vec();
    let label = format!("tls13 {label}");
    info.push(u8::try_from(label.len()).unwrap());
    info.extend(label.as_bytes());
    info.extend([0, 1]);
    hmac::sign(&hmac::Key::new(algorithm, secret), &info).as_ref()[..bytes].to_vec()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap().to_be_bytes()
}

fn mixed(iv: &[u8], sequence: u64) -> [u8; 12] {
    let mut nonce: [u8; 12] = iv.try_into().unwrap();
    for (byte, number) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}
