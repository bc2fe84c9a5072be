//! The limits of keys, which no test reaches by sealing.

use tidegate::tls::{
    Alert, Cipher, ExpandedKeys, Header, Opened, RecordFault, Records, Secret, Suite, Version,
};

/// Both ends of a connection, whose next records have this number.
fn ends(suite: Suite, sequence: u64) -> (Records, Records) {
    let (one, other) = (Secret::of(&[&[1; 48]]).unwrap(), Secret::of(&[&[2; 48]]).unwrap());
    let side = |secret: &Secret| (sequence, secret.clone());
    (Records::new(suite, side(&one), side(&other)), Records::new(suite, side(&other), side(&one)))
}

/// Opens all that is sealed; what it came to.
fn open(records: &mut Records, keys: &mut ExpandedKeys, sealed: &mut [u8]) -> Vec<Opened> {
    let (mut at, mut opened) = (0, Vec::new());
    while at < sealed.len() {
        let bytes = Header::read(&sealed[at..]).unwrap().unwrap().record_bytes();
        opened.push(records.open(keys, sealed, at, at..at + bytes).unwrap());
        at += bytes;
    }
    opened
}

#[test]
fn a_used_up_key_of_tls_13_is_followed_by_another() {
    for cipher in [Cipher::Aes128Gcm, Cipher::Aes256Gcm] {
        let suite = Suite { version: Version::Tls13, cipher };
        let (mut server, mut client) = ends(suite, (1 << 24) - 20);
        let (mut keys, mut client_keys) = Default::default();
        let mut updates = 0;
        for _ in 0..40 {
            let mut sealed = Vec::new();
            server.seal_data(&mut keys, &mut sealed, |out| out.push(1)).unwrap();
            let opened = open(&mut client, &mut client_keys, &mut sealed);
            assert_eq!(opened.last(), Some(&Opened::Data(1)));
            updates += opened.iter().filter(|opened| **opened == Opened::Updated).count();
        }
        assert_eq!(updates, 1);
    }
}

#[test]
fn a_used_up_key_of_tls_12_has_some_last_words() {
    for cipher in [Cipher::Aes128Gcm, Cipher::Aes256Gcm] {
        let suite = Suite { version: Version::Tls12, cipher };
        let (mut server, mut client) = ends(suite, (1 << 24) - 10);
        let (mut keys, mut client_keys) = Default::default();
        let mut sealed = Vec::new();
        let mut count = 0;
        while server.seal_data(&mut keys, &mut sealed, |out| out.push(1)).is_ok() {
            count += 1;
        }
        assert_eq!(count, 2);
        server.seal_alert(&mut keys, &mut sealed, Alert::CLOSE_NOTIFY).unwrap();
        let opened = open(&mut client, &mut client_keys, &mut sealed);
        assert_eq!(opened, [Opened::Data(1), Opened::Data(1), Opened::Ended]);
        // Nothing is sealed beyond the limit, whatever it is.
        let mut alerts = 0;
        while server.seal_alert(&mut keys, &mut sealed, Alert::USER_CANCELED).is_ok() {
            alerts += 1;
        }
        assert_eq!(alerts, 7);
        let exhausted = server.seal_alert(&mut keys, &mut sealed, Alert::USER_CANCELED);
        assert_eq!(exhausted, Err(RecordFault::Exhausted));
    }
}

#[test]
fn no_limit_of_chacha20_is_reached() {
    for version in [Version::Tls12, Version::Tls13] {
        let suite = Suite { version, cipher: Cipher::ChaCha20Poly1305 };
        let (mut server, mut client) = ends(suite, 1 << 40);
        let (mut keys, mut client_keys) = Default::default();
        let mut sealed = Vec::new();
        server.seal_data(&mut keys, &mut sealed, |out| out.push(1)).unwrap();
        assert_eq!(open(&mut client, &mut client_keys, &mut sealed), [Opened::Data(1)]);
    }
}
