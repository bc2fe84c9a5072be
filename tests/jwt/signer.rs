//! Makes tokens for the tests, and verifiers that take them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use tidegate::jwt::{Algorithm, ClaimRules, Claims, Key, KeySet, TokenError, Verifier};
use tidegate::timer::WallTime;

/// A date at which the tokens of the tests are valid.
pub(crate) const NOW: WallTime = WallTime(1_300_000_000_000);
/// A secret that is long enough for every HMAC.
pub(crate) const SECRET: &[u8] = &[b's'; 64];
pub(crate) const CLAIMS: &str = r#"{"sub":"ann","exp":1300000001}"#;

pub(crate) fn verifier() -> Verifier {
    Verifier {
        token_bytes_max: 4096,
        rules: ClaimRules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_ms: 0,
            needs_expiry: true,
            user: "sub".to_owned(),
        },
    }
}

pub(crate) fn verify(keys: &KeySet, token: &str) -> Result<Claims, TokenError> {
    verifier().verify(keys, token, NOW).result
}

/// The keys of a set of one.
pub(crate) fn only(key: Key) -> KeySet {
    keys([(None, key)])
}

pub(crate) fn keys<const N: usize>(entries: [(Option<&str>, Key); N]) -> KeySet {
    let mut keys = KeySet::default();
    for (kid, key) in entries {
        keys.add(kid.map(str::to_owned), key);
    }
    keys
}

pub(crate) fn secret_key(algorithm: Algorithm) -> Key {
    Key::from_secret(algorithm, SECRET).unwrap()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims, signed by `sign`.
pub(crate) fn token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64(header), base64(claims));
    let signature = base64(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(crate) fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// A key on P-256, with what signs by it and the coordinates of its point.
pub(crate) struct Es256 {
    pair: EcdsaKeyPair,
}

impl Es256 {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// The public key as a JWK with these further members.
    pub(crate) fn jwk(&self, members: &str) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{members}}}"#)
    }
}

/// A key on Ed25519.
pub(crate) struct EdDsa {
    pair: Ed25519KeyPair,
}

impl EdDsa {
    pub(crate) fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    pub(crate) fn jwk(&self, members: &str) -> String {
        let x = base64(self.pair.public_key());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{members}}}"#)
    }
}

/// A JWK set of these keys.
pub(crate) fn set(jwks: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, jwks.join(","))
}
