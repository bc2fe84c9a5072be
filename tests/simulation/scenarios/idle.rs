//! Idle connections: pings, pongs and their deadlines.

use super::{LATE_MS, server};
use tidegate::work::WorkLimits;

use crate::client::Client;
use crate::wire::{FIN, PONG, TEXT, client_header};
use crate::world::World;

/// The times at which the first ping arrives and at which the server drops the silent client, in
/// milliseconds from now and to within `STEP_MS`.
fn ping_and_end(world: &mut World, client: &mut Client) -> (u64, u64) {
    let start = world.now();
    let mut ping_at = None;
    while !client.is_gone() {
        assert!(world.now() - start < 60_000, "still there");
        world.pass(STEP_MS);
        client.read_all();
        if client.received.pings > 0 {
            ping_at = ping_at.or_else(|| Some(world.now() - start));
        }
    }
    (ping_at.expect("a ping before the end"), world.now() - start)
}

const STEP_MS: u64 = 10;

#[test]
fn an_idle_connection_is_pinged_and_dropped_when_it_does_not_answer() {
    let mut world = World::calm();
    let mut pings = Vec::new();
    for _ in 0..10 {
        let mut client = world.open(0, "/echo");
        let (ping_at, end_at) = ping_and_end(&mut world, &mut client);
        assert!((22_500..=25_000 + LATE_MS + STEP_MS).contains(&ping_at), "{ping_at}");
        let timeout = end_at - ping_at;
        assert!((8_000 - STEP_MS..=8_000 + LATE_MS + STEP_MS).contains(&timeout), "{timeout}");
        assert_eq!(client.received.pings, 1);
        pings.push(ping_at);
    }
    pings.sort_unstable();
    assert!(pings[9] - pings[0] > 500, "pings are not spread: {pings:?}");
    assert_eq!((world.counter("closed_idle"), world.counter("pings_out")), (10, 10));
}

#[test]
fn a_pong_or_any_other_bytes_keep_a_connection_open() {
    let half_a_frame = client_header(FIN | TEXT, 70_000, [0; 4]);
    let answers: [&[u8]; 3] =
        [&crate::wire::frame(PONG, b""), &crate::wire::frame(TEXT, b"hi"), &half_a_frame[..3]];
    for answer in answers {
        let mut world = World::new(&server(|server| server.connections.message_grace_ms = 0));
        let mut client = world.open(0, "/echo");
        for round in 1..=3 {
            let mut answer = answer;
            while client.received.pings < round {
                world.pass(50);
                client.read_all();
            }
            world.pass(7_500);
            if round == 3 && answer.len() == 3 {
                answer = &half_a_frame[3..4];
            }
            if answer.len() != 3 || round == 1 {
                client.send(answer);
            } else {
                client.send(&half_a_frame[3..][..1]);
            }
            world.pass(1_000);
            assert!(!client.is_gone(), "round {round}");
        }
        assert_eq!(world.counter("closed_idle"), 0);
    }
}

#[test]
fn no_ping_is_sent_while_bytes_arrive_within_the_interval() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    for _ in 0..20 {
        world.pass(22_000);
        client.send_frame(TEXT, b"still here");
    }
    world.exchange(&mut client);
    assert_eq!((client.received.pings, client.received.frames.len()), (0, 20));
}

#[test]
fn the_pong_deadline_does_not_run_while_the_ping_is_unwritten() {
    let mut world = World::new(&server(|server| server.connections.write_stall_ms = 60_000));
    world.network.set_send_buffer_bytes(1000);
    let mut client = world.open(0, "/echo");
    client.send_frame(TEXT, &[b'x'; 20_000]);
    world.pass(40_000);
    assert_eq!((world.counter("pings_out"), client.received.pings), (1, 0));
    assert!(!client.is_gone(), "the ping waits behind the reply");
    world.exchange(&mut client);
    assert_eq!(client.received.pings, 1);
    world.pass(8_000);
    assert!(!client.is_gone(), "the deadline runs from the write of the ping");
    // It lay behind the 20,000 bytes, for which it is given some seconds more.
    world.pass(5_000 + LATE_MS);
    assert!(client.is_gone());
    assert_eq!(world.counter("closed_idle"), 1);
}

/// Also where a turn has no time for the event that says so, and the write comes later.
#[test]
fn a_full_socket_that_takes_bytes_is_a_sign_of_life() {
    let busy = server(|server| server.connections.work = WorkLimits { turn: 1, share: 1 });
    for setup in [server(|_| ()), busy] {
        reads_on_without_pings(&mut World::new(&setup));
    }
}

fn reads_on_without_pings(world: &mut World) {
    world.network.set_send_buffer_bytes(1000);
    // Its messages use up every turn before the event of the other is handled.
    let busy = world.open(0, "/echo");
    let mut client = world.open(0, "/echo");
    client.send_frame(TEXT, &[b'x'; 20_000]);
    world.settle();
    while client.received.bytes < 19_000 {
        world.pass(5_000);
        busy.send_frame(PONG, b"");
        assert!(client.read(500) > 0, "the server is gone");
    }
    assert_eq!(world.counter("pings_out"), 0);
    let (ping_at, end_at) = ping_and_end(world, &mut client);
    assert!(ping_at <= 25_000 + LATE_MS + STEP_MS, "{ping_at}");
    assert!(end_at - ping_at >= 8_000 - STEP_MS, "{end_at}");
}

/// A steady reader behind buffers that take all that the server writes: of a proxy, or of kernels.
/// It answers a ping when it has read up to it. Returns whether it got everything.
fn reads_steadily(world: &mut World, client: &mut Client, bytes_per_s: usize, end: usize) -> bool {
    let mut answered = 0;
    while client.received.bytes < end {
        world.pass(1_000);
        if client.is_gone() || client.read(bytes_per_s) == 0 {
            return false;
        }
        if client.received.pings > answered {
            answered = client.received.pings;
            client.send_frame(PONG, b"");
        }
    }
    !client.is_gone()
}

#[test]
fn a_ping_may_wait_behind_all_that_is_buffered_on_the_way() {
    // Whole, in messages of lengths that are common, and behind a queue of the gateway's own.
    for (message_bytes, send_buffer_bytes) in
        [(1_000_000, 8 << 20), (5_000, 8 << 20), (200, 8 << 20), (1_000_000, 400_000)]
    {
        let mut world = World::calm();
        world.network.set_send_buffer_bytes(send_buffer_bytes);
        let mut client = world.open(0, "/echo");
        for _ in 0..1_000_000 / message_bytes {
            client.send_frame(TEXT, &vec![b'x'; message_bytes]);
            world.settle();
        }
        assert!(reads_steadily(&mut world, &mut client, 12_000, 1_000_000), "{message_bytes}");
        assert_eq!((world.counter("closed_idle"), world.counter("closed_stalled")), (0, 0));
        world.exchange(&mut client);
        client.send_frame(PONG, b"");
        // What was under way is forgotten with time: later, silence has its usual end.
        for _ in 0..15 {
            world.pass(20_000);
            client.send_frame(PONG, b"");
        }
        world.exchange(&mut client);
        let (_, end_at) = ping_and_end(&mut world, &mut client);
        assert!(end_at <= 25_000 + 8_000 + 2 * LATE_MS + STEP_MS, "{end_at}");
    }
}

#[test]
fn a_vanished_reader_is_waited_for_no_longer_than_what_it_was_sent_may_take() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(64 << 20);
    let client = world.open(0, "/echo");
    for _ in 0..20 {
        client.send_frame(TEXT, &[b'x'; 1_000_000]);
    }
    world.settle();
    world.pass(25_000 + 8_000 + 255_000 + 2 * LATE_MS);
    assert!(client.is_gone());
    assert_eq!(world.counter("closed_idle"), 1);
}

#[test]
fn the_pong_deadline_does_not_run_while_reading_is_paused() {
    let mut world = World::new(&server(|server| server.connections.backlog_high_bytes = 4_000));
    world.network.set_send_buffer_bytes(1000);
    let mut client = world.open(0, "/echo");
    for _ in 0..3 {
        client.send_frame(TEXT, &[b'x'; 20_000]);
    }
    world.settle();
    assert_eq!(world.counter("reading_paused"), 1);
    while client.received.bytes < 55_000 {
        world.pass(5_000);
        client.send_frame(PONG, b"");
        assert!(client.read(500) > 0, "the server is gone");
    }
    world.exchange(&mut client);
    client.assert_received(&[[b'x'; 20_000]; 3]);
    assert_eq!(world.counter("closed_idle"), 0);
}

#[test]
fn pushes_do_not_extend_the_pong_deadline() {
    let mut world = World::calm();
    let mut vanished = world.open(0, "/relay");
    let mut pusher = world.open(0, "/relay");
    let start = world.now();
    while !vanished.is_gone() {
        assert!(world.now() - start < 25_000 + 8_000 + LATE_MS + 1_000, "kept alive by pushes");
        world.pass(1_000);
        pusher.send_frame(TEXT, b"cast 1");
        world.exchange(&mut pusher);
        vanished.read_all();
    }
    assert_eq!(world.counter("closed_idle"), 1);
}

#[test]
fn a_clock_jump_of_an_hour_drops_no_client_that_answered() {
    let mut setup = server(|server| server.loops = 2);
    // Each wait returns some of the events only, so most are still unread in the first turn after
    // the jump.
    setup.faults.partial_waits = 100;
    let mut world = World::new(&setup);
    let mut clients: Vec<Client> = (0..40).map(|serial| world.open(serial % 2, "/echo")).collect();
    let late = world.connect(0);
    late.send(b"GET /echo HTTP/1.1\r\n");
    world.settle();
    // All clients are pinged, and answer just before the jump.
    for _ in 0..300 {
        world.pass(100);
        for client in &mut clients {
            client.read_all();
        }
        if clients.iter().all(|client| client.received.pings > 0) {
            break;
        }
    }
    let late = late.connection;
    assert!(late.is_closed_by_server());
    let asking = world.connect(0);
    world.settle();
    for client in &clients {
        client.send_frame(PONG, b"");
    }
    asking.ask("/echo");
    world.jump(3_600_000);
    let mut asking = asking;
    world.exchange(&mut asking);
    assert_eq!(asking.received.status, Some(101));
    for round in 0..3 {
        for client in &mut clients {
            assert!(!client.is_gone(), "round {round}");
            client.read_all();
            client.send_frame(PONG, b"");
        }
        world.pass(5_000);
    }
    assert_eq!(world.counter("closed_idle"), 0);
}
