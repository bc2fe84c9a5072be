//! What is wrong with files, in words; and that no bytes make reading them panic.

use proptest::prelude::*;
use tidegate::certificates::{CertificateError, ClientAuthorities, ServerCertificate, provider};

use crate::certificates::{Authority, CertificateFolder};

fn pair(chain: &str, key: &str) -> Result<ServerCertificate, CertificateError> {
    ServerCertificate::from_pem(chain.as_bytes(), key.as_bytes(), &provider())
}

#[test]
fn a_pair_must_be_whole_and_belong_together() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.server(&["a.example"]), authority.server_ed25519(&["a.example"]));
    let chain = format!("{}{}", one.certificate, authority.pem());
    assert!(pair(&chain, &one.key).is_ok());
    // nginx and HAProxy have both in one file.
    let both = format!("{}{chain}", one.key);
    assert!(pair(&both, &both).is_ok());
    assert_eq!(pair(&one.certificate, &other.key).unwrap_err(), CertificateError::OtherKey);
    assert_eq!(pair("", &one.key).unwrap_err(), CertificateError::NoCertificate);
    assert_eq!(pair(&one.key, &one.key).unwrap_err(), CertificateError::NoCertificate);
    let half = &one.certificate[..one.certificate.len() / 2];
    assert!(matches!(pair(half, &one.key).unwrap_err(), CertificateError::Chain(_)));
    for key in ["", half, &one.certificate, &one.key[..one.key.len() / 2]] {
        assert!(matches!(pair(&chain, key).unwrap_err(), CertificateError::Key(_)), "{key}");
    }
    let wrong_order = format!("{}{}", authority.pem(), one.certificate);
    assert_eq!(pair(&wrong_order, &one.key).unwrap_err(), CertificateError::OtherKey);
}

#[test]
fn authorities_are_certificates() {
    let read = |pem: &str| ClientAuthorities::from_pem(pem.as_bytes(), &provider()).map(drop);
    assert_eq!(read(&Authority::new("ca").pem()), Ok(()));
    assert_eq!(read(""), Err(CertificateError::NoCertificate));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(read(broken), Err(CertificateError::Authority(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_reading_panic(
        noise in prop::collection::vec(any::<u8>(), 0..100),
        at: prop::sample::Index,
        is_key: bool,
    ) {
        let issued = Authority::new("ca").server(&["a.example"]);
        let mut chain = issued.certificate.into_bytes();
        let mut key = issued.key.into_bytes();
        let changed = if is_key { &mut key } else { &mut chain };
        let at = at.index(changed.len());
        changed.splice(at..at, noise);
        // Whatever it comes to, it comes to something.
        let _ = ServerCertificate::from_pem(&chain, &key, &provider());
        let _ = ClientAuthorities::from_pem(&chain, &provider());
    }
}

#[test]
fn the_folder_for_tests_holds_a_pair_and_authorities() {
    let folder = CertificateFolder::new();
    let read = |name: &str| std::fs::read_to_string(folder.file(name)).unwrap();
    let server = pair(&read("server.pem"), &read("server.key")).unwrap();
    assert_eq!(server.names().to_string(), "localhost, 127.0.0.1, ::1");
    pair(&read("client.pem"), &read("client.key")).unwrap();
    for name in ["ca.pem", "client-ca.pem"] {
        ClientAuthorities::from_pem(read(name).as_bytes(), &provider()).unwrap();
    }
    assert!(folder.table("server").contains("server.key"));
}
