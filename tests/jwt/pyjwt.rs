//! Tokens that PyJWT has made, of every algorithm: `tests/clients/make_tokens.py` makes keys and tokens
//! anew in each run.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate::jwt::{Algorithm, JwkSet, Key, KeySet, TokenError};

use crate::signer::{NOW, only, verifier};
use crate::skip::skip_without;

/// The token of one algorithm, with its key in each form that it has.
#[derive(Debug, Deserialize)]
struct Made {
    alg: String,
    token: String,
    secret: Option<String>,
    pem: Option<String>,
    jwk: Option<Map<String, Value>>,
}

fn made() -> Option<Vec<Made>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/python/bin/python");
    let output = Command::new(python)
        .arg(root.join("tests/clients/make_tokens.py"))
        .arg((NOW.0 / 1000 + 60).to_string())
        .output();
    let output = output.ok().filter(|output| output.status.success());
    if output.is_none() {
        skip_without("PyJWT below target/clients (scripts/install-clients)");
    }
    Some(serde_json::from_slice(&output?.stdout).unwrap())
}

fn user(keys: &KeySet, token: &str) -> Result<String, TokenError> {
    verifier().verify(keys, token, NOW).result.map(|claims| claims.user)
}

#[test]
fn tokens_of_every_algorithm_are_verified_by_every_form_of_their_key() {
    let Some(made) = made() else { return };
    let names: Vec<&str> = made.iter().map(|own| own.alg.as_str()).collect();
    assert_eq!(names, Algorithm::ALL.map(Algorithm::name));
    for (own, algorithm) in made.iter().zip(Algorithm::ALL) {
        let mut forms = Vec::new();
        if let Some(secret) = &own.secret {
            forms.push(only(Key::from_secret(algorithm, secret.as_bytes()).unwrap()));
        }
        if let Some(pem) = &own.pem {
            forms.push(only(Key::from_pem(algorithm, pem.as_bytes()).unwrap()));
        }
        if let Some(jwk) = &own.jwk {
            let set = serde_json::json!({ "keys": [jwk] }).to_string();
            forms.push(JwkSet::parse(set.as_bytes(), &[algorithm]).unwrap().keys);
        }
        assert_eq!(forms.len(), if algorithm.is_symmetric() { 1 } else { 2 });
        for keys in &forms {
            assert_eq!(keys.len(), 1);
            assert_eq!(user(keys, &own.token), Ok("ann".to_owned()), "{algorithm:?}");
            for other in made.iter().filter(|other| other.alg != own.alg) {
                assert_eq!(user(keys, &other.token), Err(TokenError::UnknownKey));
            }
            let (signed, signature) = own.token.rsplit_once('.').unwrap();
            let changed = format!("{signed}.AAAA{}", &signature[4..]);
            assert_eq!(user(keys, &changed), Err(TokenError::Signature));
        }
    }
}
