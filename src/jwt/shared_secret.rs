//! Tokens that two parties sign for each other by a secret, with HS256 (RFC 7518 section 3.2).
//!
//! Unlike the keys of identities the secret may be of any length, as those are that libraries of GRIP are
//! given.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::algorithm::Algorithm;
use super::claims::numeric_date;
use super::token::Token;
use crate::timer::WallTime;

/// A secret that signs tokens and verifies them.
#[derive(Clone)]
pub struct SharedSecret {
    bytes: Box<[u8]>,
    key: hmac::Key,
}

impl SharedSecret {
    /// This secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self { bytes: secret.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A secret as it is written in a configuration: `base64:` and its bytes, or a text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let decoded = text.strip_prefix("base64:").and_then(|own| STANDARD.decode(own).ok());
        Self::new(decoded.as_deref().unwrap_or(text.as_bytes()))
    }

    /// Whether it is these bytes, in a time that depends on lengths alone.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.bytes.ct_eq(bytes).into()
    }

    /// The secret, to derive other keys from it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// A token with these claims, in JSON.
    #[must_use]
    pub fn sign(&self, claims: &str) -> String {
        let mut token = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }

    /// Whether a token is signed by it, and has an `exp` that is not over.
    #[must_use]
    pub fn verifies(&self, token: &str, now: WallTime) -> bool {
        let Ok(token) = Token::parse(token, TOKEN_BYTES_MAX) else { return false };
        let (Ok(signature), Ok(claims)) = (token.signature(), token.claims()) else { return false };
        let signed = token.signed.as_bytes();
        let is_signed = token.algorithm == Algorithm::Hs256
            && hmac::verify(&self.key, signed, &signature).is_ok();
        is_signed && is_current(&claims, now)
    }
}

/// Whether claims say when they are over, and are not.
fn is_current(claims: &[u8], now: WallTime) -> bool {
    let claims: Map<String, Value> = serde_json::from_slice(claims).unwrap_or_default();
    claims.get("exp").and_then(numeric_date).is_some_and(|end| now < end)
}

impl fmt::Debug for SharedSecret {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

const TOKEN_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_verified_by_the_secret_that_signed_it_until_it_expires() {
        let own = SharedSecret::new(b"changeme");
        let token = own.sign(r#"{"iss":"a","exp":100}"#);
        assert!(own.verifies(&token, WallTime(99_999)));
        assert!(!own.verifies(&token, WallTime(100_000)));
        assert!(!SharedSecret::new(b"changeMe").verifies(&token, WallTime(0)));
        assert!(!own.verifies(&own.sign("{}"), WallTime(0)), "it never expires");
        for text in ["", "a.b", "a.b.c", &token[1..], &token.replace('.', "..")] {
            assert!(!own.verifies(text, WallTime(0)), "{text}");
        }
    }

    /// The example of RFC 7515 appendix A.1 has another header, so this one is of PyJWT.
    #[test]
    fn a_token_is_as_other_libraries_write_it() {
        let own = SharedSecret::from_text("base64:Y2hhbmdlbWU=");
        assert!(own.is(b"changeme") && !own.is(b"changem") && !own.is(b""));
        let token = own.sign(r#"{"iss":"a","exp":100}"#);
        assert_eq!(token.split('.').next(), Some("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", SharedSecret::new(b"changeme")).contains("changeme"));
    }
}
