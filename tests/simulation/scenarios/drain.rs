//! Drain: which connections are refused or closed, at which pace, and when the server has finished.

use tidegate::reactor::{DrainPoint, DrainTerms, QueuePolicy};

use super::mail::home_of_broadcast;
use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::{Setup, World};

fn open_clients(world: &mut World, count: usize, loops: usize) -> Vec<Client> {
    (0..count).map(|serial| world.open(serial % loops, "/echo")).collect()
}

fn roomy(loops: usize) -> Setup {
    server(|server| {
        server.loops = loops;
        server.connections_max = 10_000;
        server.connections.half_open_max = 10_000;
    })
}

fn closed_with_1001(clients: &mut [Client]) -> usize {
    for client in &mut *clients {
        client.read_all();
    }
    clients.iter().filter(|client| client.received.close_code() == Some(1001)).count()
}

#[test]
fn the_accept_queue_is_emptied_with_503_before_the_listener_closes() {
    let mut world = World::calm();
    let _inside = world.open(0, "/echo");
    let mut queued: Vec<Client> = (0..150).map(|_| world.connect(0)).collect();
    for client in &queued[..100] {
        client.ask("/echo");
    }
    world.drain(20_000, true);
    world.settle();
    assert!(world.network.connect(0, 0).is_none(), "the listener is closed");
    world.pass(100 + LATE_MS);
    for client in &mut queued {
        client.read_all();
        assert_eq!(client.received.status, Some(503));
        assert!(client.ended_well() && client.received.header("Retry-After").is_some());
    }
    assert_eq!(world.counter("refused_draining"), 150, "none for a limit");
}

#[test]
fn half_open_connections_are_answered_with_503() {
    let mut world = World::calm();
    let mut asking = world.connect(0);
    asking.send(b"GET /echo HTTP/1.1\r\n");
    world.settle();
    world.drain(20_000, true);
    world.pass(100);
    asking.read_all();
    assert_eq!(asking.received.status, Some(503));
}

#[test]
fn a_thousand_connections_of_a_loop_are_closed_at_500_a_second() {
    let mut world = World::new(&roomy(1));
    let mut clients = open_clients(&mut world, 1_000, 1);
    world.drain(20_000, true);
    for tenth in 1..=20 {
        world.pass(100);
        let closed = closed_with_1001(&mut clients);
        let expected = tenth * 50..=tenth * 50 + 10;
        assert!(expected.contains(&closed), "{closed} after {tenth} tenths");
    }
    assert_eq!(closed_with_1001(&mut clients), 1_000);
    assert!(clients.iter().all(Client::ended_well));
}

#[test]
fn all_are_closed_within_seventy_percent_of_drain_ms() {
    let mut world = World::new(&roomy(2));
    let mut clients = open_clients(&mut world, 2_000, 2);
    world.drain(1_000, true);
    world.pass(350);
    let at_half = closed_with_1001(&mut clients);
    assert!((900..1_100).contains(&at_half), "{at_half}");
    world.pass(350);
    assert_eq!(closed_with_1001(&mut clients), 2_000);
}

#[test]
fn without_pace_all_are_closed_at_once() {
    let mut world = World::new(&roomy(2));
    let mut clients = open_clients(&mut world, 1_000, 2);
    world.drain(20_000, false);
    world.settle();
    assert_eq!(closed_with_1001(&mut clients), 1_000);
}

#[test]
fn a_second_command_without_pace_closes_the_rest_at_once() {
    let mut world = World::new(&roomy(1));
    let mut clients = open_clients(&mut world, 1_000, 1);
    world.drain(20_000, true);
    world.pass(200);
    assert!(closed_with_1001(&mut clients) < 200);
    world.drain(20_000, false);
    world.settle();
    assert_eq!(closed_with_1001(&mut clients), 1_000);
}

#[test]
fn a_drain_finishes_when_the_last_client_has_left() {
    let mut world = World::new(&roomy(2));
    let mut clients = open_clients(&mut world, 50, 2);
    world.drain(20_000, true);
    world.pass(1_000);
    assert_eq!(closed_with_1001(&mut clients), 50);
    let last = clients.pop().unwrap();
    clients.iter().for_each(|client| client.connection.shutdown());
    world.pass(3_000);
    assert!(!world.server.has_finished(), "one is still there");
    last.connection.shutdown();
    world.settle();
    assert!(world.server.has_finished());
    assert_eq!(world.server.connections.available(), 10_000);
    assert_eq!(world.network.descriptors(), 2, "the reserves");
}

#[test]
fn a_drain_without_connections_finishes_at_once() {
    let mut world = World::new(&roomy(3));
    world.drain(20_000, true);
    world.settle();
    assert!(world.server.has_finished());
}

/// Publications go by the home of their topic, which is another loop than that of these clients.
#[test]
fn a_loop_without_connections_serves_the_others_until_they_have_none() {
    let home = home_of_broadcast(2);
    let mut world = World::new(&roomy(2));
    let mut clients: Vec<Client> = (0..10).map(|_| world.open(1 - home, "/broadcast")).collect();
    world.drain_on(DrainTerms { closes_per_s: 1, ..DrainTerms::within_ms(20_000) });
    world.pass(5_000);
    let closed = closed_with_1001(&mut clients);
    assert!((3..=6).contains(&closed), "{closed}");
    let (told, open): (Vec<Client>, Vec<Client>) =
        clients.into_iter().partition(|client| client.received.close_code().is_some());
    told.iter().for_each(|client| client.connection.shutdown());
    let (publisher, mut members) = (&open[0], open[1..].iter());
    publisher.send_frame(TEXT, b"is anybody there?");
    world.settle();
    assert!(
        members.all(|member| member.connection.receive(usize::MAX).ends_with(b"is anybody there?"))
    );
    assert!(world.server.state(home).is_some(), "it is there as long as the others are");
    open.iter().for_each(|client| client.connection.shutdown());
    world.settle();
    assert!(world.server.has_finished(), "at the last of them, and not at the end of the time");
}

#[test]
fn drains_that_follow_each_other_finish_when_the_last_client_has_left() {
    let mut world = World::new(&roomy(3));
    let client = world.open(1, "/echo");
    for _ in 0..2 {
        world.drain(20_000, true);
        world.pass(1_000);
        assert!((0..3).all(|index| world.server.state(index).is_some()));
    }
    client.connection.shutdown();
    world.server.step_loop(1).unwrap();
    for _ in 0..5 {
        world.server.step_loop(0).unwrap();
    }
    assert_eq!(world.server.state(0), None);
    // One that a loop has no part in any more.
    world.drain(20_000, true);
    world.settle();
    assert!(world.server.has_finished());
}

#[test]
fn a_second_drain_that_is_cancelled_does_not_undo_the_first() {
    let mut world = World::new(&roomy(2));
    let client = world.open(0, "/echo");
    world.drain(20_000, true);
    world.pass(1_000);
    let terms = DrainTerms { grace_ms: 1_000, ..DrainTerms::within_ms(20_000) };
    assert!(world.drain_on(terms).cancel(), "before any loop has read of it");
    world.settle();
    assert!(!world.server.has_finished());
    client.connection.shutdown();
    world.settle();
    assert!(world.server.has_finished());
}

#[test]
fn a_drain_finishes_at_drain_ms_though_no_client_leaves_or_reads() {
    let mut setup = roomy(1);
    setup.server.connections.close_ms = 60_000;
    let mut world = World::new(&setup);
    world.network.set_send_buffer_bytes(1_000);
    let clients = open_clients(&mut world, 20, 1);
    for client in &clients[..10] {
        client.send_frame(TEXT, &[b'x'; 50_000]);
    }
    world.drain(5_000, true);
    world.pass(4_999);
    assert!(!world.server.has_finished());
    world.pass(1);
    assert!(world.server.has_finished());
    assert_eq!(world.journal.open_count(), 0, "on_close was called for each");
    assert_eq!(world.server.pool.available(), 64 << 20);
}

#[test]
fn replies_under_way_arrive_before_the_close_frame() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(1_000);
    let mut client = world.open(0, "/echo");
    client.send_frame(TEXT, &[b'x'; 50_000]);
    world.drain(20_000, true);
    world.exchange(&mut client);
    world.pass(100);
    world.exchange(&mut client);
    client.assert_received(&[[b'x'; 50_000]]);
    assert_eq!(client.received.close_code(), Some(1001));
    assert!(client.ended_well());
}

#[test]
fn in_the_grace_connections_are_accepted_and_none_is_closed() {
    let mut world = World::new(&roomy(2));
    let mut early = open_clients(&mut world, 20, 2);
    let progress = world.drain_on(DrainTerms { grace_ms: 3_000, ..DrainTerms::within_ms(5_000) });
    world.pass(2_900);
    let mut late = open_clients(&mut world, 20, 2);
    assert_eq!(closed_with_1001(&mut early) + closed_with_1001(&mut late), 0);
    assert_eq!(progress.point(), DrainPoint::Grace);
    world.pass(1_000);
    assert!(matches!(progress.point(), DrainPoint::Stopped(_)));
    assert_eq!(closed_with_1001(&mut early) + closed_with_1001(&mut late), 40);
    assert_eq!((progress.connections(), progress.told()), (40, 40));
    assert_eq!(world.counter("drain_told"), 40);
    assert!(world.network.connect(0, 0).is_none(), "the listener is closed");
}

#[test]
fn a_drain_that_is_cancelled_in_its_grace_changes_nothing() {
    let mut world = World::new(&roomy(3));
    let mut clients = open_clients(&mut world, 30, 3);
    let terms = DrainTerms { grace_ms: 1_000, ..DrainTerms::within_ms(2_000) };
    let progress = world.drain_on(terms);
    world.pass(900);
    assert!(progress.cancel());
    world.pass(10_000);
    assert_eq!(closed_with_1001(&mut clients), 0);
    let mut new = open_clients(&mut world, 3, 3);
    let progress = world.drain_on(terms);
    world.pass(1_000 + LATE_MS);
    assert!(!progress.cancel(), "too late");
    world.pass(2_000);
    assert_eq!(closed_with_1001(&mut clients) + closed_with_1001(&mut new), 33);
    assert!(world.server.has_finished());
}

#[test]
fn all_loops_together_keep_to_the_closes_per_second() {
    let mut world = World::new(&roomy(3));
    // Unevenly: the pace is of the process, and not of its loops.
    let clients = (0..450).map(|serial| world.open(usize::from(serial % 9 == 0), "/echo"));
    let mut clients: Vec<Client> = clients.collect();
    world.drain_on(DrainTerms { closes_per_s: 100, ..DrainTerms::within_ms(20_000) });
    let mut before = 0;
    for second in 1..=4 {
        world.pass(1_000);
        let closed = closed_with_1001(&mut clients);
        assert!((92..=108).contains(&(closed - before)), "{} in second {second}", closed - before);
        before = closed;
    }
    world.pass(1_000);
    assert_eq!(closed_with_1001(&mut clients), 450);
}

#[test]
fn drain_ms_wins_over_the_closes_per_second() {
    let mut world = World::new(&roomy(2));
    let mut clients = open_clients(&mut world, 1_000, 2);
    world.drain_on(DrainTerms { closes_per_s: 10, ..DrainTerms::within_ms(5_000) });
    world.pass(3_500);
    assert_eq!(closed_with_1001(&mut clients), 1_000);
}

#[test]
fn handshakes_are_finished_where_another_process_takes_the_queue() {
    let mut world = World::new(&roomy(2));
    let mut clients = open_clients(&mut world, 50, 2);
    let mut slow = world.connect(0);
    slow.send(b"GET /echo HTTP/1.1\r\n");
    world.settle();
    let queued = world.connect(1);
    let queue = QueuePolicy::LeaveToOther;
    world.drain_on(DrainTerms { queue, ..DrainTerms::within_ms(5_000) });
    world.pass(1_000);
    assert_eq!(closed_with_1001(&mut clients), 50);
    slow.send(
        b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    world.pass(100);
    slow.read_all();
    assert_eq!((slow.received.status, slow.received.close_code()), (Some(101), Some(1001)));
    assert_eq!(world.counter("refused_draining"), 0);
    assert!(world.network.connect(0, 0).is_none(), "this process holds the listener no more");
    drop(queued);
}
