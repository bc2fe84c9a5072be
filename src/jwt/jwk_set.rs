//! Keys from a JWK set (RFC 7517 section 5), of which only public ones are taken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyOperations,
    OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters,
};
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Curve};
use super::key::{Key, KeyError};
use super::key_set::KeySet;

/// A JWK set, read.
#[derive(Debug)]
pub struct JwkSet {
    /// The keys that can verify tokens.
    pub keys: KeySet,
    /// How many keys are for something else, or cannot be read, and were left out.
    pub ignored: usize,
}

/// A document is no JWK set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no JWK set: a JSON object with a list of `keys` (RFC 7517 section 5)")]
pub struct NotAJwkSet;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl JwkSet {
    /// Reads a set. A key that names no algorithm may serve for each of `algorithms` that it fits; one
    /// that names another than these is left out, as are secrets.
    ///
    /// # Errors
    /// If the document is no JWK set. A key that cannot be read is no error (RFC 7517 section 5).
    pub fn parse(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, NotAJwkSet> {
        let document: Document = serde_json::from_slice(json).map_err(|_| NotAJwkSet)?;
        let mut set = Self { keys: KeySet::default(), ignored: 0 };
        for value in document.keys {
            if set.keys.len() + algorithms.len() > KEYS_MAX || !set.add(value, algorithms) {
                set.ignored += 1;
            }
        }
        Ok(set)
    }

    /// Adds a key for each algorithm that it can serve; whether there is any.
    fn add(&mut self, value: Value, algorithms: &[Algorithm]) -> bool {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { return false };
        if !is_for_signatures(&jwk) {
            return false;
        }
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        let before = self.keys.len();
        for algorithm in algorithms.iter().filter(|own| !own.is_symmetric()) {
            if named.as_deref().is_some_and(|named| named != algorithm.name()) {
                continue;
            }
            if let Ok(key) = key_of(*algorithm, &jwk.algorithm) {
                self.keys.add(jwk.common.key_id.clone(), key);
            }
        }
        self.keys.len() > before
    }
}

/// Whether a key may verify signatures, by its `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3).
fn is_for_signatures(jwk: &Jwk) -> bool {
    let is_for_use =
        jwk.common.public_key_use.as_ref().is_none_or(|own| *own == PublicKeyUse::Signature);
    let operations = jwk.common.key_operations.as_ref();
    is_for_use && operations.is_none_or(|own| own.contains(&KeyOperations::Verify))
}

fn key_of(algorithm: Algorithm, parameters: &AlgorithmParameters) -> Result<Key, KeyError> {
    match parameters {
        AlgorithmParameters::RSA(RSAKeyParameters { n, e, .. }) => {
            Key::from_rsa(algorithm, &bytes(n)?, &bytes(e)?)
        }
        AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters { curve, x, y, .. }) => {
            let (curve, bytes_each) = match curve {
                EllipticCurve::P256 => (Curve::P256, 32),
                EllipticCurve::P384 => (Curve::P384, 48),
                EllipticCurve::P521 | EllipticCurve::Ed25519 | _ => {
                    return Err(KeyError::OtherKind);
                }
            };
            // Each takes the length of the field, zeros in front included (RFC 7518 section 6.2.1.2).
            let (x, y) = (bytes(x)?, bytes(y)?);
            if x.len() != bytes_each || y.len() != bytes_each {
                return Err(KeyError::OtherKind);
            }
            let point = [&[UNCOMPRESSED][..], &x, &y].concat();
            Key::from_point(algorithm, curve, &point)
        }
        AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            curve: EllipticCurve::Ed25519,
            x,
            ..
        }) => Key::from_point(algorithm, Curve::Ed25519, &bytes(x)?),
        AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => Err(KeyError::OtherKind),
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::OtherKind)
}

/// The most keys that are taken from a set; providers publish two or three.
const KEYS_MAX: usize = 64;
/// What stands before the coordinates of a point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;
