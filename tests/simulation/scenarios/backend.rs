//! Clients that are relayed to a backend: what one sends the other receives, however it comes in
//! parts, and whatever becomes of either of them; what no backend answers the gateway answers.

use std::sync::Arc;

use tidegate::http::{ForwardRules, accept_key, parse_head};
use tidegate::services::{BalanceBy, Relay, RelayMode, RelaySettings, Route, RouteOptions};
use tidegate::sim::{Faults, OnConnect, Random, ServerSettings, SimClient};
use tidegate::transport::ServerAddress;
use tidegate::upstream::{ServerSet, Upstream, UpstreamSettings};

use super::LATE_MS;
use crate::services::Journal;
use crate::wire::upgrade_request;
use crate::world::{Setup, World, socket};

pub(super) fn address(number: u16) -> ServerAddress {
    ServerAddress::Tcp(([192, 0, 2, 1], number).into())
}

/// An upstream of this many servers, the first of them at `address(1)`.
pub(super) fn upstream(servers: u16) -> Arc<Upstream> {
    let servers = (1..=servers).map(|number| (address(number), 1));
    Upstream::new("app", ServerSet::new(UpstreamSettings::default(), servers, None))
}

pub(super) fn routes(journal: &Journal, upstream: &Arc<Upstream>) -> Vec<Route> {
    routes_in(RelayMode::Bytes, &RouteOptions::default(), journal, upstream)
}

/// The route of a relay in this mode.
pub(super) fn routes_in(
    mode: RelayMode,
    options: &RouteOptions,
    journal: &Journal,
    upstream: &Arc<Upstream>,
) -> Vec<Route> {
    let has_own_extensions = mode == RelayMode::Frames;
    let settings = Arc::new(RelaySettings {
        upstream: Arc::clone(upstream),
        mode,
        rules: ForwardRules { has_own_extensions, ..ForwardRules::default() },
        rewrite: None,
        paths: vec!["/app/*".to_owned()],
        balance_by: BalanceBy::Address,
    });
    let make = move |_, _| Relay::new(Arc::clone(&settings));
    vec![socket("/app/*", options, journal, make)]
}

/// A gateway in front of an upstream whose first server accepts.
fn world(setup: &Setup, upstream: &Arc<Upstream>) -> World {
    let world = World::serving(setup, |journal| routes(journal, upstream));
    world.network.set_backend(&address(1), OnConnect::Accepts);
    world
}

pub(super) fn ask(world: &World) -> SimClient {
    let client = world.network.connect(0, 0).unwrap();
    client.send(&upgrade_request("/app/chat?x=1"));
    client
}

/// The reply 101 to a request.
pub(super) fn switched(request: &[u8]) -> Vec<u8> {
    let head = parse_head(request).unwrap();
    let key: &[u8; 24] = head.header("Sec-WebSocket-Key").unwrap().try_into().unwrap();
    let accept = accept_key(key);
    let mut reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nX-From: backend\r\nSec-WebSocket-Accept: "
        .to_vec();
    reply.extend_from_slice(&accept);
    reply.extend_from_slice(b"\r\n\r\n");
    reply
}

/// What the client was answered, head and body.
fn answer(client: &SimClient) -> String {
    String::from_utf8(client.receive(usize::MAX)).unwrap()
}

pub(super) fn status(client: &SimClient) -> String {
    answer(client).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// A client and the end of the backend to which it is relayed.
pub(super) fn open(world: &mut World) -> (SimClient, SimClient) {
    let client = ask(world);
    world.settle();
    let backend = world.network.accept_at(&address(1)).expect("the gateway has connected");
    backend.send(&switched(&backend.receive(usize::MAX)));
    world.settle();
    assert!(answer(&client).starts_with("HTTP/1.1 101 "));
    (client, backend)
}

/// Nothing is left of all relays, neither here nor in what is known of the servers.
pub(super) fn assert_bare(world: &mut World, upstream: &Upstream) {
    world.pass(60_000);
    assert_eq!(world.server.connection_count(), 0);
    assert_eq!(world.network.descriptors(), 1, "the reserve alone");
    assert_eq!(world.counter("relays_now"), 0);
    assert_eq!(world.server.pool.available(), ServerSettings::default().pool_bytes_max);
    let maximum = ServerSettings::default().connections_max;
    assert_eq!(world.server.connections.available(), maximum);
    for (server, _) in upstream.set().servers() {
        assert_eq!(server.connections(), 0, "{}", server.address());
    }
}

/// One side of a relay that sends at random.
pub(super) struct End {
    pub(super) socket: SimClient,
    pub(super) to_send: Vec<u8>,
    sent: usize,
    pub(super) received: Vec<u8>,
}

impl End {
    pub(super) fn new(socket: SimClient, random: &mut Random) -> Self {
        let count = random.below(200_000);
        Self { socket, to_send: random.bytes(count), sent: 0, received: Vec::new() }
    }

    pub(super) fn send(&mut self, count: usize) {
        let end = self.sent.saturating_add(count).min(self.to_send.len());
        self.socket.send(&self.to_send[self.sent..end]);
        self.sent = end;
        if end == self.to_send.len() {
            self.socket.shutdown();
        }
    }

    pub(super) fn receive(&mut self, bytes_max: usize) {
        self.received.extend(self.socket.receive(bytes_max));
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent == self.to_send.len() && self.socket.has_ended()
    }
}

pub(super) fn faults(random: &mut Random) -> Faults {
    let mut percent = |most: u32| if random.percent(50) { most } else { 0 };
    Faults {
        interrupted: percent(40),
        spurious: percent(50),
        partial_waits: percent(90),
        short_writes: percent(60),
        stale: percent(50),
        ..Faults::default()
    }
}

/// Bytes behind the request and behind the 101 included, and the ends in any order.
fn relay(seed: u64) {
    let mut random = Random::new(seed);
    let mut server = ServerSettings::default();
    server.connections.receive_buffer_bytes = [300, 5_000, 512 << 10][random.below(3)];
    server.connections.backlog_high_bytes = [1 << 10, 64 << 10][random.below(2)];
    let faults = faults(&mut random);
    let upstream = upstream(1);
    let mut world = world(&Setup { seed, server, faults, ..Setup::default() }, &upstream);
    world.network.set_send_buffer_bytes([700, 3_000, 64 << 10][random.below(3)]);
    let mut pairs = Vec::new();
    for _ in 0..=random.below(3) {
        let mut client = End::new(ask(&world), &mut random);
        if random.percent(50) {
            client.send(random.below(3_000));
        }
        let backend = loop {
            world.settle();
            match world.network.accept_at(&address(1)) {
                Some(backend) => break backend,
                None => world.pass(1),
            }
        };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.extend(backend.receive(1));
            world.settle();
        }
        let backend = End::new(backend, &mut random);
        let reply = switched(&request);
        let cut = random.below(reply.len());
        backend.socket.send(&reply[..cut]);
        if random.percent(50) {
            world.settle();
        }
        backend.socket.send(&reply[cut..]);
        pairs.push([client, backend]);
    }
    for round in 0.. {
        assert!(round < 100_000, "seed {seed}: bytes that never arrive");
        let (pair, side) = (random.below(pairs.len()), random.below(2));
        let end = &mut pairs[pair][side];
        match random.below(4) {
            0 => end.send(1 + random.below(20_000)),
            1 => end.receive(1 + random.below(40_000)),
            2 => world.pass(random.below(20) as u64),
            _ => world.settle(),
        }
        if pairs.iter().flatten().all(End::is_done) {
            break;
        }
    }
    for [client, backend] in &pairs {
        let head = client.received.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        assert!(client.received[head..] == backend.to_send, "seed {seed}: to the client");
        assert!(backend.received == client.to_send, "seed {seed}: to the backend");
        assert!(!client.socket.was_reset() && !backend.socket.was_reset(), "seed {seed}: reset");
    }
    world.network.set_faults(Faults::default());
    assert_bare(&mut world, &upstream);
}

#[test]
fn bytes_pass_between_client_and_backend_unchanged() {
    (0..60).for_each(relay);
}

#[test]
fn a_request_reaches_the_backend_with_what_is_known_of_the_client() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&world);
    world.settle();
    let backend = world.network.accept_at(&address(1)).unwrap();
    let request = String::from_utf8(backend.receive(usize::MAX)).unwrap();
    assert!(request.starts_with("GET /app/chat?x=1 HTTP/1.1\r\nHost: "), "{request}");
    assert!(request.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{request}");
    assert_eq!(upstream.set().servers().next().unwrap().0.connections(), 1);
    backend.send(&switched(request.as_bytes()));
    world.settle();
    let reply = answer(&client);
    assert!(
        reply.starts_with("HTTP/1.1 101 ") && reply.contains("\r\nX-From: backend\r\n"),
        "{reply}"
    );
    for counter in ["upgrades", "relays_now", "opened"] {
        assert_eq!(world.counter(counter), 1, "{counter}");
    }
    client.reset();
    assert_bare(&mut world, &upstream);
    assert_eq!(world.counter("closed"), 1);
}

#[test]
fn a_refusal_reaches_the_client_as_it_is() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    for (reply, passed_on) in [
        ("HTTP/1.1 401 No\r\nWWW-Authenticate: a\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.0 401 No\r\nWWW-Authenticate: a\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 401 No\r\nWWW-Authenticate: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
    ] {
        let client = ask(&world);
        world.settle();
        let backend = world.network.accept_at(&address(1)).unwrap();
        for part in reply.as_bytes().chunks(7) {
            backend.send(part);
            world.settle();
        }
        backend.shutdown();
        world.settle();
        let text = answer(&client);
        assert!(text.starts_with("HTTP/1.1 401 No\r\n"), "{text}");
        assert!(text.contains("WWW-Authenticate: a\r\n") && text.ends_with(passed_on), "{text}");
        assert!(client.has_ended() && backend.is_closed_by_server());
    }
    assert_eq!(world.counter("relay_refused"), 3);
    assert_bare(&mut world, &upstream);
}

#[test]
fn what_is_no_reply_is_answered_with_502() {
    let upstream = upstream(2);
    let mut world = world(&Setup::default(), &upstream);
    world.network.set_backend(&address(2), OnConnect::Accepts);
    let wrong = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let smuggled =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (number, reply) in ["garbage\r\n\r\n", wrong, smuggled, ""].into_iter().enumerate() {
        let client = ask(&world);
        world.settle();
        let accepted = (1..=2).find_map(|at| world.network.accept_at(&address(at)));
        let backend = accepted.unwrap();
        backend.send(reply.as_bytes());
        if reply.is_empty() {
            backend.reset();
        }
        world.settle();
        assert_eq!(status(&client), "502", "{reply}");
        assert_eq!(world.counter("relay_no_reply"), number as u64 + 1);
        let other = (1..=2).find_map(|at| world.network.accept_at(&address(at)));
        assert!(other.is_none(), "a request that has gone out goes to no other server");
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_server_that_cannot_be_reached_is_passed_over() {
    for on_connect in [OnConnect::FailsAtOnce, OnConnect::Refuses, OnConnect::Hangs] {
        let upstream = upstream(2);
        let mut world = world(&Setup::default(), &upstream);
        world.network.set_backend(&address(2), on_connect);
        for number in 0..8 {
            let client = ask(&world);
            world.pass(5_000 + LATE_MS);
            let backend = world.network.accept_at(&address(1)).expect("the other one is asked");
            backend.send(&switched(&backend.receive(usize::MAX)));
            world.settle();
            assert_eq!(status(&client), "101", "{on_connect:?} {number}");
            client.shutdown();
            backend.shutdown();
        }
        // For ten seconds no request goes to the one that is known to be out.
        let retries = world.counter("relay_retries");
        assert!((1..=5).contains(&retries), "{on_connect:?}: {retries}");
        assert_bare(&mut world, &upstream);
    }
}

#[test]
fn at_most_two_others_are_tried() {
    let upstream = upstream(9);
    let mut world = world(&Setup::default(), &upstream);
    for number in 1..=9 {
        world.network.set_backend(&address(number), OnConnect::Refuses);
    }
    let client = ask(&world);
    world.settle();
    assert_eq!(status(&client), "502");
    assert_eq!((world.counter("relay_connects"), world.counter("relay_unreachable")), (3, 1));
    assert_bare(&mut world, &upstream);
}

#[test]
fn silence_is_answered_with_504() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&world);
    world.settle();
    let backend = world.network.accept_at(&address(1)).unwrap();
    world.pass(9_900);
    assert_eq!(client.unread_bytes(), 0);
    world.pass(100 + LATE_MS);
    assert_eq!(status(&client), "504");
    assert!(backend.is_closed_by_server());
    world.network.set_backend(&address(1), OnConnect::Hangs);
    let client = ask(&world);
    world.pass(5_000 + LATE_MS);
    assert_eq!(status(&client), "504");
    assert_eq!(world.counter("relay_timed_out"), 2);
    assert_bare(&mut world, &upstream);
}

#[test]
fn without_a_descriptor_or_a_permit_a_request_is_answered_with_503() {
    let upstream = upstream(1);
    let mut exhausted = world(&Setup { descriptors_max: Some(2), ..Setup::default() }, &upstream);
    let client = ask(&exhausted);
    exhausted.settle();
    assert_eq!(status(&client), "503");
    assert_eq!(exhausted.counter("relay_exhausted"), 1);

    let settings = ServerSettings { connections_max: 3, ..ServerSettings::default() };
    let mut full = world(&Setup { server: settings, ..Setup::default() }, &upstream);
    let (client, backend) = open(&mut full);
    let second = ask(&full);
    full.settle();
    assert_eq!(status(&second), "503");
    client.shutdown();
    backend.shutdown();
    full.settle();
    let (_client, _backend) = open(&mut full);
}

#[test]
fn without_a_server_a_request_is_answered_with_503() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    upstream.set().servers().next().unwrap().0.set_drained(true);
    let client = ask(&world);
    world.settle();
    assert_eq!(status(&client), "503");
    assert_eq!(world.counter("relay_no_server"), 1);
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_does_not_wait_leaves_no_connection_behind() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    for resets in [true, false] {
        let client = ask(&world);
        world.settle();
        let backend = world.network.accept_at(&address(1)).unwrap();
        if resets {
            client.reset()
        } else {
            client.shutdown()
        }
        world.settle();
        assert!(backend.is_closed_by_server());
    }
    assert_bare(&mut world, &upstream);
}

/// What the backend has sent before its end reaches the client, and then the end does.
#[test]
fn a_client_of_a_backend_that_dies_gets_all_it_has_sent() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    world.network.set_send_buffer_bytes(1_000);
    let (client, backend) = open(&mut world);
    backend.send(&[7; 5_000]);
    world.settle();
    backend.reset();
    let mut received = 0;
    while received < 5_000 {
        world.settle();
        let count = client.receive(usize::MAX).len();
        assert!(count > 0, "{received} bytes");
        received += count;
    }
    world.settle();
    assert!(client.has_ended() && !client.was_reset());
    assert_eq!(world.counter("closed_backend"), 1);
    client.shutdown();
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_half_closed_relay_ends_when_nothing_more_comes() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    for (first, second) in [(0, 1), (1, 0)] {
        let (client, backend) = open(&mut world);
        let ends = [client, backend];
        ends[first].shutdown();
        world.settle();
        assert!(ends[second].has_ended() && !ends[first].has_ended());
        // What still comes keeps it.
        for _ in 0..3 {
            world.pass(20_000);
            ends[second].send(b"more");
            world.settle();
            assert_eq!(ends[first].receive(9), b"more");
        }
        world.pass(29_900);
        assert!(!ends[first].is_closed_by_server());
        world.pass(100 + LATE_MS);
        assert!(ends[first].is_closed_by_server() && ends[second].is_closed_by_server());
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_backend_that_does_not_read_holds_its_client_up() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    world.network.set_send_buffer_bytes(1_000);
    let (client, backend) = open(&mut world);
    for _ in 0..100 {
        client.send(&[7; 100_000]);
        world.settle();
    }
    let held = ServerSettings::default().pool_bytes_max - world.server.pool.available();
    assert!(held < 1 << 20, "{held} bytes");
    let mut received = 0;
    while received < 10_000_000 {
        world.settle();
        let count = backend.receive(usize::MAX).len();
        assert!(count > 0, "the relay stalls after {received} bytes");
        received += count;
    }
    // One that never reads again is given up.
    client.send(&[7; 100_000]);
    world.pass(600_000);
    assert!(client.is_closed_by_server() && backend.is_closed_by_server());
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_drain_ends_both_sides() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let pairs: Vec<_> = (0..10).map(|_| open(&mut world)).collect();
    let waiting = ask(&world);
    world.settle();
    world.drain(20_000, false);
    world.settle();
    assert_eq!(status(&waiting), "503");
    for (client, backend) in &pairs {
        assert!(client.has_ended() && backend.has_ended() && !client.was_reset());
        client.shutdown();
        backend.shutdown();
    }
    world.pass(20_000);
    assert!(world.server.has_finished());
    assert_eq!(world.counter("closed_drained"), 10);
}

#[test]
fn a_reload_keeps_relays_and_what_is_counted_of_them() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let (client, backend) = open(&mut world);
    let servers = [(address(1), 1), (address(2), 1)];
    let next = |before: &ServerSet| {
        ServerSet::new(UpstreamSettings::default(), servers.clone(), Some(before))
    };
    upstream.update(|before| Some(next(before)));
    let next = routes(&world.journal, &upstream);
    world.reload(|settings| settings.connections.close_ms += 1, &next);
    world.settle();
    client.send(b"there");
    backend.send(b"back");
    world.settle();
    assert_eq!((backend.receive(9), client.receive(9)), (b"there".to_vec(), b"back".to_vec()));
    let counts: Vec<u32> = upstream.set().servers().map(|own| own.0.connections()).collect();
    assert_eq!(counts, [1, 0]);
    // And without its route.
    world.reload(|_| {}, &[]);
    world.settle();
    client.send(b"on");
    world.settle();
    assert_eq!(backend.receive(9), b"on");
    client.reset();
    assert_bare(&mut world, &upstream);
}

#[test]
fn an_idle_relay_holds_no_more_than_its_record() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let pairs: Vec<_> = (0..100).map(|_| open(&mut world)).collect();
    world.pass(60_000);
    let held = world.counter("pool_bytes_now");
    assert!(held <= 100 * 64, "{held} bytes");
    drop(pairs);
}

#[test]
fn registrations_that_fail_end_in_an_answer() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = world.network.connect(0, 0).unwrap();
    world.settle();
    world.network.set_faults(Faults { failed_registrations: 100, ..Faults::default() });
    client.send(&upgrade_request("/app/a"));
    world.settle();
    assert_eq!(status(&client), "502");
    world.network.set_faults(Faults::default());
    assert_bare(&mut world, &upstream);
}

/// An upstream of two servers, whose connections come from these addresses.
fn upstream_from(local_addresses: &[&str]) -> Arc<Upstream> {
    let servers = [(address(1), 1), (address(2), 1)];
    let local_addresses = local_addresses.iter().map(|own| own.parse().unwrap()).collect();
    let settings = UpstreamSettings { local_addresses, ..UpstreamSettings::default() };
    Upstream::new("app", ServerSet::new(settings, servers, None))
}

#[test]
fn connections_come_from_the_local_addresses_in_turn() {
    for (local, expected) in [
        (&[][..], [None; 4]),
        (&["10.0.0.5"], [Some("10.0.0.5"); 4]),
        (
            &["10.0.0.5", "::1", "10.0.0.6"],
            [Some("10.0.0.5"), Some("10.0.0.6"), Some("10.0.0.5"), Some("10.0.0.6")],
        ),
        // None of them could reach a server.
        (&["::1"], [None; 4]),
    ] {
        let upstream = upstream_from(local);
        upstream.set_drained("192.0.2.1:2", true, tidegate::timer::Millis(0));
        let mut world = world(&Setup::default(), &upstream);
        let pairs: Vec<_> = (0..4).map(|_| open(&mut world)).collect();
        let peers = pairs.iter().map(|(_, backend)| backend.peer().map(|own| own.to_string()));
        let peers: Vec<Option<String>> = peers.collect();
        assert_eq!(peers, expected.map(|own| own.map(str::to_owned)));
        pairs.iter().for_each(|(client, _)| client.reset());
        world.pass(60_000);
        assert_eq!(world.server.connection_count(), 0);
    }
}

#[test]
fn without_a_source_port_another_server_is_asked_and_none_is_to_blame() {
    let upstream = upstream_from(&["10.0.0.5"]);
    let mut world = world(&Setup::default(), &upstream);
    world.network.set_backend(&address(2), OnConnect::HasNoPort);
    let pairs: Vec<_> = (0..3).map(|_| open(&mut world)).collect();
    world.network.set_backend(&address(1), OnConnect::HasNoPort);
    let client = ask(&world);
    world.settle();
    let text = answer(&client);
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("no source port left"), "{text}");
    let counters = ["relay_source_ports", "relay_exhausted", "relay_unreachable"];
    assert_eq!(counters.map(|name| world.counter(name)), [1, 0, 0]);
    for (server, _) in upstream.set().servers() {
        assert_eq!(server.counts().failures, 0, "{}", server.address());
    }
    pairs.iter().for_each(|(client, _)| client.reset());
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_server_that_never_replies_is_passed_over_for_a_while() {
    for garbage in [true, false] {
        let upstream = upstream(2);
        let mut world = world(&Setup::default(), &upstream);
        world.network.set_backend(&address(2), OnConnect::Accepts);
        let mut silent = 0;
        for _ in 0..6 {
            let client = ask(&world);
            world.settle();
            if let Some(backend) = world.network.accept_at(&address(2)) {
                let _ = backend.receive(usize::MAX);
                if garbage {
                    backend.send(b"garbage\r\n\r\n");
                }
                silent += 1;
                world.pass(if garbage { 10 } else { 10_000 + LATE_MS });
                assert_eq!(status(&client), if garbage { "502" } else { "504" });
            } else {
                let backend = world.network.accept_at(&address(1)).unwrap();
                backend.send(&switched(&backend.receive(usize::MAX)));
                world.settle();
                assert_eq!(status(&client), "101");
                client.reset();
            }
        }
        assert_eq!(silent, 1, "garbage: {garbage}");
        assert_eq!(upstream.set().server(&address(2)).unwrap().counts().failures, 1);
        assert_bare(&mut world, &upstream);
    }
}
