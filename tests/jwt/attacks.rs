//! What RFC 8725 warns of.

use proptest::prelude::*;
use tidegate::jwt::{Algorithm, JwkSet, Key, KeyError, TokenError};
use tidegate::timer::WallTime;

use crate::signer::{
    CLAIMS, EdDsa, Es256, NOW, SECRET, base64, hs256, keys, only, secret_key, set, token, verifier,
    verify,
};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[test]
fn a_token_without_a_signature_is_refused_however_none_is_written() {
    let keys = only(secret_key(Algorithm::Hs256));
    for none in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 "] {
        for signature in [Vec::new(), vec![0], hs256(SECRET)(b"x")] {
            let token = token(&format!(r#"{{"alg":"{none}"}}"#), CLAIMS, |_| signature.clone());
            let result = verify(&keys, &token);
            assert!(
                matches!(result, Err(TokenError::Header | TokenError::Form)),
                "{none}: {result:?}"
            );
        }
    }
    for header in ["{}", "[]", "null", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, "\"HS256\""] {
        let token = token(header, CLAIMS, hs256(SECRET));
        assert_eq!(verify(&keys, &token), Err(TokenError::Header), "{header}");
    }
}

/// RFC 8725 section 2.1: the public key is known to everybody, and would be the secret.
#[test]
fn a_public_key_is_never_a_secret() {
    let pair = Es256::new();
    let jwk = set(&[pair.jwk("")]);
    let public = JwkSet::parse(jwk.as_bytes(), &Algorithm::ALL).unwrap().keys;
    for secret in [jwk.as_bytes(), pair.jwk("").as_bytes(), b""] {
        let forged = token(HS256, CLAIMS, hs256(secret));
        assert_eq!(verify(&public, &forged), Err(TokenError::UnknownKey));
    }
    let pem = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    assert_eq!(Key::from_secret(Algorithm::Hs256, pem).unwrap_err(), KeyError::PemSecret);
}

/// A token says by which algorithm it is signed; by which ones it may be is not its to say.
#[test]
fn an_algorithm_is_bound_to_its_key() {
    let (ec, ed) = (Es256::new(), EdDsa::new());
    let published = set(&[ec.jwk(r#","kid":"a""#), ed.jwk(r#","kid":"b""#)]);
    let keys = JwkSet::parse(published.as_bytes(), &Algorithm::ALL).unwrap().keys;
    let named = |alg: &str, kid: &str| format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
    let es = |message: &[u8]| ec.sign(message);
    let ed = |message: &[u8]| ed.sign(message);
    assert!(verify(&keys, &token(&named("ES256", "a"), CLAIMS, es)).is_ok());
    assert!(verify(&keys, &token(&named("EdDSA", "b"), CLAIMS, ed)).is_ok());
    for (alg, kid) in
        [("ES256", "b"), ("EdDSA", "a"), ("ES384", "a"), ("HS256", "a"), ("RS256", "b")]
    {
        for result in [
            verify(&keys, &token(&named(alg, kid), CLAIMS, es)),
            verify(&keys, &token(&named(alg, kid), CLAIMS, ed)),
        ] {
            assert_eq!(result, Err(TokenError::UnknownKey), "{alg} {kid}");
        }
    }
    // The same secret under another HMAC.
    let keys = only(secret_key(Algorithm::Hs512));
    let forged = token(HS256, CLAIMS, hs256(SECRET));
    assert_eq!(verify(&keys, &forged), Err(TokenError::UnknownKey));
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    let keys = only(secret_key(Algorithm::Hs256));
    for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", r#""exp""#, "{}"] {
        let header = format!(r#"{{"alg":"HS256","b64":true,"exp":1,"crit":{crit}}}"#);
        let result = verify(&keys, &token(&header, CLAIMS, hs256(SECRET)));
        assert!(
            matches!(result, Err(TokenError::Critical | TokenError::Header)),
            "{crit}: {result:?}"
        );
    }
}

#[test]
fn a_key_that_a_token_brings_along_is_not_used() {
    let (own, attacker) = (Es256::new(), Es256::new());
    let published = set(&[own.jwk("")]);
    let keys = JwkSet::parse(published.as_bytes(), &Algorithm::ALL).unwrap().keys;
    for member in [
        format!(r#""jwk":{}"#, attacker.jwk("")),
        r#""jku":"https://attacker.example/keys""#.to_owned(),
        r#""x5u":"https://attacker.example/chain""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
        r#""kid":"../../dev/null""#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"ES256",{member}}}"#);
        let forged = token(&header, CLAIMS, |message| attacker.sign(message));
        assert_eq!(verify(&keys, &forged), Err(TokenError::Signature), "{member}");
    }
}

#[test]
fn claims_are_not_read_before_the_signature_is_right() {
    let keys = only(secret_key(Algorithm::Hs256));
    for claims in ["", "[]", "{}", r#"{"exp":0}"#, CLAIMS] {
        let forged = token(HS256, claims, hs256(b"another secret"));
        let result = verify(&keys, &forged);
        assert!(matches!(result, Err(TokenError::Signature)), "{claims}: {result:?}");
    }
}

#[test]
fn a_token_has_exactly_three_parts() {
    let keys = only(secret_key(Algorithm::Hs256));
    let right = token(HS256, CLAIMS, hs256(SECRET));
    assert!(verify(&keys, &right).is_ok());
    let parts: Vec<&str> = right.split('.').collect();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        parts[0].to_owned(),
        parts[..2].join("."),
        format!("{}.", parts[..2].join(".")),
        format!("{right}."),
        format!(".{right}"),
        format!("{right}.{}", parts[2]),
        format!("{right}.{}.{}", parts[2], parts[2]),
        format!(" {right}"),
        format!("{right} "),
        format!("{right}="),
        format!("{right}\n"),
        right.replacen('.', "..", 1),
        right.replace('.', "%2E"),
    ] {
        assert!(verify(&keys, &text).is_err(), "{text}");
    }
}

#[test]
fn a_long_token_is_not_looked_at() {
    let keys = only(secret_key(Algorithm::Hs256));
    let right = token(HS256, CLAIMS, hs256(SECRET));
    let mut verifier = verifier();
    verifier.token_bytes_max = right.len();
    assert!(verifier.verify(&keys, &right, NOW).result.is_ok());
    verifier.token_bytes_max -= 1;
    assert_eq!(verifier.verify(&keys, &right, NOW).result, Err(TokenError::TooLong));
    let deep =
        format!(r#"{{"sub":"ann","exp":1300000001,"a":{}1{}}}"#, "[".repeat(900), "]".repeat(900));
    let deep = token(HS256, &deep, hs256(SECRET));
    assert_eq!(verify(&keys, &deep), Err(TokenError::Claims), "deeper than any claim");
}

/// Keys without an ID could be tried for ever.
#[test]
fn a_wrong_token_costs_no_more_than_a_step() {
    let many = (0..64).map(|_| Es256::new().jwk("")).collect::<Vec<_>>();
    let published = set(&many);
    let keys = JwkSet::parse(published.as_bytes(), &[Algorithm::Es256]).unwrap().keys;
    assert_eq!(keys.len(), 64);
    let attacker = Es256::new();
    let forged = token(r#"{"alg":"ES256"}"#, CLAIMS, |message| attacker.sign(message));
    let verified = verifier().verify(&keys, &forged, NOW);
    assert_eq!(verified.result, Err(TokenError::Signature));
    assert!(verified.work <= tidegate::work::prices::STEP_MAX, "{}", verified.work);
    assert!(verified.work > tidegate::work::prices::STEP_MAX / 2, "{}", verified.work);
}

proptest! {
    /// Base64url has one form, so any other character anywhere is another token.
    #[test]
    fn no_other_text_than_the_token_is_accepted(
        position in any::<prop::sample::Index>(),
        byte in "[A-Za-z0-9_.=+/ -]",
        is_inserted: bool,
    ) {
        let keys = only(secret_key(Algorithm::Hs256));
        let right = token(HS256, CLAIMS, hs256(SECRET));
        let position = position.index(right.len());
        let end = if is_inserted { position } else { position + 1 };
        let changed = format!("{}{byte}{}", &right[..position], &right[end..]);
        prop_assert_eq!(verify(&keys, &changed).is_ok(), changed == right);
    }

    #[test]
    fn any_text_is_refused(
        text in "\\PC{0,200}|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}",
        header in "\\PC{0,60}",
        claims: Vec<u8>,
        now: u64,
    ) {
        let keys = keys([(None, secret_key(Algorithm::Hs256)), (Some("a"), secret_key(Algorithm::Hs384))]);
        let made = format!("{}.{}.{}", base64(header), base64(&claims), base64("signature"));
        for text in [&text, &made] {
            prop_assert!(verifier().verify(&keys, text, WallTime(now)).result.is_err());
        }
        // What is signed by the right key is read, whatever it is.
        let signed = token(HS256, &String::from_utf8_lossy(&claims), hs256(SECRET));
        let _ = verifier().verify(&keys, &signed, WallTime(now));
    }
}
