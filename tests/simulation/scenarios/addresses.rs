//! Limits of clients by their addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tidegate::admission::{AddressLimits, AddressSettings, NetworkSet, Rate};
use tidegate::sim::{Random, ServerSettings};

use super::{LATE_MS, server};
use crate::client::{Client, LineClient};
use crate::tls_end::TlsSetup;
use crate::wire::TEXT;
use crate::world::{Setup, World, routes};

/// A client of TEST-NET-1.
fn client(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// 10 connections a second with bursts of 20, and 2 failed handshakes a second with bursts of 4.
fn limits() -> AddressLimits {
    AddressLimits { connections: Rate::new(10, 20), failures: Rate::new(2, 4), connections_max: 0 }
}

fn limited(host: AddressLimits) -> Setup {
    server(|own| own.connections.addresses = AddressSettings { host, ..Default::default() })
}

/// What a client got that asks for `/echo`; `None` if it was closed without a word.
fn ask(world: &mut World, address: IpAddr) -> (Client, Option<u16>) {
    let mut client = world.connect_from(0, address);
    client.ask("/echo");
    world.exchange(&mut client);
    let status = client.received.status;
    assert_eq!(status.is_none(), client.is_gone() && !client.ended_well());
    if status != Some(101) {
        client.shutdown();
        world.exchange(&mut client);
    }
    (client, status)
}

fn statuses(world: &mut World, address: IpAddr, count: usize) -> Vec<Option<u16>> {
    (0..count).map(|_| ask(world, address).1).collect()
}

/// After all have left, and a while, nothing is remembered.
fn assert_forgotten(world: &mut World, clients: Vec<Client>) {
    for mut own in clients {
        own.shutdown();
        world.exchange(&mut own);
    }
    world.pass(60_000);
    assert_eq!(world.server.connection_count(), 0);
    assert_eq!((world.server.addresses.len(), world.server.addresses.bytes()), (0, 0));
}

#[test]
fn who_connects_too_often_is_told_when_to_come_again_and_then_closed_without_a_word() {
    let mut world = World::new(&limited(limits()));
    let (first, status) = ask(&mut world, client(1));
    assert_eq!(status, Some(101));
    let mut clients = vec![first];
    for _ in 1..20 {
        let (own, status) = ask(&mut world, client(1));
        assert_eq!(status, Some(101));
        clients.push(own);
    }
    let (refused, status) = ask(&mut world, client(1));
    assert_eq!((status, refused.received.header("Retry-After")), (Some(429), Some("1")));
    assert_eq!(statuses(&mut world, client(1), 3), [Some(429), None, None]);
    // Who behaves notices nothing, and those who are there go on.
    assert_eq!(statuses(&mut world, client(2), 20), [Some(101); 20]);
    clients[0].send_frame(TEXT, b"still served");
    world.exchange(&mut clients[0]);
    clients[0].assert_received(&[b"still served"]);
    world.pass(1_000);
    assert_eq!(statuses(&mut world, client(1), 10), [Some(101); 10]);
    assert_eq!(world.counter("refused_address_rate"), 4);
    assert_eq!(world.counter("addresses_dropped"), 2);
    assert_eq!(world.counter("refused_at_limit"), 0);
}

#[test]
fn loopback_is_exempt_unless_it_is_not() {
    let mut world = World::new(&limited(limits()));
    let here = Ipv4Addr::LOCALHOST.into();
    assert_eq!(statuses(&mut world, here, 60), [Some(101); 60]);
    assert!(world.server.addresses.is_empty());
    let mut setup = limited(limits());
    setup.server.connections.addresses.exempts_local = false;
    let mut world = World::new(&setup);
    let admitted = statuses(&mut world, here, 60).iter().filter(|own| **own == Some(101)).count();
    assert_eq!(admitted, 20);
}

#[test]
fn a_denied_client_is_closed_without_a_word() {
    let deny = NetworkSet::new(&["192.0.2.0/24".parse().unwrap()]);
    let allow = NetworkSet::new(&["192.0.2.9/32".parse().unwrap()]);
    let own = AddressSettings { deny, allow, ..AddressSettings::default() };
    let mut world = World::new(&server(|server| server.connections.addresses = own));
    assert_eq!(statuses(&mut world, client(1), 3), [None; 3]);
    assert_eq!(statuses(&mut world, client(9), 3), [Some(101); 3]);
    assert_eq!(world.counter("refused_address_denied"), 3);
}

#[test]
fn open_connections_are_limited_on_all_loops_together() {
    let host = AddressLimits { connections_max: 3, ..AddressLimits::default() };
    let mut setup = limited(host);
    setup.server.loops = 2;
    let mut world = World::new(&setup);
    let mut held: Vec<Client> = (0..3)
        .map(|number| {
            let mut own = world.connect_from(number % 2, client(1));
            own.ask("/echo");
            world.exchange(&mut own);
            own
        })
        .collect();
    assert_eq!(ask(&mut world, client(1)).1, Some(429));
    let mut leaving = held.swap_remove(1);
    leaving.shutdown();
    world.exchange(&mut leaving);
    let (own, status) = ask(&mut world, client(1));
    assert_eq!(status, Some(101));
    held.push(own);
    assert_eq!(ask(&mut world, client(1)).1, Some(429));
    assert_forgotten(&mut world, held);
}

/// Malformed heads, other protocols, refusals by services, and requests that are not finished in time.
#[test]
fn failed_handshakes_count_against_the_address() {
    let no_head = b"GARBAGE\r\n\r\n".to_vec();
    let forbidden = crate::wire::upgrade_request("/gate?no");
    let foreign = b"SSH-2.0-OpenSSH_10.0\r\n".to_vec();
    for request in [Some(no_head), Some(foreign), Some(forbidden), None] {
        let mut world = World::new(&limited(limits()));
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut own = world.connect_from(0, client(1));
            match &request {
                Some(request) => own.send(request),
                None => own.send(b"GET / HTTP/1.1\r\n"),
            }
            world.exchange(&mut own);
            clients.push(own);
        }
        if request.is_none() {
            assert_eq!(ask(&mut world, client(1)).1, Some(101), "they have not failed yet");
            world.pass(5_000 + LATE_MS);
        }
        let (refused, status) = ask(&mut world, client(1));
        assert_eq!((status, refused.received.header("Retry-After")), (Some(429), Some("1")));
        assert_eq!(ask(&mut world, client(2)).1, Some(101));
        assert_eq!(world.counter("refused_address_failures"), 1);
        world.pass(500);
        assert_eq!(ask(&mut world, client(1)).1, Some(101));
    }
}

#[test]
fn what_is_not_the_fault_of_a_client_is_no_failure() {
    let mut world = World::new(&limited(limits()));
    for _ in 0..10 {
        let mut own = world.connect_from(0, client(1));
        own.ask("/nothing-here");
        world.exchange(&mut own);
        assert_eq!(own.received.status, Some(404));
        own.shutdown();
        world.exchange(&mut own);
    }
    assert_eq!(ask(&mut world, client(1)).1, Some(101));
}

#[test]
fn a_silent_client_over_the_limit_is_told_so() {
    let host = AddressLimits { connections_max: 1, ..AddressLimits::default() };
    let mut world = World::new(&limited(host));
    let (_held, status) = ask(&mut world, client(1));
    assert_eq!(status, Some(101));
    let mut silent = world.connect_from(0, client(1));
    world.pass(100 + LATE_MS);
    world.exchange(&mut silent);
    assert_eq!(silent.received.status, Some(429));
    assert!(silent.ended_well());
}

#[test]
fn refusals_that_cannot_be_held_are_closed_without_a_word() {
    let mut setup = limited(AddressLimits { connections_max: 1, ..AddressLimits::default() });
    setup.server.refusals_max = 2;
    let mut world = World::new(&setup);
    let (_held, status) = ask(&mut world, client(1));
    assert_eq!(status, Some(101));
    let waiting: Vec<Client> = (0..5).map(|_| world.connect_from(0, client(1))).collect();
    world.settle();
    assert_eq!(waiting.iter().filter(|own| own.is_gone()).count(), 3);
    assert_eq!(world.counter("addresses_dropped"), 3);
    // Those who may connect are not kept waiting by them.
    assert_eq!(ask(&mut world, client(2)).1, Some(101));
}

#[test]
fn a_line_client_is_told_by_a_line() {
    let mut setup = limited(AddressLimits { connections_max: 1, ..AddressLimits::default() });
    setup.server.line_route = Some("/broadcast");
    let mut world = World::new(&setup);
    let mut connect = || {
        let address = Some(SocketAddr::new(client(1), 1));
        let own = LineClient::new(world.network.connect_from(0, 1, address).unwrap());
        world.settle();
        own
    };
    let (first, second) = (connect(), connect());
    assert_eq!(first.received(), "");
    let text = second.received();
    assert!(text.starts_with("too many connections"), "{text}");
    assert!(second.ended_well());
}

#[test]
fn over_tls_the_verdict_falls_before_the_handshake() {
    let mut setup = limited(AddressLimits { connections: Rate::new(1, 2), ..limits() });
    setup.tls = Some(TlsSetup::default());
    let mut world = World::new(&setup);
    let held: Vec<Client> = (0..2)
        .map(|_| {
            let mut own = world.connect_from(0, client(1));
            own.ask("/echo");
            world.exchange(&mut own);
            assert_eq!(own.received.status, Some(101));
            own
        })
        .collect();
    let refused = world.connect_from(0, client(1));
    world.settle();
    assert!(refused.is_gone());
    let handshakes = world.counter("tls_full") + world.counter("tls_resumed");
    assert_eq!((world.counter("addresses_dropped"), handshakes), (1, 2));
    assert_forgotten(&mut world, held);
}

#[test]
fn failed_tls_handshakes_count_against_the_address() {
    let mut setup = limited(limits());
    setup.tls = Some(TlsSetup::default());
    let mut world = World::new(&setup);
    for _ in 0..4 {
        let own = world.connect_from(0, client(1));
        own.connection.send(b"SSH-2.0-OpenSSH_10.0\r\n");
        world.settle();
        let _ = own.connection.receive(usize::MAX);
        own.connection.shutdown();
        world.settle();
    }
    let refused = world.connect_from(0, client(1));
    world.settle();
    assert!(refused.is_gone());
    assert_eq!(world.counter("refused_address_failures"), 1);
}

#[test]
fn a_dry_run_counts_and_refuses_no_client() {
    let mut setup = limited(limits());
    setup.server.connections.addresses.is_dry_run = true;
    setup.server.connections.addresses.deny = NetworkSet::new(&["192.0.2.7/32".parse().unwrap()]);
    let mut world = World::new(&setup);
    assert_eq!(statuses(&mut world, client(1), 30), [Some(101); 30]);
    assert_eq!(statuses(&mut world, client(7), 5), [Some(101); 5]);
    assert_eq!(world.counter("addresses_dry_run"), 15);
    assert_eq!(world.counter("refused_address_rate"), 0);
}

#[test]
fn a_reload_changes_limits_and_forgets_no_client() {
    let setup = limited(AddressLimits { connections_max: 2, ..AddressLimits::default() });
    let mut world = World::new(&setup);
    let held: Vec<Client> = (0..2).map(|_| ask(&mut world, client(1)).0).collect();
    assert_eq!(ask(&mut world, client(1)).1, Some(429));
    let all = routes(&setup, &world.journal);
    let set_max = |connections_max| {
        move |server: &mut ServerSettings| {
            server.connections.addresses.host.connections_max = connections_max;
        }
    };
    world.reload(set_max(3), &all);
    world.settle();
    let (third, status) = ask(&mut world, client(1));
    assert_eq!(status, Some(101));
    assert_eq!(ask(&mut world, client(1)).1, Some(429));
    // No client that is there is closed, and what is open counts on.
    world.reload(set_max(1), &all);
    world.settle();
    assert!(held.iter().all(|own| !own.is_gone()));
    assert_eq!(ask(&mut world, client(1)).1, Some(429));
    let held: Vec<Client> = held.into_iter().chain([third]).collect();
    assert_forgotten(&mut world, held);
}

/// What a naive twin knows of a client: tokens in nanoseconds of filling, and open connections.
struct Twin {
    filled: [u64; 3],
    looked_at: u64,
    open: u32,
}

/// Interval and depth of each bucket, in nanoseconds: connections, failures, answers to refusals.
const BUCKETS: [(u64, u64); 3] =
    [(100_000_000, 2_000_000_000), (500_000_000, 2_000_000_000), (1_000_000_000, 2_000_000_000)];
const OPEN_MAX: u32 = 6;

impl Twin {
    fn new() -> Self {
        Self { filled: BUCKETS.map(|(_, depth)| depth), looked_at: 0, open: 0 }
    }

    fn take(&mut self, bucket: usize) -> bool {
        let has_one = self.filled[bucket] >= BUCKETS[bucket].0;
        if has_one {
            self.filled[bucket] -= BUCKETS[bucket].0;
        }
        has_one
    }

    fn fill(&mut self, now: u64) {
        let passed = (now - self.looked_at) * 1_000_000;
        self.looked_at = now;
        for (filled, (_, depth)) in self.filled.iter_mut().zip(BUCKETS) {
            *filled = (*filled + passed).min(depth);
        }
    }

    /// The status that a client gets that asks for what it may have.
    fn ask(&mut self, now: u64) -> Option<u16> {
        self.fill(now);
        let has_failed = self.filled[1] < BUCKETS[1].0;
        if self.open >= OPEN_MAX || has_failed || !self.take(0) {
            return self.take(2).then_some(429);
        }
        self.open += 1;
        Some(101)
    }
}

/// Clients of a few addresses come, fail, stay and leave, on two loops: each gets what a naive twin says,
/// and in the end nothing is left.
#[test]
fn every_client_gets_what_a_naive_twin_says() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut setup = limited(AddressLimits { connections_max: OPEN_MAX, ..limits() });
        setup.seed = seed;
        setup.server.loops = 2;
        let mut world = World::new(&setup);
        let mut twins: HashMap<IpAddr, Twin> = HashMap::new();
        let mut held: Vec<(IpAddr, Client)> = Vec::new();
        for step in 0..120 {
            let now = world.now();
            let address = client(u8::try_from(random.below(3)).unwrap());
            match random.below(10) {
                0..5 => {
                    let expected = twins.entry(address).or_insert_with(Twin::new).ask(now);
                    let mut own = world.connect_from(random.below(2), address);
                    own.ask("/echo");
                    world.exchange(&mut own);
                    assert_eq!(own.received.status, expected, "seed {seed}, step {step}");
                    if expected == Some(101) {
                        held.push((address, own));
                    } else {
                        own.shutdown();
                        world.exchange(&mut own);
                    }
                }
                5..7 => {
                    let twin = twins.entry(address).or_insert_with(Twin::new);
                    let is_admitted = twin.ask(now) == Some(101);
                    let mut own = world.connect_from(random.below(2), address);
                    own.send(b"no head\r\n\r\n");
                    world.exchange(&mut own);
                    own.shutdown();
                    world.exchange(&mut own);
                    if is_admitted {
                        twin.open -= 1;
                        let _ = twin.take(1);
                        assert_eq!(own.received.status, Some(400), "seed {seed}, step {step}");
                    }
                }
                7..9 if !held.is_empty() => {
                    let (address, mut own) = held.swap_remove(random.below(held.len()));
                    own.shutdown();
                    world.exchange(&mut own);
                    twins.entry(address).and_modify(|own| own.open -= 1);
                }
                _ => world.pass(random.below(700) as u64),
            }
        }
        let open: u32 = world.server.addresses.heaviest(10).iter().map(|own| own.open).sum();
        assert_eq!(open as usize, held.len());
        assert_forgotten(&mut world, held.into_iter().map(|(_, own)| own).collect());
    }
}
