//! From secrets to keys (RFC 8446 §7.1 to §7.3).

use std::fmt;

use ring::aead::{LessSafeKey, UnboundKey};
use ring::hkdf::{KeyType, Prk};
use subtle::ConstantTimeEq as _;

use super::secret::Secret;
use super::suite::{NONCE_BYTES, Suite, Version};
use crate::work::{meter, prices};

/// A key as the cipher wants it, with the part of the nonce that all records share.
pub(super) struct TrafficKey {
    pub(super) key: LessSafeKey,
    pub(super) iv: [u8; NONCE_BYTES],
}

impl fmt::Debug for TrafficKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficKey")
    }
}

/// The key of one direction. `None` only where the library refuses what it has made itself.
pub(super) fn traffic_key(suite: Suite, secret: &Secret) -> Option<TrafficKey> {
    meter::spend(prices::TLS_KEY);
    match suite.version {
        Version::Tls12 => expanded(suite, secret),
        Version::Tls13 => expanded(suite, &derived_key(suite, secret)?),
    }
}

/// The key that a traffic secret of TLS 1.3 yields, with its iv behind it (RFC 8446 §7.3).
pub(super) fn derived_key(suite: Suite, secret: &Secret) -> Option<Secret> {
    let (prk, key_bytes) = (prk(suite, secret), suite.key_bytes());
    let mut derived = Secret::of(&[])?;
    let (key, iv) = derived.first_mut(key_bytes + NONCE_BYTES).split_at_mut(key_bytes);
    expand_label(&prk, b"key", key)?;
    expand_label(&prk, b"iv", iv)?;
    Some(derived)
}

/// Whether a traffic secret of TLS 1.3 yields this key with this iv behind it.
pub fn yields(suite: Suite, secret: &Secret, key: &Secret) -> bool {
    derived_key(suite, secret).is_some_and(|derived| {
        let bytes = suite.key_bytes() + NONCE_BYTES;
        derived.first(bytes).ct_eq(key.first(bytes)).into()
    })
}

/// A key as the cipher wants it, from its bytes with the iv behind them.
fn expanded(suite: Suite, key: &Secret) -> Option<TrafficKey> {
    let (key_bytes, mut iv) = (suite.key_bytes(), [0; NONCE_BYTES]);
    iv.copy_from_slice(key.after(key_bytes, NONCE_BYTES));
    let key = UnboundKey::new(suite.algorithm(), key.first(key_bytes)).ok()?;
    Some(TrafficKey { key: LessSafeKey::new(key), iv })
}

/// The secret that follows `secret` when a key is updated (RFC 8446 §7.2).
pub(super) fn next_secret(suite: Suite, secret: &Secret) -> Option<Secret> {
    let mut next = Secret::of(&[])?;
    expand_label(&prk(suite, secret), b"traffic upd", next.first_mut(suite.secret_bytes()))?;
    Some(next)
}

fn prk(suite: Suite, secret: &Secret) -> Prk {
    Prk::new_less_safe(suite.hkdf(), secret.first(suite.secret_bytes()))
}

/// HKDF-Expand-Label with no context (RFC 8446 §7.1). Fails only for lengths that do not occur.
fn expand_label(secret: &Prk, label: &[u8], output: &mut [u8]) -> Option<()> {
    let length = u16::try_from(output.len()).ok()?.to_be_bytes();
    let label_bytes = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let info = [&length[..], &label_bytes, PREFIX, label, &[0]];
    secret.expand(&info, Length(output.len())).and_then(|okm| okm.fill(output)).ok()
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

const PREFIX: &[u8] = b"tls13 ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::suite::Cipher;

    /// RFC 8448 §3 ("Simple 1-RTT Handshake"): the server's application traffic secret, and the key
    /// and the iv derived from it.
    #[test]
    fn keys_are_those_of_the_published_trace() {
        let suite = Suite { version: Version::Tls13, cipher: Cipher::Aes128Gcm };
        let secret = hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
        let key = derived_key(suite, &Secret::of(&[&secret]).unwrap()).unwrap();
        let expected = "9f02283b6c9c07efc26bb9f2ac92e356cf782b88dd83549aadf1e984";
        assert_eq!(key.first(28), hex(expected));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }
}
