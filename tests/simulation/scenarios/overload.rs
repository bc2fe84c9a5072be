//! Overload: newcomers get 503, those who are there are served on, and it is over by itself.

use tidegate::reactor::{LoopCommand, OverloadMarks, OverloadSettings, Shortage};

use super::server;
use crate::client::Client;
use crate::wire::{TEXT, frame};
use crate::world::World;

/// A loop with these marks, and with room for two refused connections.
fn world(marks: &OverloadMarks, accepts_per_s: u32) -> World {
    let overload = OverloadSettings { marks: marks.clone(), lag_ms: 100, accepts_per_s };
    World::new(&server(|server| {
        server.refusals_max = 2;
        server.overload = overload;
    }))
}

/// What a newcomer on `/echo` is answered.
fn newcomer(world: &mut World) -> (Client, Option<u16>) {
    let mut client = world.connect(0);
    client.ask("/echo");
    world.settle();
    client.read_all();
    let status = client.received.status;
    (client, status)
}

fn assert_echoes(world: &mut World, client: &mut Client) {
    let before = client.payloads().len();
    client.send_frame(TEXT, b"still here");
    world.exchange(client);
    assert_eq!(client.payloads().len(), before + 1);
}

#[test]
fn newcomers_get_503_while_something_is_short_and_open_connections_go_on() {
    let marks = OverloadMarks::default();
    let mut world = world(&marks, 0);
    let mut open = world.open(0, "/echo");
    for (number, shortage) in (1..).zip(Shortage::ALL) {
        marks.set([shortage]);
        let (refused, status) = newcomer(&mut world);
        assert_eq!(status, Some(503));
        assert_eq!(refused.received.header("Retry-After"), Some("1"));
        refused.shutdown();
        assert_echoes(&mut world, &mut open);
        assert_eq!(world.counter("refused_overloaded"), number);
        marks.set([]);
        let (_admitted, status) = newcomer(&mut world);
        assert_eq!(status, Some(101), "it is over by itself");
    }
    let counts = ["shed_descriptors", "shed_memory", "shed_pool", "refused_at_limit"];
    assert_eq!(counts.map(|name| world.counter(name)), [1, 1, 1, 0]);
}

#[test]
fn newcomers_beyond_those_that_can_be_told_wait_in_the_queue() {
    let marks = OverloadMarks::default();
    let mut world = world(&marks, 0);
    marks.set([Shortage::Memory]);
    // They say nothing, so each is held until `refuse_ms`.
    let mut waiting: Vec<Client> = (0..6).map(|_| world.connect(0)).collect();
    world.settle();
    assert_eq!(world.counter("connections_accepted"), 2);
    for held in [2, 4, 6] {
        world.pass(200);
        assert_eq!(world.counter("connections_accepted"), held);
        for client in &mut waiting {
            if client.read_all() > 0 {
                assert_eq!(client.received.status, Some(503));
                client.shutdown();
            }
        }
    }
    world.pass(100);
    assert_eq!(world.counter("shed_memory"), 6);
    // Two hold all places for refusals when it is over; the next ones are served all the same.
    let held = [world.connect(0), world.connect(0)];
    world.settle();
    let mut next = world.connect(0);
    next.ask("/echo");
    world.settle();
    marks.set([]);
    world.pass(1000);
    next.read_all();
    assert_eq!(next.received.status, Some(101));
    drop(held);
}

#[test]
fn more_than_the_rate_get_503_until_there_is_room_again() {
    let mut world = world(&OverloadMarks::default(), 2);
    let statuses: Vec<_> = (0..3).map(|_| newcomer(&mut world).1).collect();
    assert_eq!(statuses, [Some(101), Some(101), Some(503)]);
    assert_eq!(world.counter("shed_rate"), 1);
    world.pass(1000);
    assert_eq!(newcomer(&mut world).1, Some(101));
}

#[test]
fn a_loop_that_is_behind_refuses_newcomers_for_a_second() {
    let mut world = world(&OverloadMarks::default(), 0);
    let mut open = world.open(0, "/echo");
    // The ping of this connection is due, and nothing ran for long.
    world.skip(40_000);
    assert_echoes(&mut world, &mut open);
    assert_eq!(newcomer(&mut world).1, Some(503));
    assert_eq!(world.counter("shed_lag"), 1);
    world.pass(1000);
    assert_eq!(newcomer(&mut world).1, Some(101));
}

#[test]
fn the_heaviest_are_closed_first_when_memory_is_nearly_used_up() {
    let mut world = world(&OverloadMarks::default(), 0);
    let mut light = world.open(0, "/echo");
    let mut heavy = world.open(0, "/echo");
    let mut heavier = world.open(0, "/echo");
    // The beginnings of messages.
    for (client, bytes) in [(&heavy, 20_000), (&heavier, 70_000)] {
        let mut part = frame(TEXT, &vec![b'a'; 2 * bytes]);
        part.truncate(bytes);
        client.send(&part);
    }
    world.settle();
    for (number, client) in (1..).zip([&mut heavier, &mut heavy]) {
        world.server.command(0, LoopCommand::Relieve { count: 1 });
        world.settle();
        assert_eq!(world.counter("closed_evicted"), number);
        client.read_all();
        // 1013, try again later.
        let close = client.received.close().expect("a close frame");
        assert_eq!(close.payload.get(..2), Some(&[0x03, 0xF5][..]));
    }
    world.server.command(0, LoopCommand::Relieve { count: 16 });
    world.settle();
    assert_eq!(world.counter("closed_evicted"), 2, "others hold nothing worth it");
    assert_echoes(&mut world, &mut light);
}
