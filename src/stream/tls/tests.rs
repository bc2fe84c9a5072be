//! Sessions against the library's client, over a socket that takes and gives as many bytes as chance
//! wants.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::ring as provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion, version,
};

use super::*;
use crate::certificates::ListenerConfig;
use crate::metrics::Counters;
use crate::pool::{Buffers, Need, SharedBudget};
use crate::stream::{self, Source, Stream, StreamTurn};
use crate::timer::{Millis, WallTime};
use crate::tls::HEADER_BYTES;
use crate::work::{Work, WorkLimits, prices};

/// One socket, seen from the gateway.
#[derive(Debug, Default)]
struct Wire {
    arriving: VecDeque<u8>,
    has_ended: bool,
    leaving: Vec<u8>,
    /// How many bytes each call takes or gives at most, in turn.
    pieces: Vec<usize>,
    calls: usize,
    shut: bool,
}

impl Wire {
    fn piece(&mut self) -> usize {
        self.calls += 1;
        match self.pieces.len() {
            0 => usize::MAX,
            count => self.pieces[self.calls % count],
        }
    }
}

impl Transport for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece().min(buffer.len()).min(self.arriving.len());
        match count {
            0 if self.arriving.is_empty() && self.has_ended => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => {
                for byte in &mut buffer[..count] {
                    *byte = self.arriving.pop_front().unwrap();
                }
                Ok(count)
            }
        }
    }

    fn read_both(&mut self, first: &mut [u8], _rest: &mut [u8]) -> io::Result<usize> {
        self.read(first)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = self.piece();
        let mut count = 0;
        for slice in slices {
            let part = left.min(slice.len());
            self.leaving.extend_from_slice(&slice[..part]);
            (left, count) = (left - part, count + part);
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shut = true;
        Ok(())
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// A loop with one session, and the client at the other end.
struct Both {
    tls: Tls,
    memory: Buffers,
    work: Work,
    counters: Counters,
    number: u32,
    wire: Wire,
    client: ClientConnection,
    /// What has come on either side.
    received: Vec<u8>,
    client_received: Vec<u8>,
    outcome: Option<String>,
}

impl Both {
    fn new(client: Arc<ClientConfig>, server: &Arc<ServerConfig>, pieces: Vec<usize>) -> Self {
        let mut tls = Tls::default();
        tls.configure(&[Some(ListenerConfig::from(Arc::clone(server)))]);
        let mut memory = Buffers::new(SharedBudget::new(4 << 20));
        let number = tls.add(0, &mut memory).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            tls,
            memory,
            work: Work::new(WorkLimits::default()),
            counters: Counters::default(),
            number,
            wire: Wire { pieces, ..Wire::default() },
            client: ClientConnection::new(client, name).unwrap(),
            received: Vec::new(),
            client_received: Vec::new(),
            outcome: None,
        }
    }

    fn stream(&mut self) -> Stream<'_, Wire> {
        let Self { tls, memory, work, counters, number, wire, .. } = self;
        work.begin_share();
        let turn = StreamTurn { now: Millis(1000), date: WallTime(0), memory, work, counters };
        Stream::Tls(wire, tls.stream(*number, turn).unwrap())
    }

    /// Receives into rooms of this size until the socket is empty.
    fn receive(&mut self, room_bytes: usize) {
        let mut room_bytes = room_bytes.max(1);
        loop {
            let mut ahead = vec![0; room_bytes];
            let mut behind = vec![0; if room_bytes.is_multiple_of(2) { 0 } else { 32 << 10 }];
            let room = Room { ahead: &mut ahead, behind: &mut behind };
            match stream::receive(self.stream(), room) {
                Received::Bytes { ahead: count, behind: 0, .. } => {
                    self.received.extend_from_slice(&ahead[..count]);
                }
                Received::NoRoom(bytes) => room_bytes = bytes,
                Received::Nothing(Source::Drained) => return,
                Received::Nothing(_) => {}
                other @ (Received::Bytes { .. }
                | Received::Broken
                | Received::Ended { .. }
                | Received::Failed
                | Received::NoMemory) => {
                    self.outcome = Some(format!("{other:?}"));
                    return;
                }
            }
        }
    }

    /// Moves bytes to the client and back until neither has more to say.
    fn exchange(&mut self, room_bytes: usize) {
        for _ in 0..100_000 {
            let mut moved = false;
            while self.client.wants_write() {
                let mut sent = Vec::new();
                self.client.write_tls(&mut sent).unwrap();
                self.wire.arriving.extend(sent);
                moved = true;
            }
            if self.outcome.is_none() {
                self.receive(room_bytes);
            }
            if self.tls.has_unsent(self.number) {
                let _ = stream::send(self.stream(), &[], End::None).unwrap();
                moved = true;
            }
            let leaving = std::mem::take(&mut self.wire.leaving);
            let mut leaving = &leaving[..];
            while !leaving.is_empty() {
                moved = true;
                self.client.read_tls(&mut leaving).unwrap();
                if let Err(error) = self.client.process_new_packets() {
                    self.outcome.get_or_insert_with(|| error.to_string());
                    return;
                }
                let mut plain = vec![0; 64 << 10];
                while let Ok(count @ 1..) = self.client.reader().read(&mut plain) {
                    self.client_received.extend_from_slice(&plain[..count]);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        let mut tries = 0;
        while !left.is_empty() {
            let sent = stream::send(self.stream(), left, End::None).unwrap();
            left = &left[sent.taken..];
            tries += 1;
            assert!(tries < 100_000);
        }
        while self.tls.has_unsent(self.number) {
            stream::send(self.stream(), &[], End::None).unwrap();
        }
    }

    fn charged(&self) -> usize {
        self.memory.allocated_bytes() - self.memory.free_bytes()
    }
}

fn configs(
    versions: &[&'static SupportedProtocolVersion],
    suites: &[SupportedCipherSuite],
    groups: &[&'static dyn SupportedKxGroup],
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites.to_vec(),
        kx_groups: groups.to_vec(),
        ..provider::default_provider()
    });
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(client), Arc::new(server))
}

fn usual() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    configs(&[&version::TLS13], provider::ALL_CIPHER_SUITES, provider::ALL_KX_GROUPS)
}

#[test]
fn every_suite_of_both_versions_carries_bytes_both_ways() {
    for suite in provider::ALL_CIPHER_SUITES {
        let name = format!("{:?}", suite.suite());
        if name.contains("_RSA_") {
            continue;
        }
        let version = suite.version();
        let (client, server) = configs(&[version], &[*suite], provider::ALL_KX_GROUPS);
        // The second resumes the first, over its ticket if it has one.
        for _ in 0..2 {
            let mut both = Both::new(Arc::clone(&client), &server, Vec::new());
            both.client.writer().write_all(b"early bird").unwrap();
            both.exchange(4096);
            assert_eq!(both.received, b"early bird", "{name}: {:?}", both.outcome);
            let long: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[0]).collect();
            both.send(&long);
            both.client.writer().write_all(&long[..60_000]).unwrap();
            both.exchange(4096);
            assert_eq!(both.client_received, long, "{name}");
            assert_eq!(both.received[10..], long[..60_000], "{name}");
            assert_eq!(both.outcome, None);
            assert_eq!(both.charged(), both.tls.recount());
        }
    }
}

#[test]
fn keys_are_updated_when_the_peer_asks_and_before_they_are_used_up() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    both.exchange(4096);
    for round in 0..40u8 {
        both.client.refresh_traffic_keys().unwrap();
        both.client.writer().write_all(&[round]).unwrap();
        both.exchange(4096);
        both.send(&[round]);
        both.exchange(4096);
    }
    assert_eq!(both.received, (0..40).collect::<Vec<u8>>());
    assert_eq!(both.client_received, both.received);
    assert_eq!((both.outcome, both.counters.tls_key_updates.value()), (None, 40));
}

/// The library has come some way into a message when it fails over what follows.
#[test]
fn a_handshake_fails_in_the_middle_of_a_message() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    // A ClientHello of 256 bytes of which two are there, then an alert.
    both.wire.arriving.extend([22, 3, 1, 0, 6, 1, 0, 1, 0, 3, 3]);
    both.wire.arriving.extend([21, 3, 1, 0, 2, 2, 40]);
    both.receive(4096);
    assert_eq!(both.outcome.as_deref(), Some("Broken"));
    assert_eq!(both.charged(), both.tls.recount());
}

/// A ClientHello in as many records as it has bytes, each of which comes by itself, costs one step
/// each.
#[test]
fn messages_may_be_split_over_records_that_come_one_by_one() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    let mut hello = Vec::new();
    both.client.write_tls(&mut hello).unwrap();
    for byte in &hello[HEADER_BYTES..] {
        both.wire.arriving.extend([22, 3, 1, 0, 1, *byte]);
        both.work.begin_turn();
        both.receive(4096);
        assert!(both.work.used() < 2 * prices::TLS_FULL);
    }
    both.exchange(4096);
    assert_eq!((both.outcome.as_deref(), both.client.is_handshaking()), (None, false));
}

#[test]
fn plain_http_is_answered_in_plain_http() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, vec![1, 2]);
    both.wire.arriving.extend(b"GET / HTTP/1.1\r\n\r\n");
    both.receive(4096);
    assert_eq!(both.outcome.as_deref(), Some("Broken"));
    while both.tls.has_unsent(both.number) {
        let _ = stream::finish(both.stream()).unwrap();
    }
    assert!(both.wire.leaving.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    assert!(both.wire.leaving.ends_with(b"use https:// or wss:// .\n"));
    assert_eq!(both.counters.tls_failed_plain_http.value(), 1);
    // What it goes on to say is thrown away.
    both.outcome = None;
    both.wire.arriving.extend(b"more");
    both.receive(4096);
    assert_eq!(both.outcome, None);
}

#[test]
fn a_handshake_message_may_be_split_over_many_records_and_reads() {
    let (client, server) = usual();
    for record_bytes in [1, 7, 60, 100] {
        for read_bytes in [1, 13, 200, 10_000] {
            let mut both = Both::new(Arc::clone(&client), &server, vec![read_bytes]);
            let mut hello = Vec::new();
            both.client.write_tls(&mut hello).unwrap();
            for piece in hello[5..].chunks(record_bytes) {
                let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
                both.wire.arriving.extend([&[22, 3, 1], &length[..], piece].concat());
                both.receive(4096);
            }
            assert_eq!(both.outcome, None, "{record_bytes} {read_bytes}");
            both.exchange(4096);
            assert!(!both.client.is_handshaking(), "{record_bytes} {read_bytes}");
        }
    }
}

#[test]
fn both_ends_are_told_apart_from_a_cut() {
    let (client, server) = usual();
    let mut both = Both::new(Arc::clone(&client), &server, Vec::new());
    both.exchange(4096);
    both.client.writer().write_all(b"bye").unwrap();
    both.client.send_close_notify();
    both.exchange(4096);
    assert_eq!(both.received, b"bye");
    assert_eq!(both.outcome.as_deref(), Some("Ended { clean: true }"));
    assert!(stream::finish(both.stream()).unwrap() && both.wire.shut);

    let mut both = Both::new(client, &server, Vec::new());
    both.exchange(4096);
    both.wire.has_ended = true;
    both.exchange(4096);
    assert_eq!(both.outcome.as_deref(), Some("Ended { clean: false }"));
    assert_eq!(both.counters.tls_truncated.value(), 1);
}

/// What lies behind the notice of the end is not waited for, and not opened.
#[test]
fn what_comes_behind_the_end_is_thrown_away() {
    let (client, server) = usual();
    for held in [false, true] {
        let mut both = Both::new(Arc::clone(&client), &server, Vec::new());
        both.exchange(4096);
        let mut sent = Vec::new();
        both.client.writer().write_all(&[7; 300]).unwrap();
        both.client.send_close_notify();
        both.client.write_tls(&mut sent).unwrap();
        sent.extend([23, 3, 3, 0, 20].iter().chain(&[0; 20]).cycle().take(100));
        both.wire.arriving.extend(sent);
        // In a room that is just large enough, the last records are held back first.
        both.receive(if held { 330 } else { 4096 });
        assert_eq!(both.received, [7; 300]);
        assert_eq!(both.outcome.as_deref(), Some("Ended { clean: true }"));
        assert_eq!(both.charged(), both.tls.recount());
    }
}

#[test]
fn all_memory_is_given_back_at_any_point() {
    let (client, server) = usual();
    for steps in 0..8 {
        let mut both = Both::new(Arc::clone(&client), &server, vec![50]);
        for _ in 0..steps {
            let mut sent = Vec::new();
            if both.client.wants_write() {
                both.client.write_tls(&mut sent).unwrap();
            }
            // The last bytes are missing.
            let cut = sent.len().saturating_sub(3);
            both.wire.arriving.extend(&sent[..if steps % 2 == 0 { cut } else { sent.len() }]);
            both.receive(4096);
            both.exchange(4096);
        }
        assert_eq!(both.charged(), both.tls.recount(), "after {steps}");
        let Both { tls, memory, work, counters, number, .. } = &mut both;
        tls.release(
            *number,
            StreamTurn { now: Millis(1000), date: WallTime(0), memory, work, counters },
        );
        let _ = tls.trim(Millis(1 << 40), 1, memory);
        memory.release_free();
        assert_eq!((memory.allocated_bytes(), tls.recount()), (0, 0));
    }
}

/// A ClientHello that says it is 60,000 bytes long, in records of one byte each.
fn crumbs(count: usize) -> Vec<u8> {
    let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 0xEA, 0x60];
    for _ in 0..count {
        bytes.extend([22, 3, 1, 0, 1, 0]);
    }
    bytes
}

#[test]
fn a_message_in_too_many_records_breaks_the_rules_and_is_no_lack_of_memory() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    both.wire.arriving.extend(crumbs(40_000));
    both.receive(512 << 10);
    assert_eq!(both.outcome.as_deref(), Some("Broken"));
    assert!(both.charged() < 200 << 10);
}

#[test]
fn one_read_of_a_handshake_does_no_more_than_a_share_and_holds_little() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    both.wire.arriving.extend(crumbs(40_000));
    both.work.begin_turn();
    let mut ahead = vec![0; 512 << 10];
    let _ = stream::receive(both.stream(), Room { ahead: &mut ahead, behind: &mut [] });
    assert!(both.work.used() < 2_000_000, "{}", both.work.used());
    assert!(both.charged() < 100 << 10, "{}", both.charged());
}

#[test]
fn key_updates_in_one_read_are_worth_no_more_than_a_share() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    both.exchange(4096);
    for round in 0..2_000 {
        both.client.refresh_traffic_keys().unwrap();
        if round % 16 == 0 {
            both.client.writer().write_all(b"x").unwrap();
        }
    }
    both.client.writer().write_all(b"end").unwrap();
    let mut sent = Vec::new();
    while both.client.wants_write() {
        both.client.write_tls(&mut sent).unwrap();
    }
    both.wire.arriving.extend(sent);
    both.work.begin_turn();
    let mut ahead = vec![0; 512 << 10];
    let _ = stream::receive(both.stream(), Room { ahead: &mut ahead, behind: &mut [] });
    assert!(both.work.used() < 1_000_000, "{}", both.work.used());
    both.receive(512 << 10);
    assert!(both.received.ends_with(b"end") && both.outcome.is_none());
}

#[test]
fn a_key_that_is_used_up_sends_what_is_sealed_and_then_the_notice_of_the_end() {
    use crate::tls::{Cipher, Secret, Suite, Version};
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    {
        let Stream::Tls(_, own) = both.stream() else { unreachable!() };
        let suite = Suite { version: Version::Tls12, cipher: Cipher::Aes128Gcm };
        let secret = || Secret::of(&[&[7; 28]]).unwrap();
        let write = ((1 << 24) - 10, secret());
        own.session.state = State::Open(crate::tls::Records::new(suite, (1, secret()), write));
    }
    let bytes = [0; 64 << 10];
    let sent = stream::send(both.stream(), &bytes, End::None).unwrap();
    // Two records, and then the key has eight left for alerts.
    assert_eq!(sent.taken, 2 << 14);
    assert_eq!(stream::send(both.stream(), &bytes, End::None), Err(StreamError));
    let notice = &both.wire.leaving[2 * (5 + 8 + (1 << 14) + 16)..];
    assert_eq!((notice[0], notice.len()), (21, 5 + 8 + 2 + 16));
    let Stream::Tls(_, own) = both.stream() else { unreachable!() };
    assert!(own.shared.sealed.is_empty());
}

/// The gateway has as much memory as it is charged with now, and no more.
fn use_up(memory: &mut Buffers) -> usize {
    let mut used = 0;
    for bytes in (0..22).rev().map(|power| 1 << power) {
        while memory.charge_for(Need::Head, bytes).is_ok() {
            used += bytes;
        }
    }
    used
}

#[test]
fn a_handshake_that_is_over_is_not_counted_as_failed_where_what_follows_finds_no_memory() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    let mut hello = Vec::new();
    both.client.write_tls(&mut hello).unwrap();
    both.wire.arriving.extend(hello);
    both.receive(4096);
    let mut leaving = &std::mem::take(&mut both.wire.leaving)[..];
    while !leaving.is_empty() {
        both.client.read_tls(&mut leaving).unwrap();
        both.client.process_new_packets().unwrap();
    }
    both.client.writer().write_all(&[7; 40_000]).unwrap();
    let mut sent = Vec::new();
    while both.client.wants_write() {
        both.client.write_tls(&mut sent).unwrap();
    }
    both.wire.arriving.extend(sent);
    let used = use_up(&mut both.memory);
    both.receive(32 << 10);
    assert_eq!(both.outcome.as_deref(), Some("NoMemory"));
    assert_eq!((both.counters.tls_full.value(), both.counters.tls_13.value()), (1, 1));
    assert_eq!(both.counters.tls_failed_memory.value(), 0);
    both.memory.discharge(used);
    assert_eq!(both.charged(), both.tls.recount());
    // It can be told so, under the protection of its keys.
    both.wire.arriving.clear();
    both.send(b"no room");
    let mut leaving = &std::mem::take(&mut both.wire.leaving)[..];
    while !leaving.is_empty() {
        both.client.read_tls(&mut leaving).unwrap();
        both.client.process_new_packets().unwrap();
    }
    let mut told = [0; 7];
    both.client.reader().read_exact(&mut told).unwrap();
    assert_eq!(&told, b"no room");
}

/// The keys of a session lie where they did, whatever the table of sessions does.
#[test]
fn sessions_go_on_when_their_table_has_grown() {
    let (client, server) = usual();
    let mut both = Both::new(client, &server, Vec::new());
    both.exchange(4096);
    let mut numbers = Vec::new();
    for _ in 0..200 {
        numbers.push(both.tls.add(0, &mut both.memory).unwrap());
        // A few go again, so that there are gaps.
        if numbers.len() % 3 == 0 {
            let number = numbers.swap_remove(numbers.len() / 2);
            let Both { tls, memory, work, counters, .. } = &mut both;
            let (now, date) = (Millis(1000), WallTime(0));
            tls.release(number, StreamTurn { now, date, memory, work, counters });
        }
    }
    let before = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() == before && !numbers.contains(&both.number));
    both.client.writer().write_all(b"still").unwrap();
    both.send(b"there");
    both.exchange(4096);
    assert_eq!((&both.received[..], &both.client_received[..]), (&b"still"[..], &b"there"[..]));
    assert_eq!(both.charged(), both.tls.recount());
}

#[test]
fn a_long_chain_of_certificates_is_charged_while_the_handshake_lasts() {
    let (client, server) = usual();
    let name = rcgen::SanType::DnsName("long.example".try_into().unwrap());
    let mut params = rcgen::CertificateParams::new(vec!["device".to_owned()]).unwrap();
    params.subject_alt_names = vec![name; 2_000];
    let key = rcgen::KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(server.crypto_provider()),
    );
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server_key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()).into();
    let server = ServerConfig::builder_with_provider(Arc::clone(server.crypto_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![pair.cert.der().clone()], server_key)
        .unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(pair.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(client.crypto_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(trusted)
        .with_client_auth_cert(
            vec![own.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let mut both = Both::new(Arc::new(client), &Arc::new(server), Vec::new());
    let mut hello = Vec::new();
    both.client.write_tls(&mut hello).unwrap();
    both.wire.arriving.extend(hello);
    both.receive(4096);
    let mut leaving = &std::mem::take(&mut both.wire.leaving)[..];
    while !leaving.is_empty() {
        both.client.read_tls(&mut leaving).unwrap();
        both.client.process_new_packets().unwrap();
    }
    let mut sent = Vec::new();
    while both.client.wants_write() {
        both.client.write_tls(&mut sent).unwrap();
    }
    assert!(sent.len() > 25_000);
    // The last record, which ends the handshake, comes later.
    let last = sent.split_off(sent.len() - 3);
    both.wire.arriving.extend(sent);
    let before = both.charged();
    both.receive(32 << 10);
    assert!(both.charged() > before + 25_000, "{before} to {}", both.charged());
    assert_eq!(both.charged(), both.tls.recount());
    both.wire.arriving.extend(last);
    both.exchange(4096);
    assert_eq!((both.outcome.as_deref(), both.client.is_handshaking()), (None, false));
    assert!(both.charged() < before);
    assert_eq!(both.charged(), both.tls.recount());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the bytes are cut on their way, and however little room there is, they arrive as they
    /// were sent; and what is held is what is charged.
    #[test]
    fn bytes_arrive_however_they_are_cut(
        is_13: bool,
        pieces in prop::collection::vec(1..3000usize, 1..20),
        rooms in prop::collection::vec(1..20_000usize, 1..8),
        messages in prop::collection::vec((any::<bool>(), 0..40_000usize), 1..8),
        updates: bool,
        fragment_bytes in prop::option::of(32..300usize),
    ) {
        let version = if is_13 { &version::TLS13 } else { &version::TLS12 };
        let (client, server) =
            configs(&[version], provider::ALL_CIPHER_SUITES, provider::ALL_KX_GROUPS);
        let mut client = ClientConfig::clone(&client);
        client.max_fragment_size = fragment_bytes;
        let mut both = Both::new(Arc::new(client), &server, pieces);
        let (mut expected, mut client_expected) = (Vec::new(), Vec::new());
        for (number, (to_server, bytes)) in messages.into_iter().enumerate() {
            let room = rooms[number % rooms.len()];
            let message: Vec<u8> = (0..bytes).map(|at| (at * 7 + number).to_le_bytes()[0]).collect();
            if to_server {
                both.client.writer().write_all(&message).unwrap();
                expected.extend(message);
            } else {
                both.exchange(room);
                both.send(&message);
                client_expected.extend(message);
            }
            if updates && is_13 && !both.client.is_handshaking() {
                both.client.refresh_traffic_keys().unwrap();
            }
            both.exchange(room);
            prop_assert_eq!(both.charged(), both.tls.recount());
        }
        prop_assert_eq!(&both.outcome, &None);
        prop_assert!(both.received == expected && both.client_received == client_expected);
    }

    /// Whatever comes instead of TLS, or in the middle of it, ends the connection and nothing else.
    #[test]
    fn what_is_damaged_is_refused(
        at in 0..4000usize,
        change in 1..=255u8,
        pieces in prop::collection::vec(1..3000usize, 1..5),
    ) {
        let (client, server) = usual();
        let mut both = Both::new(client, &server, pieces);
        both.exchange(4096);
        both.client.writer().write_all(&[7; 3000]).unwrap();
        let mut sent = Vec::new();
        both.client.write_tls(&mut sent).unwrap();
        let at = at % sent.len();
        sent[at] ^= change;
        // A longer record than was sent never ends; whatever comes next completes it.
        sent.extend([0; 20_000]);
        both.wire.arriving.extend(sent);
        both.receive(4096);
        // The minor version is the one field that is not looked at: it is authenticated.
        prop_assert_eq!(both.outcome.as_deref(), Some("Broken"));
        prop_assert!(both.received.is_empty() || both.received == [7; 3000]);
        prop_assert_eq!(both.counters.tls_faults.value(), 1);
    }

    /// Whole records of any kind: messages are begun and not finished, or hidden in others.
    #[test]
    fn any_records_end_without_a_panic(
        is_13: bool,
        after_hello: bool,
        records in prop::collection::vec(
            (20..24u8, any::<Option<u8>>(), prop::collection::vec(0..4u8, 0..40)),
            1..6,
        ),
    ) {
        let version = if is_13 { &version::TLS13 } else { &version::TLS12 };
        let (client, server) =
            configs(&[version], provider::ALL_CIPHER_SUITES, provider::ALL_KX_GROUPS);
        let mut both = Both::new(client, &server, Vec::new());
        let mut sent = Vec::new();
        if after_hello {
            both.client.write_tls(&mut sent).unwrap();
        }
        for (kind, first, content) in records {
            let content: Vec<u8> = first.into_iter().chain(content).collect();
            sent.extend([kind, 3, 3, 0, u8::try_from(content.len()).unwrap()]);
            sent.extend(content);
        }
        both.wire.arriving.extend(sent);
        both.receive(4096);
        prop_assert_eq!(both.charged(), both.tls.recount());
    }

    #[test]
    fn any_bytes_end_without_a_panic(bytes: Vec<u8>, pieces in prop::collection::vec(1..300usize, 1..5)) {
        let (client, server) = usual();
        let mut both = Both::new(client, &server, pieces);
        both.wire.arriving.extend(&bytes);
        both.receive(100);
        prop_assert_eq!(both.charged(), both.tls.recount());
    }
}
