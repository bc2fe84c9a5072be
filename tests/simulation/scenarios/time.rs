//! Clocks that jump: the monotonic one when the machine slept, the wall clock when it was set.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::{PONG, TEXT};
use crate::world::World;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Waits until all clients have been pinged.
fn wait_for_pings(world: &mut World, clients: &mut [Client]) {
    for _ in 0..300 {
        world.pass(100);
        clients.iter_mut().for_each(|client| {
            client.read_all();
        });
        if clients.iter().all(|client| client.received.pings > 0) {
            return;
        }
    }
    panic!("not all are pinged");
}

#[test]
fn after_a_jump_of_a_minute_only_those_are_idle_who_have_not_answered() {
    for (seed, partial_waits) in [(1, 0), (2, 50), (3, 100)] {
        let mut setup = server(|server| {
            server.loops = 2;
            server.connections.pong_ms = 30_000;
        });
        setup.seed = seed;
        setup.faults.partial_waits = partial_waits;
        let mut world = World::new(&setup);
        let mut clients: Vec<Client> =
            (0..60).map(|serial| world.open(serial % 2, "/echo")).collect();
        wait_for_pings(&mut world, &mut clients);
        // Every second one answers, and the machine falls asleep before anybody reads it.
        clients.iter().step_by(2).for_each(|client| client.send_frame(PONG, b""));
        world.jump(60_000);
        for (number, client) in clients.iter().enumerate() {
            let has_answered = number % 2 == 0;
            assert_eq!(client.is_gone(), !has_answered, "client {number}, seed {seed}");
        }
        assert_eq!(world.counter("closed_idle"), 30);
        assert_eq!(world.counter("pongs_in"), 30);
    }
}

#[test]
fn services_see_what_arrived_before_their_timers_do() {
    let mut setup = server(|_| {});
    setup.has_add = true;
    // Each wait gives a part of the events.
    setup.faults.partial_waits = 100;
    let mut world = World::new(&setup);
    let mut clients: Vec<Client> = (0..40).map(|_| world.open(0, "/add")).collect();
    world.pass(1_000);
    for client in &clients {
        client.send_frame(TEXT, br#"{"A":1,"B":2}"#);
    }
    // The service closes clients that were silent for 30 s, and looks every second.
    world.jump(60_000);
    for client in &mut clients {
        client.read_all();
        assert_eq!(client.received.close_code(), None);
        client.assert_received(&[br#"{"Sum":3}"#]);
    }
    world.pass(31_000);
    clients.iter_mut().for_each(|client| {
        client.read_all();
    });
    assert!(clients.iter().all(|client| client.received.close_code() == Some(1008)));
}

/// As a process that is stopped and continued: its wait ends with EINTR (signal(7)).
#[test]
fn services_see_what_arrived_while_the_process_was_stopped_before_their_timers_do() {
    let mut setup = server(|_| {});
    setup.has_add = true;
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/add");
    world.pass(1_000);
    client.send_frame(TEXT, br#"{"A":1,"B":2}"#);
    world.network.interrupt_wait(0);
    world.jump(60_000);
    client.read_all();
    assert_eq!(client.received.close_code(), None);
    client.assert_received(&[br#"{"Sum":3}"#]);
}

#[test]
fn deadlines_that_passed_are_acted_upon_at_once_after_a_jump() {
    let mut world = World::calm();
    let halfway = world.connect(0);
    halfway.send(b"GET /echo HTTP/1.1\r\n");
    let mut silent = [world.open(0, "/echo")];
    wait_for_pings(&mut world, &mut silent);
    assert!(halfway.is_gone());
    let late = world.connect(0);
    late.send(b"GET /echo HTTP/1.1\r\n");
    world.settle();
    world.jump(60_000);
    assert!(silent[0].is_gone() && late.is_gone());
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing_that_lasts() {
    // When each of these clients is pinged and dropped, and the counters at the end.
    let run = |jumps: &[i64]| {
        let mut world = World::new(&server(|server| server.loops = 2));
        let mut clients: Vec<Client> =
            (0..10).map(|serial| world.open(serial % 2, "/echo")).collect();
        let mut seen = Vec::new();
        for step in 0..1_000_usize {
            if let Some(jump) = jumps.get(step % 50) {
                world.set_wall(*jump);
            }
            world.pass(50);
            for (number, client) in clients.iter_mut().enumerate() {
                client.read_all();
                // Every second one answers.
                if client.received.pings > 0 && number % 2 == 0 {
                    client.send_frame(PONG, b"");
                    client.received.pings = 0;
                    seen.push((step, number, "answers"));
                }
                if client.is_gone() {
                    seen.push((step, number, "is gone"));
                }
            }
        }
        (seen, world.counter("closed_idle"), world.counter("pings_out"), world.counter("turns"))
    };
    let undisturbed = run(&[]);
    assert_eq!(undisturbed.1, 5);
    for jumps in [[DAY_MS, -DAY_MS], [-DAY_MS, DAY_MS], [DAY_MS, 0], [-DAY_MS, 0]] {
        assert!(run(&jumps) == undisturbed, "{jumps:?}");
    }
}

#[test]
fn a_loop_in_time_does_not_put_deadlines_off() {
    let mut world = World::calm();
    let mut silent = [world.open(0, "/echo")];
    wait_for_pings(&mut world, &mut silent);
    world.pass(8_000 + LATE_MS);
    assert!(silent[0].is_gone());
}

#[test]
fn replies_bear_the_date_of_the_wall_clock() {
    let mut world = World::calm();
    let date = |world: &mut World, path: &str| {
        let mut client = world.connect(0);
        client.ask(path);
        world.exchange(&mut client);
        client.received.header("Date").unwrap().to_owned()
    };
    world.pass(8_000);
    assert_eq!(date(&mut world, "/echo"), "Thu, 01 Jan 2026 00:00:08 GMT");
    assert_eq!(date(&mut world, "/nowhere"), "Thu, 01 Jan 2026 00:00:08 GMT");
    world.pass(1_000);
    assert_eq!(date(&mut world, "/echo"), "Thu, 01 Jan 2026 00:00:09 GMT");
    // A clock that is set is followed within a second.
    world.set_wall(-10 * DAY_MS);
    world.pass(1_000);
    assert_eq!(date(&mut world, "/echo"), "Mon, 22 Dec 2025 00:00:10 GMT");
}

#[test]
fn a_loop_that_is_not_run_while_it_reads_the_date_is_not_ahead_of_others() {
    let mut world = World::calm();
    let mut client = world.connect(0);
    world.settle();
    world.skip(2_900);
    world.stall(800);
    client.ask("/echo");
    world.exchange(&mut client);
    assert_eq!(client.received.header("Date"), Some("Thu, 01 Jan 2026 00:00:02 GMT"));
}

#[test]
fn a_turn_that_comes_late_shows_in_the_lag_of_its_loop() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let lag = |world: &World| {
        let own = &world.server.metrics()[0].lag;
        (own.sum_us(), own.buckets().last().unwrap().count)
    };
    world.pass(20_000);
    client.read_all();
    let (before, long) = lag(&world);
    assert!(before < 1_000_000 && long == 0, "in time, though the clock went on: {before} us");
    client.send_frame(TEXT, b"an event comes sooner than what is due");
    world.exchange(&mut client);
    assert_eq!(lag(&world), (before, 0));
    // The next ping is due within 25 s.
    world.jump(60_000);
    let (after, long) = lag(&world);
    assert_eq!(long, 1);
    assert!((34_000_000..=60_000_000).contains(&(after - before)), "{after}");
}
