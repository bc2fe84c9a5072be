//! Tokens and key sets. Whatever stands in a token: one that is not signed by the key is refused, and
//! one that is says no more of its user than its claims; and verifying either has a price below that of
//! the longest step.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::hmac;
use tidegate::jwt::{Algorithm, ClaimRules, JwkSet, Key, KeySet, Verifier};
use tidegate::timer::WallTime;
use tidegate::work::prices;

const SECRET: &[u8] = &[7; 32];
const NOW: WallTime = WallTime(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let published = JwkSet::parse(data, &Algorithm::ALL).map(|set| set.keys).unwrap_or_default();
    let mut own = KeySet::default();
    own.add(None, Key::from_secret(Algorithm::Hs256, SECRET).expect("it is long enough"));
    let verifier = Verifier {
        token_bytes_max: 8192,
        rules: ClaimRules {
            issuers: vec!["issuer".to_owned()],
            audiences: vec!["edge".to_owned()],
            leeway_ms: 1000,
            needs_expiry: true,
            user: "sub".to_owned(),
        },
    };
    let text = String::from_utf8_lossy(data);
    for keys in [&published, &own] {
        let verified = verifier.verify(keys, &text, NOW);
        assert!(verified.result.is_err(), "{text}");
        assert!(verified.work <= prices::STEP_MAX);
    }
    // The first half as a header, the second as claims, rightly signed.
    let (header, claims) = data.split_at(data.len() / 2);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if let Ok(claims) = verifier.verify(&own, &token, NOW).result {
        assert_eq!(claims.all.get("iss").and_then(|own| own.as_str()), Some("issuer"));
        assert!(claims.expires_at.is_some_and(|end| end > NOW));
        assert!(!claims.user.is_empty());
    }
    // Of a header that is sound.
    let signed = format!("eyJhbGciOiJIUzI1NiJ9.{}", URL_SAFE_NO_PAD.encode(data));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let _ = verifier.verify(&own, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)), NOW);
});
