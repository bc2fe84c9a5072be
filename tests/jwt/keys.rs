//! What is no key, and what is said of it.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use tidegate::jwt::{Algorithm, Key, KeyError};

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    (pair.public_key_pem(), pair.serialize_pem())
}

#[test]
fn a_public_key_serves_the_algorithm_of_its_kind_only() {
    for (algorithm, own) in [
        (&PKCS_ECDSA_P256_SHA256, Algorithm::Es256),
        (&PKCS_ECDSA_P384_SHA384, Algorithm::Es384),
        (&PKCS_ED25519, Algorithm::EdDsa),
    ] {
        let (public, private) = pem(algorithm);
        for asked in Algorithm::ALL {
            let result = Key::from_pem(asked, public.as_bytes()).map(|key| key.algorithm());
            let expected = if asked == own {
                Ok(own)
            } else if asked.is_symmetric() {
                Err(KeyError::NeedsSecret)
            } else {
                Err(KeyError::OtherKind)
            };
            assert_eq!(result, expected, "{asked:?} with a key for {own:?}");
        }
        assert_eq!(Key::from_pem(own, private.as_bytes()).err(), Some(KeyError::PrivateKey));
        let both = format!("a comment\n{public}{private}");
        assert!(Key::from_pem(own, both.as_bytes()).is_ok());
    }
}

#[test]
fn a_secret_serves_only_an_hmac_and_must_be_long_enough() {
    for (algorithm, bytes_min) in
        [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)]
    {
        assert!(Key::from_secret(algorithm, &vec![1; bytes_min]).is_ok());
        let short = Key::from_secret(algorithm, &vec![1; bytes_min - 1]);
        assert_eq!(short.err(), Some(KeyError::ShortSecret { bytes_min }));
    }
    let public = Key::from_secret(Algorithm::Es256, &[1; 64]);
    assert_eq!(public.err(), Some(KeyError::NeedsPublicKey));
}

#[test]
fn what_is_not_pem_is_refused() {
    let (public, _) = pem(&PKCS_ED25519);
    for text in [
        String::new(),
        "key".to_owned(),
        public.replace("PUBLIC KEY", "CERTIFICATE"),
        public.replace("PUBLIC KEY", "RSA PUBLIC KEY"),
        public.replace('M', "!"),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
    ] {
        let result = Key::from_pem(Algorithm::EdDsa, text.as_bytes());
        assert_eq!(result.err(), Some(KeyError::NoPublicKey), "{text}");
    }
}

#[test]
fn a_key_is_not_shown() {
    let key = Key::from_secret(Algorithm::Hs256, &[b's'; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "Key { algorithm: Hs256, .. }");
}
