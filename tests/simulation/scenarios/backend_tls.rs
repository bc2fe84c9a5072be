//! Clients that are relayed to backends which speak TLS: what passes is the same, and what is wrong with
//! a backend's TLS its client is told, and no other.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig, ServerConnection};
use tidegate::sim::{Faults, OnConnect, Random, ServerSettings, SimClient};
use tidegate::timer::Millis;
use tidegate::upstream::{
    ServerSet, ServerState, Upstream, UpstreamSettings, UpstreamTls, tls_name,
};
use tidegate::work::{WorkLimits, meter, prices};

use super::LATE_MS;
use super::backend::{End, address, ask, assert_bare, faults, routes, status, switched};
use crate::tls_end::TlsSetup;
use crate::world::{Setup, World};

/// An upstream of servers that must have this name, the first of them at `address(1)`.
fn upstream(servers: u16, client: &Arc<ClientConfig>, name: &str) -> Arc<Upstream> {
    let servers = (1..=servers).map(|number| (address(number), 1));
    let tls = Some(UpstreamTls::new(Arc::clone(client), tls_name(name)));
    let settings = UpstreamSettings { tls, ..UpstreamSettings::default() };
    Upstream::new("app", ServerSet::new(settings, servers, None))
}

fn world(setup: &Setup, upstream: &Arc<Upstream>) -> World {
    let world = World::serving(setup, |journal| routes(journal, upstream));
    world.network.set_backend(&address(1), OnConnect::Accepts);
    world
}

/// A backend's end of a connection.
struct TlsBackend {
    socket: SimClient,
    conn: ServerConnection,
    received: Vec<u8>,
    to_send: Vec<u8>,
    sent: usize,
    says_end: bool,
    peer_has_ended: bool,
    failure: Option<rustls::Error>,
}

impl TlsBackend {
    fn new(socket: SimClient, config: &Arc<ServerConfig>) -> Self {
        let mut conn = ServerConnection::new(Arc::clone(config)).unwrap();
        conn.set_buffer_limit(None);
        Self {
            socket,
            conn,
            received: Vec::new(),
            to_send: Vec::new(),
            sent: 0,
            says_end: false,
            peer_has_ended: false,
            failure: None,
        }
    }

    /// Opens what has come, up to this number of bytes, and sends what TLS has to say.
    fn receive(&mut self, bytes_max: usize) {
        let arrived = self.socket.receive(bytes_max);
        let mut arrived = &arrived[..];
        while !arrived.is_empty() && self.failure.is_none() && !self.peer_has_ended {
            self.conn.read_tls(&mut arrived).unwrap();
            match self.conn.process_new_packets() {
                Ok(state) => self.peer_has_ended |= state.peer_has_closed(),
                Err(error) => self.failure = Some(error),
            }
            let mut part = [0; 16 << 10];
            loop {
                match self.conn.reader().read(&mut part) {
                    Ok(0) => break,
                    Ok(count) => self.received.extend_from_slice(&part[..count]),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                        break;
                    }
                }
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mut sealed = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut sealed).unwrap();
        }
        self.socket.send(&sealed);
    }

    fn say(&mut self, bytes: &[u8]) {
        self.conn.writer().write_all(bytes).unwrap();
        self.flush();
    }

    fn send(&mut self, count: usize) {
        let end = self.sent.saturating_add(count).min(self.to_send.len());
        let part = self.to_send[self.sent..end].to_vec();
        self.sent = end;
        if !self.says_end {
            self.say(&part);
        }
        if end == self.to_send.len() && !std::mem::replace(&mut self.says_end, true) {
            self.conn.send_close_notify();
            self.flush();
            self.socket.shutdown();
        }
    }

    fn is_done(&self) -> bool {
        self.says_end && self.peer_has_ended && self.socket.has_ended()
    }
}

/// The end of the backend that the gateway has connected to, once the request has come.
fn requested(world: &mut World, config: &Arc<ServerConfig>) -> TlsBackend {
    let mut rounds = 0..10_000;
    let socket = loop {
        world.settle();
        match world.network.accept_at(&address(1)) {
            Some(socket) => break socket,
            None => world.pass(1),
        }
        rounds.next().expect("the gateway connects");
    };
    let mut backend = TlsBackend::new(socket, config);
    while !backend.received.ends_with(b"\r\n\r\n") {
        backend.receive(1 + rounds.start % 700);
        if rounds.start % 3 == 0 {
            world.pass(1);
        }
        world.settle();
        rounds.next().expect("the request comes");
    }
    backend
}

fn open(world: &mut World, config: &Arc<ServerConfig>) -> (SimClient, TlsBackend) {
    let client = ask(world);
    let mut backend = requested(world, config);
    let reply = switched(&std::mem::take(&mut backend.received));
    backend.say(&reply);
    world.settle();
    assert_eq!(status(&client), "101");
    (client, backend)
}

/// As without TLS: bytes behind the 101 included, and the ends in any order.
fn relay(seed: u64) {
    let mut random = Random::new(seed);
    let mut server = ServerSettings::default();
    server.connections.receive_buffer_bytes = [300, 5_000, 512 << 10][random.below(3)];
    server.connections.backlog_high_bytes = [1 << 10, 64 << 10][random.below(2)];
    let tls = TlsSetup { is_13: random.percent(70), ..TlsSetup::default() };
    let (server_config, client_config) = tls.configs();
    let faults = faults(&mut random);
    let upstream = upstream(1, &client_config, "localhost");
    let mut world = world(&Setup { seed, server, faults, ..Setup::default() }, &upstream);
    world.network.set_send_buffer_bytes([700, 3_000, 64 << 10][random.below(3)]);
    let mut pairs = Vec::new();
    for _ in 0..=random.below(3) {
        let client = End::new(ask(&world), &mut random);
        let mut backend = requested(&mut world, &server_config);
        let reply = switched(&std::mem::take(&mut backend.received));
        let count = random.below(200_000);
        backend.to_send = random.bytes(count);
        backend.say(&reply);
        pairs.push((client, backend));
    }
    for round in 0.. {
        assert!(round < 200_000, "seed {seed}: bytes that never arrive");
        let (pair, count) = (random.below(pairs.len()), 1 + random.below(30_000));
        let (client, backend) = &mut pairs[pair];
        match random.below(6) {
            0 => client.send(count),
            1 => client.receive(count),
            2 => backend.send(count),
            3 => backend.receive(count),
            4 => world.pass(random.below(20) as u64),
            _ => world.settle(),
        }
        if pairs.iter().all(|(client, backend)| client.is_done() && backend.is_done()) {
            break;
        }
    }
    for (client, backend) in &pairs {
        let head = client.received.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        assert!(client.received[head..] == backend.to_send, "seed {seed}: to the client");
        assert!(backend.received == client.to_send, "seed {seed}: to the backend");
        assert_eq!(backend.failure, None, "seed {seed}");
        assert!(!client.socket.was_reset() && !backend.socket.was_reset(), "seed {seed}: reset");
    }
    assert_eq!(world.counter("tls_truncated"), 0, "seed {seed}");
    let handshakes = world.counter("relay_tls_full") + world.counter("relay_tls_resumed");
    assert_eq!(handshakes, pairs.len() as u64);
    world.network.set_faults(Faults::default());
    assert_bare(&mut world, &upstream);
}

#[test]
fn bytes_pass_between_client_and_backend_unchanged_over_tls() {
    (0..40).for_each(relay);
}

#[test]
fn sessions_with_a_backend_are_resumed() {
    for is_13 in [true, false] {
        let (server_config, client_config) = TlsSetup { is_13, ..TlsSetup::default() }.configs();
        let mut server_config = ServerConfig::clone(&server_config);
        if !is_13 {
            server_config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        }
        let server_config = Arc::new(server_config);
        let upstream = upstream(1, &client_config, "localhost");
        let mut world = world(&Setup::default(), &upstream);
        for _ in 0..6 {
            let (client, mut backend) = open(&mut world, &server_config);
            client.send(b"ping");
            world.settle();
            backend.receive(usize::MAX);
            assert_eq!(backend.received, b"ping");
            client.shutdown();
            backend.send(0);
            world.settle();
        }
        let counts = (world.counter("relay_tls_full"), world.counter("relay_tls_resumed"));
        assert_eq!(counts, (1, 5), "TLS 1.3: {is_13}");
        assert_bare(&mut world, &upstream);
    }
}

#[test]
fn a_certificate_that_does_not_verify_is_answered_with_502_and_the_next_server_is_asked() {
    let (server_config, client_config) = TlsSetup::default().configs();
    let upstream = upstream(1, &client_config, "other.test");
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&world);
    world.settle();
    let mut backend =
        TlsBackend::new(world.network.accept_at(&address(1)).unwrap(), &server_config);
    for _ in 0..5 {
        backend.receive(usize::MAX);
        world.settle();
    }
    assert_eq!(status(&client), "502");
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
    assert_eq!(backend.failure, Some(alert), "the backend is told");
    assert!(backend.received.is_empty(), "and gets nothing of the request");
    let counters = ["relay_bad_certificate", "relay_tls_failed", "relay_tls_full"];
    assert_eq!(counters.map(|name| world.counter(name)), [1, 0, 0]);
    let set = upstream.set();
    let server = set.servers().next().unwrap().0;
    assert_eq!(server.state(Millis(1)), ServerState::Failed);
    assert_bare(&mut world, &upstream);
}

/// What a backend says in place of TLS, and what becomes of the request.
#[test]
fn a_backend_without_tls_is_answered_for() {
    let (_, client_config) = TlsSetup::default().configs();
    let upstream = upstream(1, &client_config, "localhost");
    let mut world = world(&Setup::default(), &upstream);
    for (said, counter) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "relay_tls_failed"),
        (b"SSH-2.0-OpenSSH\r\n", "relay_tls_failed"),
        // An alert, and a record that begins and does not go on.
        (&[21, 3, 3, 0, 2, 2, 40], "relay_tls_failed"),
        (&[22, 3, 3, 0, 200, 2], "relay_unreachable"),
        (b"", "relay_unreachable"),
    ] {
        let before = world.counter(counter);
        let client = ask(&world);
        world.settle();
        let backend = world.network.accept_at(&address(1)).unwrap();
        assert_eq!(backend.receive(usize::MAX).first(), Some(&22), "a handshake begins");
        backend.send(said);
        backend.shutdown();
        world.settle();
        assert_eq!(status(&client), "502", "{said:?}");
        assert_eq!(world.counter(counter), before + 1, "{said:?}");
        assert!(backend.is_closed_by_server());
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_handshake_that_goes_nowhere_is_answered_with_504() {
    let (_, client_config) = TlsSetup::default().configs();
    let upstream = upstream(1, &client_config, "localhost");
    let mut world = world(&Setup::default(), &upstream);
    for on_connect in [OnConnect::Accepts, OnConnect::Hangs] {
        world.network.set_backend(&address(1), on_connect);
        let client = ask(&world);
        world.pass(5_000 - LATE_MS);
        assert_eq!(client.unread_bytes(), 0);
        world.pass(3 * LATE_MS);
        assert_eq!(status(&client), "504");
    }
    assert_eq!(world.counter("relay_timed_out"), 2);
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_leaves_during_the_handshake_leaves_nothing_behind() {
    let (server_config, client_config) = TlsSetup::default().configs();
    let upstream = upstream(1, &client_config, "localhost");
    let mut world = world(&Setup::default(), &upstream);
    for steps in 0..4 {
        let client = ask(&world);
        world.settle();
        let socket = world.network.accept_at(&address(1)).unwrap();
        let mut backend = TlsBackend::new(socket, &server_config);
        for _ in 0..steps {
            backend.receive(400);
            world.settle();
        }
        client.reset();
        world.settle();
        assert!(backend.socket.is_closed_by_server());
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn many_handshakes_with_backends_stay_within_their_part_of_a_turn() {
    let limits = WorkLimits { turn: 1_000_000, share: 500_000 };
    let mut server = ServerSettings::default();
    server.connections.work = limits;
    let (server_config, client_config) = TlsSetup::default().configs();
    let upstream = upstream(1, &client_config, "localhost");
    let mut world = world(&Setup { server, ..Setup::default() }, &upstream);
    let clients: Vec<SimClient> = (0..100).map(|_| ask(&world)).collect();
    let mut backends: Vec<TlsBackend> = Vec::new();
    let _ = meter::take();
    for round in 0..5_000 {
        world.server.step().unwrap();
        let spent = meter::take();
        // One step of a handshake beyond the limit, and what is done in every turn.
        let beyond = prices::TLS_STEP + prices::TLS_CLIENT_CERTIFICATE + 12_000;
        assert!(spent <= limits.turn + limits.share + beyond, "round {round}: {spent}");
        while let Some(socket) = world.network.accept_at(&address(1)) {
            backends.push(TlsBackend::new(socket, &server_config));
        }
        for backend in &mut backends {
            backend.receive(usize::MAX);
            if backend.received.ends_with(b"\r\n\r\n") {
                let reply = switched(&std::mem::take(&mut backend.received));
                backend.say(&reply);
            }
        }
        if clients.iter().all(|own| own.unread_bytes() > 0) {
            break;
        }
    }
    assert!(clients.iter().all(|client| status(client) == "101"));
    let _ = meter::take();
    clients.iter().for_each(SimClient::reset);
    assert_bare(&mut world, &upstream);
}
