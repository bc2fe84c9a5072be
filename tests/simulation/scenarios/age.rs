//! The maximum age of connections.

use std::sync::Arc;

use tidegate::mail::Reply;
use tidegate::reactor::LoopCommand;

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::{Setup, World};

/// The age of the tests. Those connections go between 8,900 and 11,000 ms after they came.
const AGE_MS: u64 = 10_000;

fn aging(ping_idle_ms: u64) -> Setup {
    server(|server| {
        server.loops = 2;
        server.connections_max = 10_000;
        server.connections.half_open_max = 10_000;
        server.connections.age_ms = AGE_MS;
        server.connections.ping_idle_ms = ping_idle_ms;
    })
}

fn closed_with_1001(clients: &mut [Client]) -> usize {
    for client in &mut *clients {
        client.read_all();
    }
    clients.iter().filter(|client| client.received.close_code() == Some(1001)).count()
}

#[test]
fn connections_that_came_together_go_at_their_age_one_by_one() {
    let mut world = World::new(&aging(25_000));
    let mut clients: Vec<Client> = (0..200).map(|serial| world.open(serial % 2, "/echo")).collect();
    world.pass(8_700);
    assert_eq!(closed_with_1001(&mut clients), 0);
    let mut before = 0;
    let mut most = 0;
    for _ in 0..26 {
        world.pass(100);
        let closed = closed_with_1001(&mut clients);
        most = most.max(closed - before);
        before = closed;
    }
    assert_eq!(before, 200);
    assert!(most < 40, "{most} within a tenth of a second");
    assert!(clients.iter().all(Client::ended_well));
    assert_eq!(world.counter("closed_aged"), 200);
}

#[test]
fn a_busy_connection_goes_as_well_and_gets_its_replies_before() {
    let mut world = World::new(&aging(1_000));
    let mut client = world.open(0, "/echo");
    let mut sent = Vec::new();
    while client.received.close_code().is_none() {
        client.send_frame(TEXT, b"still here");
        sent.push(b"still here");
        world.pass(100);
        client.read_all();
        assert!(sent.len() < 120, "too late");
    }
    assert!(sent.len() >= 88, "too early");
    assert_eq!(client.received.close_code(), Some(1001));
    assert!(client.ended_well());
}

#[test]
fn without_an_age_a_connection_stays() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    for _ in 0..100 {
        world.pass(20_000);
        client.send_frame(TEXT, b"still here");
        world.exchange(&mut client);
    }
    assert_eq!((client.received.close_code(), world.counter("closed_aged")), (None, 0));
}

#[test]
fn an_age_that_is_set_later_counts_from_then_on() {
    let mut setup = aging(60_000);
    setup.server.connections.age_ms = 0;
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    world.pass(50_000);
    setup.server.connections.age_ms = AGE_MS;
    for index in 0..setup.server.loops {
        let (reply, _) = Reply::channel();
        let settings = Arc::new(setup.server.connections.clone());
        world.server.command(index, LoopCommand::SetSettings { settings, reply });
    }
    world.pass(8_700);
    client.read_all();
    assert_eq!(client.received.close_code(), None);
    world.pass(2_300 + LATE_MS);
    client.read_all();
    assert_eq!(client.received.close_code(), Some(1001));
}
