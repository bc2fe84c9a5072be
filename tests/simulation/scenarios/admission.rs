//! Deferred admission, decided on another loop: what a client sends meanwhile is not lost, and a
//! client that leaves is cancelled.

use tidegate::http::HostRule;

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

/// Accepts all clients that wait.
fn decide_all(world: &mut World) {
    let decider = world.open(1, "/gate?yes");
    decider.send_frame(TEXT, b"decide");
    world.settle();
    decider.send_close(1000);
    world.settle();
}

#[test]
fn a_decision_from_another_loop_accepts_or_refuses() {
    let mut world = world();
    for loop_index in [0, 1] {
        let welcome = world.open(loop_index, "/gate?yes");
        welcome.send_frame(TEXT, b"thanks");
        let mut refused = world.connect(loop_index);
        refused.ask("/gate?no");
        world.settle();
        refused.read_all();
        assert_eq!(refused.received.status, Some(403));
        assert!(refused.ended_well());
    }
    assert_eq!(world.counter("refused_by_service"), 2);
}

/// The slot that names the listener until the request is answered names the route from then on.
#[test]
fn a_request_is_held_to_the_hosts_of_its_listener_before_the_decision_only() {
    let listed = HostRule::List(vec!["sim.example".to_owned()]);
    let mut hosts = vec![HostRule::List(Vec::new()); 256];
    hosts[0] = listed;
    let mut world = World::new(&server(|server| {
        server.loops = 2;
        server.connections.hosts = hosts;
    }));
    let mut client = waiting(&mut world);
    let mut stranger = world.connect(0);
    let request = String::from_utf8(upgrade_request("/gate?later")).unwrap();
    stranger.send(request.replace("sim.example", "other.example").as_bytes());
    world.settle();
    stranger.read_all();
    assert_eq!(stranger.received.status, Some(421));
    decide_all(&mut world);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    assert_eq!(world.counter("refused_host"), 1);
}

#[test]
fn messages_sent_before_the_decision_are_answered_after_it() {
    let mut world = world();
    let mut client = world.connect(0);
    let mut bytes = upgrade_request("/gate?later");
    bytes.extend(frame(TEXT, b"with the request"));
    client.send(&bytes);
    world.settle();
    client.send_frame(TEXT, b"meanwhile");
    client.send_frame(TEXT, &[b'x'; 100_000]);
    world.pass(1_000);
    assert_eq!(client.read_all(), 0, "nothing is answered before the decision");
    decide_all(&mut world);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    let big = [b'x'; 100_000];
    client.assert_received(&[&b"with the request"[..], b"meanwhile", &big]);
}

#[test]
fn a_client_that_leaves_is_cancelled_and_the_late_decision_is_ignored() {
    let mut world = world();
    let leaver = waiting(&mut world);
    let breaker = waiting(&mut world);
    leaver.connection.shutdown();
    breaker.connection.reset();
    world.pass(100);
    assert!(leaver.is_gone() && breaker.is_gone());
    assert_eq!(world.journal.entries().cancelled.len(), 2);
    // Other clients take their slots, and the late decisions must not reach those.
    let mut others = [waiting(&mut world), waiting(&mut world)];
    let ignored = world.counter("effects_ignored");
    decide_all(&mut world);
    assert_eq!(world.counter("effects_ignored") - ignored, 2);
    for other in &mut others {
        world.exchange(other);
        assert_eq!(other.received.status, Some(101));
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
fn a_drain_refuses_clients_that_still_wait() {
    let mut world = world();
    let mut client = waiting(&mut world);
    world.drain(20_000, true);
    world.pass(100);
    client.read_all();
    assert_eq!(client.received.status, Some(503));
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
    // The first message of each client has the next one accepted.
    let request = [upgrade_request("/gate?later"), frame(TEXT, b"decide one")].concat();
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let client = world.connect(0);
        client.send(&request);
        world.settle();
        clients.push(client);
    }
    let first = world.open(0, "/gate?yes");
    first.send_frame(TEXT, b"decide one");
    world.settle();
    for client in &mut clients {
        client.read_all();
        assert_eq!(client.received.status, Some(101));
    }
}
