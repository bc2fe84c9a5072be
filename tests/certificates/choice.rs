//! Which certificate a client gets, and that another one may take its place.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::TLS13;
use rustls::{AlertDescription, Error, SignatureScheme};
use tidegate::certificates::{StoreSettings, TlsVersion, UnknownSni};

use crate::certificates::{Authority, Issued};
use crate::handshake::{Client, VERSIONS};
use crate::store::{certificate, open, settings, shared_roots, store, store_with};

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new("ca");
    let first = authority.server(&["first.example", "192.0.2.1"]);
    let exact = authority.server(&["a.wild.example"]);
    let wild = authority.server(&["*.wild.example"]);
    let (_, configs) = store(&[&first, &wild, &exact], vec![open()]);
    for version in VERSIONS {
        for (name, expected) in [
            ("first.example", &first),
            ("a.wild.example", &exact),
            ("A.WILD.example", &exact),
            ("b.wild.example", &wild),
            ("a.b.wild.example", &first),
            ("wild.example", &first),
            ("unknown.example", &first),
            // No client asks for an address by SNI.
            ("192.0.2.1", &first),
            ("192.0.2.2", &first),
        ] {
            let outcome = Client::new(version).connect(&configs[0], name).unwrap();
            assert_eq!(outcome.server, Some(der(expected)), "{name}");
            assert_eq!(outcome.alpn.as_deref(), Some(&b"http/1.1"[..]));
        }
    }
}

#[test]
fn unknown_names_are_refused_where_the_settings_say_so() {
    let issued = Authority::new("ca").server(&["known.example"]);
    let settings = StoreSettings { unknown_sni: UnknownSni::Refuse, ..settings() };
    let (_, configs) = store_with(&settings, &[&issued], vec![open()], shared_roots(1));
    for version in VERSIONS {
        let client = Client::new(version);
        client.connect(&configs[0], "known.example").unwrap();
        // Without SNI there is no name to be unknown.
        client.connect(&configs[0], "192.0.2.1").unwrap();
        client.connect(&configs[0], "unknown.example").unwrap_err();
    }
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_that_it_can_verify() {
    let authority = Authority::new("ca");
    let (p256, ed25519) =
        (authority.server(&["a.example"]), authority.server_ed25519(&["a.example"]));
    let (ecdsa, eddsa) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519);
    let (_, configs) = store(&[&p256, &ed25519], vec![open()]);
    for name in ["a.example", "unknown.example"] {
        for (schemes, expected) in
            [(&[ecdsa][..], &p256), (&[eddsa], &ed25519), (&[eddsa, ecdsa], &p256)]
        {
            let outcome = Client::with_schemes(schemes).connect(&configs[0], name).unwrap();
            assert_eq!(outcome.server, Some(der(expected)), "{name} {schemes:?}");
        }
        let rsa = Client::with_schemes(&[SignatureScheme::RSA_PSS_SHA256]);
        rsa.connect(&configs[0], name).unwrap_err();
    }
}

#[test]
fn a_certificate_is_replaced_for_handshakes_to_come() {
    let authority = Authority::new("ca");
    let old = authority.server(&["old.example", "both.example"]);
    let new = authority.server(&["new.example", "both.example"]);
    let other = authority.server(&["other.example"]);
    let (mut store, configs) = store(&[&other, &old], vec![open(), open()]);
    let view = store.certificates();
    let served = |name: &str| -> Vec<_> {
        let clients = configs.iter().map(|own| Client::new(&TLS13).connect(own, name).unwrap());
        clients.map(|outcome| outcome.server.unwrap()).collect()
    };
    assert_eq!(served("both.example"), [der(&old), der(&old)]);
    store.replace_certificate(1, certificate(&new));
    assert_eq!(served("both.example"), [der(&new), der(&new)]);
    assert_eq!(served("old.example"), [der(&other), der(&other)]);
    assert_eq!(view.now()[1].names().dns, ["new.example", "both.example"]);
    // As one that ACME has brought, where the configuration has none.
    store.replace_certificate(2, certificate(&old));
    assert_eq!(view.now().len(), 3, "behind the last there is none to replace");
    assert_eq!(served("old.example"), [der(&old), der(&old)]);
    assert_eq!(served("both.example"), [der(&new), der(&new)], "the first with the name");
}

#[test]
fn a_certificate_says_its_names_and_until_when_it_is_valid() {
    let issued =
        Authority::new("ca").server_until(&["a.example", "*.B.example", "::1"], 2030, 1, 2);
    let read = certificate(&issued);
    assert_eq!(read.names().dns, ["a.example", "*.b.example"]);
    assert_eq!(read.names().addresses, ["::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(read.names().to_string(), "a.example, *.b.example, ::1");
    assert_eq!(read.expires().0, 1_893_542_400_000);
}

#[test]
fn the_oldest_version_is_that_of_the_settings() {
    let issued = Authority::new("ca").server(&["a.example"]);
    let settings = StoreSettings { version_min: TlsVersion::Tls13, ..settings() };
    let (_, configs) = store_with(&settings, &[&issued], vec![open()], shared_roots(1));
    let [tls12, tls13] = VERSIONS.map(|version| Client::new(version).connect(&configs[0], "a"));
    tls13.unwrap();
    let refused = tls12.unwrap_err();
    assert!(
        matches!(refused, Error::PeerIncompatible(_))
            || refused == Error::AlertReceived(AlertDescription::ProtocolVersion),
        "{refused}"
    );
}
