//! Bytes that go from one connection to another as they are: nothing is lost, repeated or out of
//! order, however slowly either side reads, and each half ends by itself.

use tidegate::services::{Effects, Message, Peer, RouteOptions, Service};
use tidegate::sim::{Faults, Random, ServerSettings, SimClient};

use crate::world::{Setup, World, socket};

/// One end of a relay: what it sends, and what it has received.
struct RelayPeer {
    connection: SimClient,
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    has_ended: bool,
}

impl RelayPeer {
    fn new(connection: SimClient, random: &mut Random, serial: u8) -> Self {
        let count = random.below(300_000);
        let to_send = (0..count).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ serial);
        let to_send = to_send.collect();
        Self { connection, to_send, sent: 0, received: Vec::new(), has_ended: false }
    }

    fn send(&mut self, count: usize) {
        let end = self.sent.saturating_add(count).min(self.to_send.len());
        self.connection.send(&self.to_send[self.sent..end]);
        self.sent = end;
        if self.sent == self.to_send.len() && !std::mem::replace(&mut self.has_ended, true) {
            self.connection.shutdown();
        }
    }

    fn receive(&mut self, bytes_max: usize) {
        self.received.extend(self.connection.receive(bytes_max));
    }
}

fn relay(seed: u64) {
    let mut random = Random::new(seed);
    let pick = |random: &mut Random, of: &[usize]| of[random.below(of.len())];
    let percent = |random: &mut Random, of: &[usize]| u32::try_from(pick(random, of)).unwrap();
    let mut server = ServerSettings { has_relay: true, ..ServerSettings::default() };
    server.connections.receive_buffer_bytes = pick(&mut random, &[256, 5_000, 512 << 10]);
    server.connections.backlog_high_bytes = pick(&mut random, &[1 << 10, 64 << 10]);
    let faults = Faults {
        interrupted: percent(&mut random, &[0, 40]),
        spurious: percent(&mut random, &[0, 50]),
        partial_waits: percent(&mut random, &[0, 90]),
        short_writes: percent(&mut random, &[0, 60]),
        stale: percent(&mut random, &[0, 50]),
        ..Faults::default()
    };
    let mut world = World::new(&Setup { seed, server, faults, ..Setup::default() });
    world.network.set_send_buffer_bytes(pick(&mut random, &[100, 3_000, 64 << 10]));
    let pairs = 1 + random.below(4);
    let peers = (0..2 * pairs).map(|serial| {
        let connection = world.network.connect(0, 1).unwrap();
        RelayPeer::new(connection, &mut random, u8::try_from(serial).unwrap())
    });
    let mut peers: Vec<RelayPeer> = peers.collect();
    let is_done = |peer: &RelayPeer| peer.has_ended && peer.connection.has_ended();
    for round in 0.. {
        assert!(round < 100_000, "seed {seed}: bytes that never arrive");
        let index = random.below(peers.len());
        match random.below(4) {
            0 => peers[index].send(1 + random.below(20_000)),
            1 => peers[index].receive(1 + random.below(40_000)),
            2 => world.pass(random.below(20) as u64),
            _ => world.settle(),
        }
        if peers.iter().all(is_done) {
            break;
        }
    }
    for pair in peers.chunks(2) {
        for (from, to) in [(0, 1), (1, 0)] {
            assert!(pair[from].to_send == pair[to].received, "seed {seed}: bytes are other bytes");
            assert!(!pair[to].connection.was_reset(), "seed {seed}: reset");
        }
    }
    // Until unused buffers are given back.
    world.pass(30_000);
    assert_eq!(world.server.connection_count(), 0, "seed {seed}");
    assert_eq!(world.server.pool.available(), ServerSettings::default().pool_bytes_max);
}

#[test]
fn bytes_pass_a_relay_unchanged_and_each_half_ends_by_itself() {
    (0..60).for_each(relay);
}

#[test]
fn a_relay_that_waits_for_a_partner_holds_bytes_back() {
    let server = ServerSettings { has_relay: true, ..ServerSettings::default() };
    let mut world = World::new(&Setup { server, ..Setup::default() });
    let first = world.network.connect(0, 1).unwrap();
    first.send(b"early");
    world.pass(60_000);
    let second = world.network.connect(0, 1).unwrap();
    world.settle();
    assert_eq!(second.receive(100), b"early");
}

/// A service that wants the addresses of its peers.
struct Addressed;

impl Service for Addressed {
    fn wants_addresses(&self) -> bool {
        true
    }

    fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}
}

#[test]
fn a_relay_beside_a_route_that_wants_addresses_leaves_no_record_behind() {
    let server = ServerSettings { has_relay: true, ..ServerSettings::default() };
    let setup = Setup { server, ..Setup::default() };
    let options = RouteOptions::default();
    let mut world = World::serving(&setup, |journal| {
        vec![socket("/addressed", &options, journal, |_, _| Addressed)]
    });
    let [first, second] = [(); 2].map(|()| world.network.connect(0, 1).unwrap());
    world.settle();
    first.reset();
    world.settle();
    assert!(second.is_closed_by_server());
    world.pass(30_000);
    assert_eq!(world.server.pool.available(), ServerSettings::default().pool_bytes_max);
}

#[test]
fn a_relay_that_is_reset_ends_its_partner() {
    let server = ServerSettings { has_relay: true, ..ServerSettings::default() };
    let mut world = World::new(&Setup { server, ..Setup::default() });
    let [first, second] = [(); 2].map(|()| world.network.connect(0, 1).unwrap());
    world.settle();
    first.reset();
    world.settle();
    assert!(second.is_closed_by_server());
    assert_eq!(world.server.connection_count(), 0);
}

/// A peer that reads nothing has its partner held back: what waits stays within the mark and one
/// read.
#[test]
fn a_relay_is_not_read_while_its_partner_is_full() {
    let server = ServerSettings { has_relay: true, ..ServerSettings::default() };
    let mut world = World::new(&Setup { server, ..Setup::default() });
    world.network.set_send_buffer_bytes(1_000);
    let [first, second] = [(); 2].map(|()| world.network.connect(0, 1).unwrap());
    world.settle();
    for _ in 0..100 {
        first.send(&[7; 100_000]);
        world.settle();
    }
    let held = ServerSettings::default().pool_bytes_max - world.server.pool.available();
    assert!(held < 1 << 20, "{held} bytes");
    let mut received = 0;
    while received < 10_000_000 {
        world.settle();
        let count = second.receive(usize::MAX).len();
        assert!(count > 0, "the relay stalls after {received} bytes");
        received += count;
    }
}
