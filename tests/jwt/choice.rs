//! Which key a token is verified by, and which keys a published set gives.

use tidegate::jwt::{Algorithm, JwkSet, Key, NotAJwkSet, TokenError};

use crate::signer::{CLAIMS, EdDsa, Es256, SECRET, hs256, keys, secret_key, set, token, verify};

#[test]
fn a_key_id_chooses_among_keys() {
    let old = Key::from_secret(Algorithm::Hs256, &[b'o'; 32]).unwrap();
    let keys = keys([(Some("new"), secret_key(Algorithm::Hs256)), (Some("old"), old)]);
    let signed = |header: &str, secret: &[u8]| verify(&keys, &token(header, CLAIMS, hs256(secret)));
    let (new, old) = (r#"{"alg":"HS256","kid":"new"}"#, r#"{"alg":"HS256","kid":"old"}"#);
    assert!(signed(new, SECRET).is_ok());
    assert!(signed(old, &[b'o'; 32]).is_ok());
    assert_eq!(signed(new, &[b'o'; 32]), Err(TokenError::Signature));
    assert_eq!(signed(r#"{"alg":"HS256","kid":"x"}"#, SECRET), Err(TokenError::UnknownKey));
    // Without an ID each is tried, as in a rotation of keys that have none.
    assert!(signed(r#"{"alg":"HS256"}"#, SECRET).is_ok());
    assert!(signed(r#"{"alg":"HS256"}"#, &[b'o'; 32]).is_ok());
    assert_eq!(signed(r#"{"alg":"HS256"}"#, &[b'x'; 32]), Err(TokenError::Signature));
}

#[test]
fn a_key_without_an_id_serves_tokens_with_any() {
    let keys = keys([(None, secret_key(Algorithm::Hs256))]);
    let token = token(r#"{"alg":"HS256","kid":"any"}"#, CLAIMS, hs256(SECRET));
    assert!(verify(&keys, &token).is_ok());
}

#[test]
fn a_published_set_gives_the_keys_that_can_verify() {
    let (ec, ed) = (Es256::new(), EdDsa::new());
    let parse = |jwks: &[String], algorithms: &[Algorithm]| {
        let set = JwkSet::parse(set(jwks).as_bytes(), algorithms).unwrap();
        (set.keys.len(), set.ignored)
    };
    let all = Algorithm::ALL;
    for members in [
        "",
        r#","use":"sig""#,
        r#","key_ops":["verify"]"#,
        r#","key_ops":["sign","verify"],"use":"sig""#,
        r#","alg":"ES256","kid":"a""#,
        r#","x5t":"abc","unknown":{"a":[1]}"#,
    ] {
        assert_eq!(parse(&[ec.jwk(members)], &all), (1, 0), "{members}");
    }
    for members in [
        r#","use":"enc""#,
        r#","key_ops":["encrypt"]"#,
        r#","key_ops":[]"#,
        r#","alg":"ES384""#,
        r#","alg":"HS256""#,
        r#","alg":"none""#,
        r#","kid":1"#,
    ] {
        assert_eq!(parse(&[ec.jwk(members), ed.jwk("")], &all), (1, 1), "{members}");
    }
    assert_eq!(parse(&[ec.jwk("")], &[Algorithm::EdDsa, Algorithm::Rs256]), (0, 1));
    let secret =
        r#"{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0","alg":"HS256"}"#;
    let others = [
        secret.to_owned(),
        "1".to_owned(),
        "{}".to_owned(),
        r#"{"kty":"EC"}"#.to_owned(),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
            .to_owned(),
        ec.jwk("").replace("P-256", "P-384"),
        r#"{"kty":"new","a":1}"#.to_owned(),
    ];
    assert_eq!(parse(&others, &all), (0, others.len()));
    let many: Vec<String> = (0..200).map(|_| ec.jwk("")).collect();
    let (taken, ignored) = parse(&many, &[Algorithm::Es256]);
    assert_eq!((taken, ignored), (64, 136));
}

#[test]
fn what_is_no_set_is_refused() {
    for json in ["", "null", "[]", "{}", r#"{"keys":1}"#, r#"{"keys":{}}"#, "<html>", "{\"keys\":["]
    {
        let parsed = JwkSet::parse(json.as_bytes(), &Algorithm::ALL);
        assert_eq!(parsed.err(), Some(NotAJwkSet), "{json}");
    }
    assert_eq!(JwkSet::parse(br#"{"keys":[]}"#, &Algorithm::ALL).unwrap().keys.len(), 0);
}
