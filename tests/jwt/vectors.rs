//! The examples of the RFCs. Those whose payload is no JSON object have a right signature exactly if it
//! is the claims that are refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tidegate::jwt::{Algorithm, JwkSet, Key, KeySet, TokenError};

use crate::signer::{only, set, verifier};
use tidegate::timer::WallTime;

/// Before the examples expire.
const EARLY: WallTime = WallTime(1_300_000_000_000);

fn verify(keys: &KeySet, token: &str) -> Result<String, TokenError> {
    let mut verifier = verifier();
    verifier.rules.user = "iss".to_owned();
    verifier.verify(keys, token, EARLY).result.map(|claims| claims.user)
}

fn published(jwk: &str) -> KeySet {
    let set = set(&[jwk.to_owned()]);
    let set = JwkSet::parse(set.as_bytes(), &Algorithm::ALL).unwrap();
    assert_eq!(set.ignored, 0);
    set.keys
}

/// The claims of the examples in RFC 7515 appendix A.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290\
                   Ijp0cnVlfQ";

#[test]
fn rfc_7515_appendix_a1_hs256() {
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let keys = only(Key::from_secret(Algorithm::Hs256, &secret).unwrap());
    let token = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    assert_eq!(verify(&keys, &token), Ok("joe".to_owned()));
    let verifier = verifier();
    let later = |ms| verifier.verify(&keys, &token, WallTime(ms)).result.map(drop);
    assert_eq!(later(1_300_819_380_000), Err(TokenError::Expired));
    assert_eq!(later(1_300_819_379_999), Err(TokenError::User), "the example has no sub");
}

#[test]
fn rfc_7515_appendix_a2_rs256() {
    let keys = published(
        r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
    );
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{JOE}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    assert_eq!(verify(&keys, &token), Ok("joe".to_owned()));
}

#[test]
fn rfc_7515_appendix_a3_es256() {
    let keys = published(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(verify(&keys, &token), Ok("joe".to_owned()));
}

#[test]
fn rfc_7515_appendix_a5_is_refused_as_it_is_not_signed() {
    let keys = only(Key::from_secret(Algorithm::Hs256, &[1; 64]).unwrap());
    for signature in ["", "AA"] {
        let result = verify(&keys, &format!("eyJhbGciOiJub25lIn0.{JOE}.{signature}"));
        assert!(matches!(result, Err(TokenError::Form | TokenError::Header)), "{result:?}");
    }
}

#[test]
fn rfc_8037_appendix_a4_ed25519() {
    let keys = published(
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    );
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verify(&keys, token), Err(TokenError::Claims));
    let changed = token.replace("hgyY", "hgyZ");
    assert_eq!(verify(&keys, &changed), Err(TokenError::Signature));
}

#[test]
fn rfc_7520_section_4_2_ps384() {
    let keys = published(
        r#"{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","e":"AQAB","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"}"#,
    );
    let token = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
    assert_eq!(verify(&keys, token), Err(TokenError::Claims));
    let named = token.replace("ImJpbGJv", "ImJpbGJw");
    assert_eq!(verify(&keys, &named), Err(TokenError::UnknownKey));
}

/// `testvectors_v1/json_web_signature_test.json` of <https://github.com/C2SP/wycheproof>, which no package
/// holds and the variable names: valid signatures are right, invalid ones and keys for other uses are not.
#[test]
#[ignore = "needs WYCHEPROOF_JWS=PATH/json_web_signature_test.json"]
fn wycheproof_agrees_about_signatures() {
    let path = std::env::var("WYCHEPROOF_JWS").expect("WYCHEPROOF_JWS names the vectors");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    let mut differing = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let jwk = group.get("public").or_else(|| group.get("private")).unwrap();
        let keys = keys_of(jwk);
        for test in group["tests"].as_array().unwrap() {
            let Some(token) = test["jws"].as_str() else { continue };
            // Of a payload that is no claims set it is known whether the signature was right.
            let mut verifier = verifier();
            verifier.token_bytes_max = 1 << 20;
            let result = verifier.verify(&keys, token, EARLY).result;
            let claims = token.split('.').nth(1).unwrap_or_default();
            let is_right = URL_SAFE_NO_PAD.decode(claims).is_ok()
                && !matches!(
                    result,
                    Err(TokenError::TooLong
                        | TokenError::Form
                        | TokenError::Header
                        | TokenError::Critical
                        | TokenError::UnknownKey
                        | TokenError::Signature)
                );
            let is_valid = test["result"] == "valid";
            *(if is_valid { &mut valid } else { &mut invalid }) += 1;
            let is_known =
                DIFFERING.iter().any(|(ids, _)| ids.contains(&test["tcId"].as_u64().unwrap()));
            if is_right != is_valid && !is_known {
                differing.push(format!("{} {} {result:?} {jwk}", test["tcId"], test["comment"]));
            }
        }
    }
    assert!(differing.is_empty(), "of {valid} and {invalid}: {}", differing.join("\n"));
    assert!(valid > 40 && invalid > 300, "{valid} {invalid}");
}

/// Vectors that say otherwise, and why the gateway does not.
const DIFFERING: &[(&[u64], &str)] = &[
    (&[346, 350], "the key is for another algorithm than the token"),
    (&[347, 351], "the curve P-521 is not spoken"),
    (&[367, 370], "nothing is wrong with it: MAC and base64url are right"),
    (&[372, 373], "a character that is none of base64url (RFC 7515 section 2)"),
];

/// Wycheproof's keys name their algorithm; its secrets are JWKs too, which the gateway takes none of.
fn keys_of(jwk: &Value) -> KeySet {
    let named = jwk["alg"]
        .as_str()
        .and_then(|name| Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name));
    if let (Some(algorithm), Some(secret)) = (named, jwk["k"].as_str()) {
        let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
        return Key::from_secret(algorithm, &secret).map(only).unwrap_or_default();
    }
    let set = format!("{{\"keys\":[{jwk}]}}");
    JwkSet::parse(set.as_bytes(), &Algorithm::ALL).unwrap().keys
}
