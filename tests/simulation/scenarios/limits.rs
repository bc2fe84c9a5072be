//! The limits on connections and descriptors.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::{Setup, World};

/// A server at its limit of 8 connections, which answers up to 2 more with 503 at a time.
fn full() -> (World, Vec<Client>) {
    let mut world = World::new(&server(|server| {
        server.connections_max = 8;
        server.refusals_max = 2;
    }));
    let clients = (0..8).map(|_| world.open(0, "/echo")).collect();
    (world, clients)
}

fn is_refused(client: &Client) -> bool {
    client.received.status == Some(503) && client.received.header("Retry-After").is_some()
}

/// Reads, and closes after the server has.
fn read_and_leave(client: &mut Client) {
    client.read_all();
    if client.connection.has_ended() {
        client.connection.shutdown();
    }
}

#[test]
fn at_connections_max_a_request_is_answered_503() {
    let (mut world, mut inside) = full();
    let mut outside = world.connect(0);
    outside.ask("/echo");
    world.exchange(&mut outside);
    assert!(is_refused(&outside) && outside.ended_well());
    assert_eq!(world.counter("refused_at_limit"), 1);
    inside[3].send_frame(TEXT, b"still served");
    world.exchange(&mut inside[3]);
    inside[3].assert_received(&[b"still served"]);
}

#[test]
fn all_of_connections_max_is_used_whichever_loop_accepts() {
    let mut world = World::new(&server(|server| {
        server.loops = 3;
        server.connections_max = 8;
    }));
    // The first two loops have polled their accept queues more often than they have connections.
    let mut inside: Vec<Client> = [0, 1, 1].iter().map(|at| world.open(*at, "/echo")).collect();
    inside.extend((0..5).map(|_| world.open(2, "/echo")));
    let mut outside = world.connect(0);
    outside.ask("/echo");
    world.exchange(&mut outside);
    assert!(is_refused(&outside));
}

#[test]
fn at_connections_max_a_silent_client_is_answered_503_after_refuse_ms() {
    let (mut world, _inside) = full();
    let mut outside = world.connect(0);
    world.pass(99);
    assert_eq!(outside.read_all(), 0);
    world.pass(1 + LATE_MS);
    outside.read_all();
    assert!(is_refused(&outside) && outside.ended_well());
}

#[test]
fn connections_beyond_refusals_max_wait_in_the_accept_queue_and_are_refused_later() {
    let (mut world, _inside) = full();
    let mut outside: Vec<Client> = (0..9).map(|_| world.connect(0)).collect();
    world.settle();
    assert_eq!(world.server.connection_count(), 8 + 2);
    let mut rounds = 0;
    while outside.iter().any(|client| !is_refused(client)) {
        world.pass(100 + LATE_MS);
        outside.iter_mut().for_each(read_and_leave);
        rounds += 1;
        assert!(rounds <= 6, "2 per round, 9 in all");
        assert!(world.server.connection_count() <= 8 + 2);
    }
    world.settle();
    assert_eq!(world.server.connection_count(), 8);
}

#[test]
fn a_slot_that_becomes_free_on_another_loop_is_used_at_once() {
    let mut world = World::new(&server(|server| {
        server.loops = 2;
        server.connections_max = 8;
        server.refusals_max = 2;
    }));
    let mut inside: Vec<Client> = (0..8).map(|_| world.open(0, "/echo")).collect();
    // Two are being refused, the others stay in the accept queue of the second loop.
    let mut waiting: Vec<Client> = (0..4).map(|_| world.connect(1)).collect();
    world.settle();
    for served in 1..=2 {
        let leaving = inside.pop().unwrap();
        leaving.connection.shutdown();
        // The clock stands still, so only the release can wake the second loop.
        world.settle();
        assert_eq!(world.counter("connections_accepted"), 8 + 2 + served);
    }
    for client in &mut waiting[2..] {
        client.ask("/echo");
        world.exchange(client);
        assert_eq!(client.received.status, Some(101));
    }
}

#[test]
fn a_slot_that_becomes_free_is_used() {
    let (mut world, mut inside) = full();
    let waiting: Vec<Client> = (0..3).map(|_| world.connect(0)).collect();
    world.settle();
    let leaving = inside.pop().unwrap();
    leaving.connection.shutdown();
    world.settle();
    assert!(leaving.is_gone());
    // Two are being refused; the third was still in the accept queue and gets the slot.
    for mut client in waiting {
        client.ask("/echo");
        world.exchange(&mut client);
        let status = client.received.status;
        inside.push(client);
        if status == Some(101) {
            assert_eq!(inside.len(), 8 + 2);
            return;
        }
    }
    panic!("the slot was not used");
}

#[test]
fn without_descriptors_existing_connections_go_on_and_no_loop_spins() {
    let mut world = World::calm();
    let mut inside: Vec<Client> = (0..4).map(|_| world.open(0, "/echo")).collect();
    world.network.set_descriptors_max(world.network.descriptors());
    let outside: Vec<Client> = (0..500).map(|_| world.connect(0)).collect();
    let (turns, waits) = (world.counter("turns"), world.network.waits());
    for round in 1..=10 {
        world.pass(1_000);
        for client in &mut inside {
            client.send_frame(TEXT, b"on and on");
            world.exchange(client);
            assert_eq!(client.received.frames.len(), round);
        }
    }
    // One turn for each pause of 50 ms, and those for the messages.
    assert!(world.counter("turns") - turns < 200 + 200, "{}", world.counter("turns") - turns);
    assert!(world.network.waits() - waits < 100, "{}", world.network.waits() - waits);
    let shed = outside.iter().filter(|client| client.is_gone()).count();
    assert!((190..=201).contains(&shed), "one is closed at each pause: {shed}");
    assert_eq!(world.counter("accepts_shed"), shed as u64);
}

#[test]
fn a_waiting_connection_is_accepted_once_another_leaves() {
    let mut world = World::calm();
    let inside: Vec<Client> = (0..4).map(|_| world.open(0, "/echo")).collect();
    world.network.set_descriptors_max(world.network.descriptors());
    let _shed = world.connect(0);
    let mut second = world.connect(0);
    second.ask("/echo");
    world.settle();
    inside[0].connection.shutdown();
    world.settle();
    world.pass(50);
    world.exchange(&mut second);
    assert_eq!(second.received.status, Some(101));
}

#[test]
fn a_reserve_descriptor_that_failed_to_open_at_start_is_opened_by_timer() {
    let mut world = World::new(&Setup { descriptors_max: Some(0), ..Setup::default() });
    world.pass(1_000);
    assert_eq!(world.network.descriptors(), 0);
    world.network.set_descriptors_max(100);
    world.pass(50);
    assert_eq!(world.network.descriptors(), 1, "without a new connection");
}

#[test]
fn a_lost_reserve_descriptor_is_reopened_by_timer() {
    let mut world = World::calm();
    let _inside = world.open(0, "/echo");
    let held = world.network.descriptors();
    assert_eq!(held, 1 + 1, "the connection and the reserve");
    world.network.set_descriptors_max(held - 1);
    let _shed = world.connect(0);
    world.settle();
    assert_eq!(world.network.descriptors(), held - 1, "the reserve is lost");
    let turns = world.counter("turns");
    world.pass(1_000);
    assert!(world.counter("turns") - turns <= 21, "it tries every 50 ms");
    world.network.set_descriptors_max(100);
    world.pass(50);
    assert!(world.network.descriptors() >= held);
    world.pass(10_000);
    let turns = world.counter("turns");
    world.pass(10_000);
    assert!(world.counter("turns") - turns < 20, "the timer has stopped");
}
