//! Tokens, verified with a key of each kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use tidegate::jwt::{Algorithm, ClaimRules, JwkSet, Key, KeySet, Verified, Verifier};
use tidegate::timer::WallTime;

/// A token and the keys that verify it.
pub(super) struct Sample {
    pub(super) name: &'static str,
    keys: KeySet,
    token: String,
}

impl Sample {
    /// Verifies the token once.
    pub(super) fn verify(&self) -> Verified {
        let rules = ClaimRules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_ms: 0,
            needs_expiry: true,
            user: "iss".to_owned(),
        };
        let verifier = Verifier { token_bytes_max: 4096, rules };
        verifier.verify(&self.keys, &self.token, WallTime(1_300_000_000_000))
    }
}

/// One for each kind of key.
pub(super) fn samples() -> Vec<Sample> {
    let secret = [1; 32];
    let mut hmac_keys = KeySet::default();
    hmac_keys.add(None, Key::from_secret(Algorithm::Hs256, &secret).unwrap());
    let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let ed25519 = {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap()
    };
    let point = base64(ed25519.public_key());
    let ed25519_jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{point}"}}"#);
    vec![
        Sample {
            name: "JWT_HMAC",
            keys: hmac_keys,
            token: token("HS256", |message| hmac::sign(&hmac_key, message).as_ref().to_vec()),
        },
        Sample { name: "jwt_rsa(2048)", keys: published(RSA_JWK), token: RSA_TOKEN.to_owned() },
        ecdsa("JWT_P256", "ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ecdsa("JWT_P384", "ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        Sample {
            name: "JWT_ED25519",
            keys: published(&ed25519_jwk),
            token: token("EdDSA", |message| ed25519.sign(message).as_ref().to_vec()),
        },
    ]
}

fn ecdsa(
    name: &'static str,
    algorithm: &str,
    curve: &str,
    signing: &'static EcdsaSigningAlgorithm,
) -> Sample {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    let (x, y) = (base64(x), base64(y));
    let jwk = format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#);
    let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
    Sample { name, keys: published(&jwk), token: token(algorithm, sign) }
}

fn published(jwk: &str) -> KeySet {
    let set = format!("{{\"keys\":[{jwk}]}}");
    JwkSet::parse(set.as_bytes(), &Algorithm::ALL).unwrap().keys
}

fn token(algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = base64(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
    let signed = format!("{header}.{}", RSA_TOKEN.split('.').nth(1).unwrap());
    let signature = base64(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RFC 7515 appendix A.2.
const RSA_JWK: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
