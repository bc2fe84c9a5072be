//! Which tickets are accepted where, and for how long.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tidegate::certificates::{
    ClientAuthorities, ClientCertificates, ROTATION_MS, StoreSettings, TicketRoots, provider,
};
use tidegate::timer::Millis;

use crate::certificates::Authority;
use crate::handshake::{Client, VERSIONS};
use crate::store::{asking, authorities, configs, open, settings, shared_roots, store, store_with};

const NAME: &str = "a.example";

/// Whether the session of a full handshake with `from` is resumed by `to`.
fn resumes(client: &Client, from: &Arc<ServerConfig>, to: &Arc<ServerConfig>) -> bool {
    assert!(!client.connect(from, NAME).unwrap().is_resumed);
    let outcome = client.connect(to, NAME).unwrap();
    assert!(!outcome.had_early_data, "no ticket permits early data");
    outcome.is_resumed
}

#[test]
fn a_ticket_is_accepted_by_listeners_that_ask_the_same_of_clients_and_by_no_others() {
    let (known, others) = (Authority::new("clients"), Authority::new("others"));
    let server = Authority::new("ca").server(&[NAME]);
    let device = known.client("device");
    let mut both = asking(ClientCertificates::Required, &known);
    both.as_mut().unwrap().authorities = Some(authorities(&[&known, &others]));
    let (_, configs) = store(
        &[&server],
        vec![
            open(),
            asking(ClientCertificates::Optional, &known),
            asking(ClientCertificates::Required, &known),
            both,
            open(),
            asking(ClientCertificates::Required, &known),
        ],
    );
    let kinds = [0, 1, 2, 3, 0, 2];
    for version in VERSIONS {
        for (from, kind) in configs.iter().zip(kinds) {
            for (to, other_kind) in configs.iter().zip(kinds) {
                let client = Client::with_certificate(version, &device);
                let is_resumed = resumes(&client, from, to);
                assert_eq!(is_resumed, kind == other_kind, "{version:?} {kind} {other_kind}");
            }
        }
    }
}

#[test]
fn a_session_is_not_resumed_under_another_name() {
    let server = Authority::new("ca").server(&[NAME, "b.example"]);
    let (_, configs) = store(&[&server], vec![open()]);
    for version in VERSIONS {
        for other in ["b.example", "192.0.2.1"] {
            let client = Client::new(version);
            assert!(!client.connect(&configs[0], NAME).unwrap().is_resumed);
            assert!(!client.connect(&configs[0], other).unwrap().is_resumed, "{other}");
        }
    }
}

#[test]
fn processes_resume_each_others_sessions_only_with_shared_secrets() {
    let server = Authority::new("ca").server(&[NAME]);
    let make = |roots| store_with(&settings(), &[&server], vec![open()], roots).1;
    let random = || TicketRoots::random(Millis(0)).unwrap();
    for version in VERSIONS {
        for (one, other, is_resumed) in [
            (shared_roots(1), shared_roots(1), true),
            (shared_roots(1), shared_roots(2), false),
            (random(), random(), false),
        ] {
            let (one, other) = (make(one), make(other));
            assert_eq!(resumes(&Client::new(version), &one[0], &other[0]), is_resumed);
        }
    }
}

#[test]
fn secrets_of_a_file_are_replaced_one_after_the_other() {
    let server = Authority::new("ca").server(&[NAME]);
    let (mut store, configs) = store_with(&settings(), &[&server], vec![open()], shared_roots(1));
    let of = |seeds: &[u8]| {
        let bytes = seeds.iter().flat_map(|seed| (0..32).map(move |at: u8| at ^ seed));
        TicketRoots::from_file(&bytes.collect::<Vec<u8>>()).unwrap()
    };
    for version in VERSIONS {
        let client = Client::new(version);
        assert!(!client.connect(&configs[0], NAME).unwrap().is_resumed);
        store.replace_ticket_roots(of(&[2, 1]));
        assert!(client.connect(&configs[0], NAME).unwrap().is_resumed);
        store.replace_ticket_roots(of(&[3]));
        // All tickets that the client still has are of the first two.
        assert!(!client.connect(&configs[0], NAME).unwrap().is_resumed);
        store.replace_ticket_roots(of(&[1]));
    }
}

#[test]
fn random_secrets_end_after_two_rotations() {
    let server = Authority::new("ca").server(&[NAME]);
    for version in VERSIONS {
        for (rotations, is_resumed) in [(0, true), (1, true), (2, false)] {
            let (mut store, configs) = store(&[&server], vec![open()]);
            let client = Client::new(version);
            client.connect(&configs[0], NAME).unwrap();
            for rotation in 1..=rotations {
                store.rotate(Millis(rotation * ROTATION_MS)).unwrap();
            }
            let outcome = client.connect(&configs[0], NAME).unwrap();
            assert_eq!(outcome.is_resumed, is_resumed, "{version:?} {rotations}");
        }
    }
}

#[test]
fn tickets_end_with_the_authorities_that_their_clients_were_verified_by() {
    let (kept, removed) = (Authority::new("kept"), Authority::new("removed"));
    let server = Authority::new("ca").server(&[NAME]);
    for version in VERSIONS {
        let mut both = asking(ClientCertificates::Required, &kept);
        both.as_mut().unwrap().authorities = Some(authorities(&[&kept, &removed]));
        let (mut store, before) = store(&[&server], vec![both]);
        let (good, bad) = (
            Client::with_certificate(version, &kept.client("device")),
            Client::with_certificate(version, &removed.client("device")),
        );
        for client in [&good, &bad] {
            assert!(resumes(client, &before[0], &before[0]));
        }
        store.replace_authorities(0, authorities(&[&kept])).unwrap();
        let changed = configs(&store);
        bad.connect(&changed[0], NAME).unwrap_err();
        assert!(!good.connect(&changed[0], NAME).unwrap().is_resumed);
        assert!(good.connect(&changed[0], NAME).unwrap().is_resumed);
        bad.connect(&changed[0], NAME).unwrap_err();
    }
}

/// However long it takes: it goes by what there was when it began.
#[test]
fn a_handshake_under_way_gets_no_ticket_of_the_authorities_that_replace_its_own() {
    let (kept, removed) = (Authority::new("kept"), Authority::new("removed"));
    let server = Authority::new("ca").server(&[NAME]);
    for version in VERSIONS {
        let mut both = asking(ClientCertificates::Required, &kept);
        both.as_mut().unwrap().authorities = Some(authorities(&[&kept, &removed]));
        let (mut store, before) = store(&[&server], vec![both]);
        let client = Client::with_certificate(version, &kept.client("device"));
        store.replace_authorities(0, authorities(&[&kept])).unwrap();
        store.rotate(Millis(1 << 30)).unwrap();
        // Those who are no longer trusted are refused in it already.
        let other = Client::with_certificate(version, &removed.client("device"));
        other.connect(&before[0], NAME).unwrap_err();
        assert!(!client.connect(&before[0], NAME).unwrap().is_resumed);
        assert!(!client.connect(&configs(&store)[0], NAME).unwrap().is_resumed);
    }
}

/// The keys of a file make and accept tickets for as long as they stay there.
#[test]
fn a_ticket_ends_after_its_lifetime_with_the_keys_of_a_file_too() {
    let server = Authority::new("ca").server(&[NAME]);
    for version in VERSIONS {
        for (hours, is_resumed) in [(23, true), (25, false)] {
            let at = |now_s| {
                let settings = StoreSettings { clock: Arc::new(Fixed(now_s)), ..settings() };
                store_with(&settings, &[&server], vec![open()], shared_roots(1)).1
            };
            let client = Client::new(version);
            let (from, to) = (at(1_800_000_000), at(1_800_000_000 + hours * 3_600));
            assert_eq!(resumes(&client, &from[0], &to[0]), is_resumed, "{version:?} {hours}");
        }
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Fixed(u64);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

#[test]
fn the_same_authorities_once_more_change_nothing() {
    let known = Authority::new("known");
    let server = Authority::new("ca").server(&[NAME]);
    let (mut store, before) =
        store(&[&server], vec![None, asking(ClientCertificates::Required, &known)]);
    for version in VERSIONS {
        let client = Client::with_certificate(version, &known.client("device"));
        client.connect(&before[0], NAME).unwrap();
        let again = ClientAuthorities::from_pem(known.pem().as_bytes(), &provider()).unwrap();
        store.replace_authorities(1, again).unwrap();
        assert!(client.connect(&configs(&store)[0], NAME).unwrap().is_resumed);
    }
}
