//! What becomes of clients with and without certificates.

use tidegate::certificates::{ClientCertificates, expiry_of, subject_of};

use crate::certificates::Authority;
use crate::handshake::{Client, Outcome, VERSIONS};
use crate::store::{asking, authorities, configs, open, store};

#[test]
fn a_listener_serves_the_clients_that_it_asks_for() {
    let (authority, known, foreign) =
        (Authority::new("ca"), Authority::new("clients"), Authority::new("clients"));
    let server = authority.server(&["a.example"]);
    let (own, other) = (known.client("device"), foreign.client("device"));
    let (_, configs) = store(
        &[&server],
        vec![
            open(),
            asking(ClientCertificates::Optional, &known),
            asking(ClientCertificates::Required, &known),
        ],
    );
    for version in VERSIONS {
        let served = |client: &Client| -> Vec<bool> {
            configs.iter().map(|own| client.connect(own, "a.example").is_ok()).collect()
        };
        assert_eq!(served(&Client::new(version)), [true, true, false], "{version:?}");
        let with_own = Client::with_certificate(version, &own);
        assert_eq!(served(&with_own), [true; 3], "{version:?}");
        // One that does not verify is refused where one is optional, too.
        let with_other = Client::with_certificate(version, &other);
        assert_eq!(served(&with_other), [true, false, false], "{version:?}");
        // A certificate for servers is none for clients.
        let as_server = Client::with_certificate(version, &known.server(&["device"]));
        assert_eq!(served(&as_server), [true, false, false], "{version:?}");
    }
}

#[test]
fn the_subject_of_a_client_is_known_after_each_handshake() {
    let known = Authority::new("clients");
    let server = Authority::new("ca").server(&["a.example"]);
    let asking = asking(ClientCertificates::Required, &known);
    let (_, configs) = store(&[&server], vec![asking]);
    for version in VERSIONS {
        let client = Client::with_certificate(version, &known.client("device 7"));
        for is_resumed in [false, true] {
            let outcome = client.connect(&configs[0], "a.example").unwrap();
            assert_eq!(outcome.is_resumed, is_resumed);
            let certificate = outcome.client.unwrap();
            assert_eq!(subject_of(&certificate).as_deref(), Some("CN=device 7"));
            assert!(expiry_of(&certificate).is_some());
        }
    }
}

/// So that one with several certificates sends one that is accepted (RFC 8446 §4.2.4).
#[test]
fn clients_are_told_the_names_of_the_authorities_unless_they_are_too_many() {
    let known = ["one", "two", "three"].map(Authority::new);
    let server = Authority::new("ca").server(&["a.example"]);
    let device = known[0].client("device");
    let named = |outcome: &Outcome, name: &str| {
        let names = outcome.authority_names.iter();
        names.filter(|own| own.windows(name.len()).any(|part| part == name.as_bytes())).count()
    };
    for version in VERSIONS {
        let client = Client::with_certificate(version, &device);
        let asking = asking(ClientCertificates::Required, &known[0]);
        let (mut store, before) = store(&[&server], vec![asking]);
        let outcome = client.connect(&before[0], "a.example").unwrap();
        assert_eq!((named(&outcome, "one"), outcome.authority_names.len()), (1, 1));
        store.replace_authorities(0, authorities(&known.each_ref())).unwrap();
        let outcome = client.connect(&configs(&store)[0], "a.example").unwrap();
        assert_eq!((named(&outcome, "three"), outcome.authority_names.len()), (1, 3));
        let many: Vec<Authority> = (0..200)
            .map(|number| Authority::new(&format!("an authority with a long name, {number}")))
            .collect();
        let many: Vec<&Authority> = many.iter().chain([&known[0]]).collect();
        store.replace_authorities(0, authorities(&many)).unwrap();
        let outcome = client.connect(&configs(&store)[0], "a.example").unwrap();
        assert!(outcome.authority_names.is_empty());
    }
}
