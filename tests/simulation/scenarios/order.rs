//! Readiness events that arrive late, out of order, or for a closed connection.

use tidegate::sim::Faults;

use super::server;
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::World;

#[test]
fn stale_events_for_reused_slots_are_harmless() {
    let mut setup = server(|server| server.connections.half_open_max = 1);
    setup.faults = Faults { partial_waits: 80, spurious: 80, stale: 100, ..Faults::default() };
    let mut world = World::new(&setup);
    let mut steady: Vec<Client> = (0..4).map(|_| world.open(0, "/relay")).collect();
    for round in 0..200 {
        // Another client has the latest closed while the latest's own bytes are under way.
        let mut latest = world.connect(0);
        latest.ask("/relay");
        world.settle();
        latest.send_frame(TEXT, b"cast 2");
        steady[3].send_frame(TEXT, b"close");
        latest.send_frame(TEXT, b"cast 2");
        world.exchange(&mut latest);
        assert_eq!(latest.received.close_code(), Some(4000), "round {round}");
        latest.connection.reset();
        // The next connection takes the slot before the event of this one arrives.
    }
    assert!(world.counter("events_stale") > 100, "{}", world.counter("events_stale"));
    for client in &mut steady {
        world.exchange(client);
        assert!(!client.is_gone() && client.received.close().is_none());
    }
}

#[test]
fn late_and_reordered_events_lose_no_message() {
    let mut setup = server(|server| server.loops = 2);
    setup.faults = Faults {
        interrupted: 20,
        partial_waits: 100,
        short_writes: 60,
        spurious: 50,
        ..Faults::default()
    };
    let mut world = World::new(&setup);
    let mut clients: Vec<Client> = (0..30).map(|serial| world.open(serial % 2, "/echo")).collect();
    let payloads: Vec<Vec<u8>> = (0..50_u8).map(|serial| vec![b'a' + serial % 26; 500]).collect();
    for payload in &payloads {
        for client in &clients {
            client.send_frame(TEXT, payload);
        }
        world.server.step().unwrap();
    }
    for client in &mut clients {
        world.exchange(client);
        client.assert_received(&payloads);
    }
}
