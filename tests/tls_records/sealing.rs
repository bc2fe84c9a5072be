//! What is sealed here, read by the library's client, with new keys on both sides in between.

use std::io::{Read as _, Write as _};

use tidegate::sim::Random;
use tidegate::tls::{Alert, ExpandedKeys, Header, Opened, Records, Version};

use crate::twins::{Twins, secret, suites};

#[test]
fn the_library_reads_what_is_sealed_and_asks_for_new_keys() {
    for (suite, seed) in suites().into_iter().cycle().zip(0..60) {
        let mut random = Random::new(seed);
        let (suite, mut client, server_side, client_side) = Twins::new(suite).without_server();
        let mut ours = Records::new(suite, secret(&client_side), secret(&server_side));
        let mut keys = ExpandedKeys::default();
        let is_13 = suite.version == Version::Tls13;
        for _ in 0..60 {
            let mut sealed = Vec::new();
            let bytes = [random.below(200), random.below(1 << 14), 1 << 14, 0][random.below(4)];
            let data = random.bytes(bytes);
            ours.seal_data(&mut keys, &mut sealed, |out| out.extend_from_slice(&data)).unwrap();
            assert!(!ours.owes_update());
            if is_13 && random.percent(20) {
                ours.seal_update(&mut keys, &mut sealed).unwrap();
            }
            let (mut rest, mut received) = (&sealed[..], Vec::new());
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
                // It says that there is no more with an error.
                let _ = client.reader().read_to_end(&mut received);
            }
            assert!(received == data, "{suite:?}");

            let asks = is_13 && random.percent(30);
            if asks {
                client.refresh_traffic_keys().unwrap();
            }
            client.writer().write_all(&data).unwrap();
            let mut arrived = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut arrived).unwrap();
            }
            let (mut at, mut plaintext) = (0, Vec::new());
            while at < arrived.len() {
                let header = Header::read(&arrived[at..]).unwrap().unwrap();
                let record = at..at + header.record_bytes();
                at = record.end;
                if let Opened::Data(count) =
                    ours.open(&mut keys, &mut arrived, record.start, record.clone()).unwrap()
                {
                    plaintext.extend_from_slice(&arrived[record.start..record.start + count]);
                }
            }
            assert!(plaintext == data, "{suite:?}");
            assert_eq!(ours.owes_update(), asks);
        }
        let mut sealed = Vec::new();
        ours.seal_alert(&mut keys, &mut sealed, Alert::CLOSE_NOTIFY).unwrap();
        client.read_tls(&mut &sealed[..]).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}
