//! Events out of order, late, or about the dead.

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
        // The newcomer is closed by its neighbour while its own bytes are under way.
        let mut newcomer = world.connect(0);
        newcomer.ask("/relay");
        world.settle();
        newcomer.say(TEXT, b"cast 2");
        steady[3].say(TEXT, b"close");
        newcomer.say(TEXT, b"cast 2");
        world.exchange(&mut newcomer);
        assert_eq!(newcomer.heard.close_code(), Some(4000), "round {round}");
        newcomer.connection.reset();
        // The next newcomer takes the slot before the event about this one arrives.
    }
    assert!(world.counter("events_stale") > 100, "{}", world.counter("events_stale"));
    for client in &mut steady {
        world.exchange(client);
        assert!(!client.is_gone() && client.heard.close().is_none());
    }
}

#[test]
fn every_event_may_come_late_and_in_any_order() {
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
            client.say(TEXT, payload);
        }
        world.server.step().unwrap();
    }
    for client in &mut clients {
        world.exchange(client);
        client.assert_heard(&payloads);
    }
}
