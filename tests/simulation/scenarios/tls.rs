//! Connections over TLS: floods of handshakes beside clients that are open, half-open connections, and
//! those that are told 503.

use tidegate::sim::ServerSettings;
use tidegate::work::{WorkLimits, meter, prices};

use super::{LATE_MS, server};
use crate::client::Client;
use crate::tls_end::TlsSetup;
use crate::wire::{BINARY, TEXT, frame};
use crate::world::{Setup, World};

/// A server that speaks TLS, with these settings.
fn tls_server(change: impl FnOnce(&mut ServerSettings)) -> Setup {
    Setup { tls: Some(TlsSetup::default()), ..server(change) }
}

/// An open client, once its handshake and its request are dealt with.
fn open(world: &mut World) -> Client {
    let mut client = world.connect(0);
    client.ask("/echo");
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    client
}

/// Turns that an open client may have to wait for an echo.
const WAIT_MAX: usize = 3;

#[test]
fn a_flood_of_handshakes_delays_no_open_client_and_all_complete() {
    let limits = WorkLimits { turn: 1_000_000, share: 500_000 };
    let mut world = World::new(&tls_server(|server| server.connections.work = limits));
    let mut bystanders: Vec<Client> = (0..3).map(|_| open(&mut world)).collect();
    let mut sent = [0; 3];
    let mut waits = [0; 3];
    let mut flood = Vec::new();
    let _ = meter::take();
    for round in 0..2_000 {
        if round % 4 == 0 && flood.len() < 120 {
            for _ in 0..20 {
                let client = world.connect(0);
                client.ask("/echo");
                flood.push(client);
            }
        }
        for ((bystander, sent), waits) in bystanders.iter_mut().zip(&mut sent).zip(&mut waits) {
            bystander.read_all();
            if bystander.received.data().len() == *sent {
                bystander.send_frame(BINARY, b"hello");
                *sent += 1;
                *waits = 0;
            } else {
                *waits += 1;
                assert!(*waits <= WAIT_MAX, "round {round}: an echo takes {waits:?} turns");
            }
        }
        world.server.step().unwrap();
        let (spent, charged) = (meter::take(), world.server.work_used(0).unwrap());
        assert!(spent <= charged + 12_000, "round {round}: {spent} done, {charged} charged");
        // One step of a handshake beyond the limit, and what is done in every turn.
        assert!(spent <= limits.turn + limits.share + prices::TLS_FULL, "a turn of {spent}");
        for client in &mut flood {
            client.read_all();
        }
        if flood.len() == 120 && flood.iter().all(|own| own.received.status == Some(101)) {
            break;
        }
    }
    assert!(flood.iter().all(|own| own.received.status == Some(101)));
    assert_eq!(world.counter("tls_full") + world.counter("tls_resumed"), 123);
    assert_eq!((world.counter("half_open_dropped"), world.counter("handshakes_timed_out")), (0, 0));
}

#[test]
fn those_that_say_nothing_make_room_for_handshakes_that_wait() {
    let mut world = World::new(&tls_server(|server| {
        server.connections.half_open_max = 20;
        // One handshake in each turn.
        server.connections.work = WorkLimits { turn: 1, share: 1 };
    }));
    let silent: Vec<Client> = (0..10).map(|_| world.connect(0)).collect();
    world.settle();
    let mut flood = Vec::new();
    for _ in 0..20 {
        let client = world.connect(0);
        client.ask("/echo");
        flood.push(client);
        world.server.step().unwrap();
    }
    for _ in 0..20 {
        world.settle();
        for client in &mut flood {
            client.read_all();
        }
    }
    assert!(flood.iter().all(|own| own.received.status == Some(101)));
    assert!(silent.iter().all(Client::is_gone));
    assert_eq!(world.counter("half_open_dropped"), 10);
}

#[test]
fn a_client_over_the_limit_is_told_so_once_its_handshake_is_over() {
    for waits in [false, true] {
        let mut world = World::new(&tls_server(|server| server.connections_max = 1));
        let _first = open(&mut world);
        let mut second = world.connect(0);
        if waits {
            // It says nothing until it would be told 503 anyway.
            world.pass(ServerSettings::default().connections.refuse_ms + 200);
        }
        second.ask("/echo");
        world.exchange(&mut second);
        world.pass(100);
        world.exchange(&mut second);
        assert_eq!(second.received.status, Some(503), "{waits}");
        assert!(second.connection.has_ended());
    }
}

#[test]
fn a_drain_in_the_middle_of_a_handshake_is_told_after_it() {
    let mut world = World::new(&tls_server(|_| {}));
    let mut client = world.connect(0);
    client.send(b"");
    world.settle();
    world.drain(10_000, false);
    world.settle();
    client.ask("/echo");
    world.exchange(&mut client);
    world.pass(500);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(503));
}

#[test]
fn an_end_without_its_notice_is_counted_and_one_with_it_is_answered_with_one() {
    for is_cut in [false, true] {
        let tls = TlsSetup { is_cut, ..TlsSetup::default() };
        let mut world = World::new(&Setup { tls: Some(tls), ..Setup::default() });
        let mut client = open(&mut world);
        client.send_frame(TEXT, b"hello");
        client.shutdown();
        world.exchange(&mut client);
        client.assert_received(&["hello"]);
        assert!(client.ended_well());
        assert_eq!(world.counter("tls_truncated"), u64::from(is_cut));
    }
}

#[test]
fn keys_are_updated_on_both_sides_under_load() {
    let mut world = World::new(&tls_server(|_| {}));
    let mut client = open(&mut world);
    for _ in 0..100 {
        client.tls().unwrap().borrow_mut().update_keys();
        client.send_frame(BINARY, &[7; 5_000]);
        world.exchange(&mut client);
    }
    client.assert_received(&[[7; 5_000]; 100]);
    assert_eq!(world.counter("tls_key_updates"), 100);
}

/// A client that is open, and the sealed bytes of a frame of this length that it does not send.
fn with_sealed_frame(world: &mut World, payload_bytes: usize) -> (Client, Vec<u8>) {
    let client = open(world);
    let sealed = {
        let mut tls = client.tls().unwrap().borrow_mut();
        tls.write(&frame(BINARY, &vec![1; payload_bytes]));
        tls.take_sealed()
    };
    (client, sealed)
}

#[test]
fn a_record_that_has_come_in_part_is_to_be_finished_in_time() {
    let settings = ServerSettings::default().connections;
    let (grace_ms, rate) = (settings.message_grace_ms, settings.message_bytes_per_s_min);
    for (payload_bytes, arrived) in [(100, 3), (100, 90), (16_000, 12_000)] {
        let mut world = World::new(&tls_server(|server| {
            // Nothing else ends it before.
            server.connections.ping_idle_ms = 1_000_000;
        }));
        let (mut client, sealed) = with_sealed_frame(&mut world, payload_bytes);
        client.connection.send(&sealed[..arrived]);
        let expected_ms = grace_ms + (arrived * 1_000 / rate) as u64;
        world.pass(expected_ms - 1_000);
        world.exchange(&mut client);
        assert_eq!(client.received.close_code(), None, "{arrived}");
        world.pass(1_000 + LATE_MS);
        world.exchange(&mut client);
        assert_eq!(client.received.close_code(), Some(1008), "{arrived}");
        assert_eq!(world.counter("closed_unfinished"), 1);
        world.pass(30_000);
        assert_eq!(world.counter("pool_bytes_now"), 0);
    }
}

#[test]
fn a_record_that_is_finished_in_time_is_opened() {
    let mut world = World::new(&tls_server(|_| {}));
    let (mut client, sealed) = with_sealed_frame(&mut world, 100);
    client.connection.send(&sealed[..90]);
    world.pass(ServerSettings::default().connections.message_grace_ms - 8_000);
    client.connection.send(&sealed[90..]);
    world.exchange(&mut client);
    client.assert_received(&[[1; 100]]);
}

/// Its 503 waits for the end of a handshake that never begins.
#[test]
fn a_client_over_the_limit_that_says_nothing_goes_before_a_stalled_reader_would() {
    let stall_ms = 600_000;
    let mut world = World::new(&tls_server(|server| {
        server.connections_max = 1;
        server.connections.write_stall_ms = stall_ms;
    }));
    let _first = open(&mut world);
    let silent = world.connect(0);
    let settings = ServerSettings::default().connections;
    world.pass(settings.refuse_ms + settings.close_ms + 2 * LATE_MS);
    assert!(silent.is_gone());
}

/// Records that have come in part count as what their clients hold.
#[test]
fn a_pool_full_of_parts_of_records_is_emptied_of_its_largest_holders() {
    let mut world = World::new(&tls_server(|server| server.pool_bytes_max = 2 << 20));
    let mut innocent = open(&mut world);
    let mut hoarders = Vec::new();
    for _ in 0..120 {
        let (client, sealed) = with_sealed_frame(&mut world, 16_000);
        client.connection.send(&sealed[..sealed.len() - 1]);
        world.settle();
        hoarders.push(client);
    }
    for round in 0..3 {
        innocent.send_frame(BINARY, &[7; 3_000]);
        world.exchange(&mut innocent);
        assert_eq!(innocent.payloads().len(), round + 1);
    }
    assert!(world.counter("closed_evicted") > 0);
    assert_eq!(innocent.received.close_code(), None);
}
