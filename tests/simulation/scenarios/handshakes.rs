//! Half-open connections: deadlines, the bound on their number, and requests in small pieces.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::{FIN, TEXT, client_frame, upgrade_request};
use crate::world::World;

#[test]
fn two_thousand_half_open_are_reaped_at_their_deadline_while_others_are_served() {
    let mut world = World::new(&server(|server| {
        server.connections_max = 5_000;
        server.connections.half_open_max = 4_000;
    }));
    let mut served: Vec<Client> = (0..5).map(|_| world.open(0, "/echo")).collect();
    let flood: Vec<Client> = (0..2_000).map(|_| world.connect(0)).collect();
    for (serial, client) in flood.iter().enumerate() {
        client.send(&upgrade_request("/echo")[..serial % 100]);
    }
    world.settle();
    for round in 1..=4 {
        world.pass(1_200);
        for client in &mut served {
            client.send_frame(TEXT, b"hello");
            world.settle();
            client.read_all();
            assert_eq!(client.received.frames.len(), round);
        }
    }
    world.pass(199);
    assert!(flood.iter().all(|client| !client.is_gone()), "too early");
    world.pass(1 + LATE_MS);
    assert!(flood.iter().all(Client::is_gone));
    assert_eq!(world.counter("handshakes_timed_out"), 2_000);
    assert_eq!(world.server.connection_count(), 5);
    assert_eq!(world.network.descriptors(), 5 + 1);
}

#[test]
fn a_full_half_open_table_drops_its_oldest() {
    let mut world = World::new(&server(|server| server.connections.half_open_max = 5));
    let opened = world.open(0, "/echo");
    let flood: Vec<Client> = (0..12)
        .map(|_| {
            let client = world.connect(0);
            world.settle();
            client
        })
        .collect();
    let gone: Vec<bool> = flood.iter().map(Client::is_gone).collect();
    assert_eq!(gone, [vec![true; 7], vec![false; 5]].concat());
    assert_eq!(world.counter("half_open_dropped"), 7);
    for mut client in flood.into_iter().skip(7) {
        client.ask("/echo");
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(101));
    }
    assert!(!opened.is_gone());
}

#[test]
fn a_burst_of_clients_that_ask_at_once_is_served_through_a_small_half_open_table() {
    let mut world = World::new(&server(|server| server.connections.half_open_max = 5));
    let burst = (0..100).map(|_| {
        let client = world.connect(0);
        client.ask("/echo");
        client
    });
    let burst: Vec<Client> = burst.collect();
    world.settle();
    for mut client in burst {
        client.read_all();
        assert_eq!(client.received.status, Some(101));
    }
    assert_eq!(world.counter("half_open_dropped"), 0);
}

#[test]
fn a_request_one_byte_at_a_time_with_frames_behind_it_loses_nothing() {
    let mut world = World::calm();
    let mut client = world.connect(0);
    let mut bytes = upgrade_request("/echo");
    bytes.extend(client_frame(TEXT, b"He", [1, 2, 3, 4]));
    bytes.extend(client_frame(FIN, b"llo", [5, 6, 7, 8]));
    for byte in bytes {
        client.send(&[byte]);
        world.settle();
    }
    world.exchange(&mut client);
    client.assert_received(&[b"Hello"]);

    let mut client = world.connect(0);
    let mut bytes = upgrade_request("/echo");
    bytes.extend(crate::wire::frame(TEXT, b"in the same segment"));
    client.send(&bytes);
    world.exchange(&mut client);
    client.assert_received(&[b"in the same segment"]);
}

/// A request of this many bytes, most of them in one header.
fn request_of(bytes: usize) -> Vec<u8> {
    let mut request = upgrade_request("/echo");
    request.truncate(request.len() - 2);
    request.extend(b"Cookie: ");
    request.resize(bytes - 4, b'c');
    request.extend(b"\r\n\r\n");
    request
}

#[test]
fn a_head_of_the_largest_size_is_charged_as_it_arrives() {
    const BYTES_MAX: usize = 64 << 10;
    for (bytes, status) in [(BYTES_MAX, 101), (BYTES_MAX + 1, 431)] {
        let mut world = World::new(&server(|server| {
            server.connections.head_bytes_max = BYTES_MAX;
            server.connections.handshake_ms = 600_000;
        }));
        let mut client = world.connect(0);
        let request = request_of(bytes);
        // Byte by byte at its beginning, across the limit, and around each power of two.
        let mut sent = 0;
        while sent < request.len() {
            let is_near = (sent + 4).next_power_of_two() - sent <= 8 || sent < 200;
            let end = if is_near { sent + 1 } else { (sent + 1021).min(request.len()) };
            client.send(&request[sent..end]);
            world.settle();
            sent = end;
            // A buffer doubles, from 4 KiB, and the step from one to the next needs both.
            let held = usize::try_from(world.counter("pool_bytes_now")).unwrap();
            assert!(held >= sent || sent > BYTES_MAX - 8, "{held} for {sent} bytes");
            assert!(held <= 3 * sent.max(4096), "{held} for {sent} bytes");
        }
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(status));
    }
}

#[test]
fn a_head_one_byte_over_the_limit_is_refused_before_its_end() {
    let mut world = World::new(&server(|server| server.connections.head_bytes_max = 16 << 10));
    let mut client = world.connect(0);
    let request = request_of(20 << 10);
    client.send(&request[..(16 << 10) - 1]);
    world.exchange(&mut client);
    assert_eq!(client.received.status, None);
    client.send(&request[(16 << 10) - 1..][..1]);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(431));
    assert!(client.ended_well());
    assert_eq!(world.counter("refused_malformed"), 1);
}

#[test]
fn a_handshake_longer_than_the_ping_interval_is_still_pinged_in_time() {
    let mut world = World::new(&server(|server| {
        server.connections.handshake_ms = 60_000;
        server.connections.ping_idle_ms = 10_000;
        server.connections.pong_ms = 40_000;
    }));
    let mut client = world.open(0, "/echo");
    world.pass(10_000 + LATE_MS);
    client.read_all();
    assert_eq!(client.received.pings, 1);
    client.send_frame(TEXT, b"here");
    world.pass(10_000 + LATE_MS);
    client.read_all();
    assert_eq!(client.received.pings, 2);
}

#[test]
fn a_close_from_on_open_reaches_its_own_peer() {
    let mut world = World::calm();
    let bystander = world.open(0, "/echo");
    let mut refused = world.connect(0);
    refused.ask("/close-on-open");
    bystander.send_frame(TEXT, b"hello");
    world.exchange(&mut refused);
    assert_eq!((refused.received.status, refused.received.close_code()), (Some(101), Some(4003)));
    assert!(refused.ended_well());
    let mut bystander = bystander;
    world.exchange(&mut bystander);
    bystander.assert_received(&[b"hello"]);
    assert_eq!(bystander.received.close(), None);
}
