//! Requests that are decided later, on another loop: the connection waits with nothing but its
//! request, what it sends meanwhile is not lost, and whoever leaves is forgotten.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::{TEXT, frame, upgrade_request};
use crate::world::World;

/// Two loops; the second decides.
fn world() -> World {
    World::new(&server(|server| server.loops = 2))
}

/// A client that waits for a decision, on the first loop.
fn waiting(world: &mut World) -> Client {
    let client = world.connect(0);
    client.ask("/gate?later");
    world.settle();
    client
}

/// Lets everybody in who waits.
fn decide_all(world: &mut World) {
    let decider = world.open(1, "/gate?yes");
    decider.say(TEXT, b"decide");
    world.settle();
    decider.say_close(1000);
    world.settle();
}

#[test]
fn a_decision_from_another_loop_lets_in_or_turns_away() {
    let mut world = world();
    for loop_index in [0, 1] {
        let welcome = world.open(loop_index, "/gate?yes");
        welcome.say(TEXT, b"thanks");
        let mut refused = world.connect(loop_index);
        refused.ask("/gate?no");
        world.settle();
        refused.read_all();
        assert_eq!(refused.heard.status, Some(403));
        assert!(refused.ended_well());
    }
    assert_eq!(world.counter("refused_by_service"), 2);
}

#[test]
fn what_is_sent_while_waiting_is_answered_afterwards() {
    let mut world = world();
    let mut client = world.connect(0);
    let mut bytes = upgrade_request("/gate?later");
    bytes.extend(frame(TEXT, b"with the request"));
    client.send(&bytes);
    world.settle();
    client.say(TEXT, b"meanwhile");
    client.say(TEXT, &[b'x'; 100_000]);
    world.pass(1_000);
    assert_eq!(client.read_all(), 0, "nothing is answered before the decision");
    decide_all(&mut world);
    world.exchange(&mut client);
    assert_eq!(client.heard.status, Some(101));
    let big = [b'x'; 100_000];
    client.assert_heard(&[&b"with the request"[..], b"meanwhile", &big]);
}

#[test]
fn whoever_leaves_while_waiting_is_cancelled_and_the_late_answer_dropped() {
    let mut world = world();
    let leaver = waiting(&mut world);
    let breaker = waiting(&mut world);
    leaver.connection.shutdown();
    breaker.connection.reset();
    world.pass(100);
    assert!(leaver.is_gone() && breaker.is_gone());
    assert_eq!(world.journal.entries().cancelled.len(), 2);
    // Their slots go to others, whom the late answers must not reach.
    let mut others = [waiting(&mut world), waiting(&mut world)];
    let ignored = world.counter("effects_ignored");
    decide_all(&mut world);
    assert_eq!(world.counter("effects_ignored") - ignored, 2);
    for other in &mut others {
        world.exchange(other);
        assert_eq!(other.heard.status, Some(101));
    }
}

#[test]
fn the_deadline_of_the_handshake_ends_the_wait() {
    let mut world = world();
    let client = waiting(&mut world);
    world.pass(5_000 - 100);
    assert!(!client.is_gone());
    world.pass(100 + LATE_MS);
    assert!(client.is_gone());
    assert_eq!(world.counter("handshakes_timed_out"), 1);
    assert_eq!(world.journal.entries().cancelled.len(), 1);
}

#[test]
fn a_drain_turns_away_who_still_waits() {
    let mut world = world();
    let mut client = waiting(&mut world);
    world.drain(20_000, true);
    world.pass(100);
    client.read_all();
    assert_eq!(client.heard.status, Some(503));
    assert_eq!(world.journal.entries().cancelled.len(), 1);
    client.connection.shutdown();
    world.pass(100);
    assert!(world.server.has_finished());
}

#[test]
fn a_chain_of_decisions_does_not_grow_the_stack() {
    const COUNT: usize = 2_000;
    let mut world = World::new(&server(|server| {
        server.connections_max = COUNT + 1;
        server.connections.half_open_max = COUNT + 1;
    }));
    // Everyone's first message lets the next one in.
    let request = [upgrade_request("/gate?later"), frame(TEXT, b"decide one")].concat();
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let client = world.connect(0);
        client.send(&request);
        world.settle();
        clients.push(client);
    }
    let first = world.open(0, "/gate?yes");
    first.say(TEXT, b"decide one");
    world.settle();
    for client in &mut clients {
        client.read_all();
        assert_eq!(client.heard.status, Some(101));
    }
}
