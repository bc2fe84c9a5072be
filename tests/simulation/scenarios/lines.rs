//! Clients of a line listener: they share services and topics with WebSocket clients and meet the
//! same limits.

use tidegate::sim::{Faults, Random, ServerSettings};

use super::server;
use crate::client::LineClient;
use crate::wire::{BINARY, TEXT};
use crate::world::World;

fn world(route: &'static str, change: fn(&mut ServerSettings)) -> World {
    let mut setup = server(|server| {
        server.loops = 2;
        server.line_route = Some(route);
        change(server);
    });
    setup.message_bytes_max = Some(200);
    World::new(&setup)
}

/// Settles and returns the text received.
fn received(world: &mut World, client: &LineClient) -> String {
    world.settle();
    client.received()
}

#[test]
fn a_line_is_a_message_and_a_message_a_line() {
    let mut world = world("/echo", |_| {});
    let client = world.connect_line(0);
    client.send(b"one\r\ntwo\n\nthr");
    assert_eq!(received(&mut world, &client), "one\ntwo\n\n");
    client.send(b"ee\nf\xC3");
    assert_eq!(received(&mut world, &client), "three\n");
    client.send(b"\xBCnf\n");
    assert_eq!(received(&mut world, &client), "fünf\n");
    assert_eq!(world.counter("line_clients"), 1);
    assert_eq!(world.counter("upgrades"), 0);
}

#[test]
fn lines_and_frames_meet_in_one_topic() {
    let mut world = world("/broadcast", |_| {});
    let mut websocket = world.open(0, "/broadcast");
    let line = world.connect_line(1);
    line.send(b"from a line\n");
    websocket.send_frame(TEXT, b"from\na\r\nframe");
    websocket.send_frame(BINARY, b"\x00\x01");
    world.exchange(&mut websocket);
    let mut lines: Vec<String> = line.received().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["from a frame", "from a line"]);
    assert_eq!(websocket.payloads().len(), 3);
    assert_eq!(world.counter("pushes_dropped"), 1, "binary has no line");
}

#[test]
fn a_long_queue_of_one_listener_delays_no_other() {
    let mut world = world("/echo", |server| server.loops = 1);
    // More than one turn accepts.
    let queued: Vec<_> = (0..100).map(|_| world.connect(0)).collect();
    let line = world.network.connect(0, 1).unwrap();
    assert!(world.server.step_loop(0).unwrap());
    assert_eq!(world.counter("line_clients"), 1);
    assert!(world.counter("connections_accepted") < 101, "one turn accepts fewer");
    world.settle();
    assert_eq!(world.counter("connections_accepted"), 101);
    drop((queued, line));
}

#[test]
fn quit_and_a_fin_end_a_line_connection() {
    let mut world = world("/broadcast", |_| {});
    let listener = world.connect_line(0);
    let quitter = world.connect_line(1);
    let leaver = world.connect_line(1);
    quitter.send(b"bye\nquit\nnever published\n");
    assert_eq!(received(&mut world, &listener), "bye\n");
    assert!(quitter.ended_well());
    leaver.send(b"no line break");
    leaver.connection.shutdown();
    assert_eq!(received(&mut world, &listener), "no line break\n");
    assert!(leaver.connection.is_closed_by_server() && !leaver.connection.was_reset());
    let last = world.connect_line(1);
    last.send(b"quit");
    last.connection.shutdown();
    assert_eq!(received(&mut world, &listener), "", "quit is not published");
    quitter.connection.shutdown();
    world.settle();
    assert_eq!(world.server.connection_count(), 1);
}

#[test]
fn a_bad_line_is_answered_with_one_line_and_the_connection_ends() {
    for (bytes, counter) in
        [(&b"ok\n\xFF\xFE\nlater\n"[..], "closed_not_utf8"), (&[b'a'; 300][..], "closed_too_big")]
    {
        let mut world = world("/echo", |_| {});
        let client = world.connect_line(0);
        client.send(bytes);
        let answer = received(&mut world, &client);
        let answer = answer.strip_prefix("ok\n").unwrap_or(&answer);
        assert_eq!(answer.lines().count(), 1, "{answer}");
        assert!(client.ended_well());
        assert_eq!(world.counter(counter), 1);
    }
}

#[test]
fn a_line_may_be_as_long_as_a_message() {
    let mut world = world("/echo", |_| {});
    let client = world.connect_line(0);
    let line = "a".repeat(200);
    client.send(format!("{line}\r\n").as_bytes());
    assert_eq!(received(&mut world, &client), format!("{line}\n"));
    client.send(format!("{line}a\n").as_bytes());
    assert!(received(&mut world, &client).contains("message"), "names what was wrong");
    assert!(client.ended_well());
}

#[test]
fn an_idle_line_client_is_neither_pinged_nor_closed() {
    let mut world = world("/echo", |_| {});
    let client = world.connect_line(0);
    world.pass(3_600_000);
    assert_eq!(client.received(), "");
    client.send(b"still here\n");
    assert_eq!(received(&mut world, &client), "still here\n");
    assert_eq!(world.counter("pings_out"), 0);
}

#[test]
fn a_line_client_that_reads_nothing_is_closed_as_stalled() {
    let mut world = world("/echo", |_| {});
    world.network.set_send_buffer_bytes(1000);
    let client = world.connect_line(0);
    for _ in 0..100 {
        client.send(format!("{}\n", "x".repeat(100)).as_bytes());
    }
    world.settle();
    world.pass(30_000);
    assert_eq!(world.counter("closed_stalled"), 1);
    world.pass(1_000);
    assert_eq!(world.server.connection_count(), 0);
}

#[test]
fn a_line_client_is_told_of_the_limit_and_of_the_drain_in_a_line() {
    let mut world = world("/echo", |server| server.connections_max = 1);
    let client = world.connect_line(0);
    let refused = world.connect_line(0);
    assert_eq!(refused.received(), "the connection limit is reached, try again later\n");
    assert!(refused.ended_well());
    world.drain(1000, false);
    assert_eq!(received(&mut world, &client), "shutting down\n");
    assert!(client.ended_well());
    client.connection.shutdown();
    refused.connection.shutdown();
    world.settle();
    assert!(world.server.has_finished());
}

#[test]
fn a_service_may_defer_the_admission_of_a_line_client() {
    let mut world = world("/gate", |_| {});
    let client = world.connect_line(0);
    client.send(b"hello\n");
    assert_eq!(received(&mut world, &client), "");
    let decider = world.open(0, "/gate?yes");
    decider.send_frame(TEXT, b"decide");
    assert_eq!(received(&mut world, &client), "hello\n");
    let late = world.connect_line(0);
    world.pass(10_000);
    assert!(late.connection.is_closed_by_server(), "the deadline of the handshake");
}

#[test]
fn every_line_comes_back_in_order_under_all_faults() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut setup = server(|server| {
            server.line_route = Some("/echo");
            server.connections.backlog_high_bytes = 1024;
            server.connections.receive_buffer_bytes = 256;
        });
        setup.seed = seed;
        setup.message_bytes_max = Some(200);
        let (interrupted, short_writes) = (20, 40);
        setup.faults = Faults { interrupted, short_writes, spurious: 30, ..Faults::default() };
        let mut world = World::new(&setup);
        world.network.set_send_buffer_bytes([20, 300, 5_000][random.below(3)]);
        let client = world.connect_line(0);
        let lines =
            (0..random.below(300)).map(|at| "x".repeat(random.below(120)) + &at.to_string());
        let sent = lines.collect::<Vec<_>>().join("\n");
        let (mut rest, mut received) = (sent.as_bytes(), String::new());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(1 + random.below(2_000)));
            client.send(piece);
            rest = later;
            world.settle();
            let taken = client.connection.receive(random.below(500));
            received += &String::from_utf8(taken).unwrap();
        }
        client.connection.shutdown();
        loop {
            let more = self::received(&mut world, &client);
            if more.is_empty() {
                break;
            }
            received += &more;
        }
        let expected = if sent.is_empty() { sent } else { sent + "\n" };
        assert_eq!(received, expected, "seed {seed}");
        assert!(client.ended_well(), "seed {seed}");
        assert_eq!(world.server.connection_count(), 0, "seed {seed}");
    }
}
