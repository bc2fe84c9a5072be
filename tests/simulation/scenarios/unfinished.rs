//! Messages that are begun must be finished: in a time of grace, and at a least rate beyond it.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, client_frame, client_header, frame,
};
use crate::world::{Setup, World};

const GRACE_MS: u64 = 30_000;
const REASON: &[u8] = b"message not finished in time";

/// Passes `ms` while the client answers pings, where it has half a frame sent by bytes of that.
fn stay(world: &mut World, client: &mut Client, ms: u64) {
    let mut pings = client.received.pings;
    for _ in 0..ms.div_ceil(1_000) {
        world.pass(1_000);
        world.exchange(client);
        if client.received.pings > pings && !client.connection.has_ended() {
            client.send_frame(PONG, b"");
            pings = client.received.pings;
        }
    }
}

fn is_unfinished(client: &Client) -> bool {
    client.received.close_code() == Some(1008)
        && client.received.close().is_some_and(|close| &close.payload[2..] == REASON)
}

#[test]
fn half_a_message_is_held_for_the_grace_and_its_bytes_only() {
    for (arrived, expected_ms) in [(100, GRACE_MS), (40 << 10, GRACE_MS + 40_000)] {
        let mut world = World::calm();
        let mut client = world.open(0, "/echo");
        client.send(&frame(BINARY, &[1; 100_000])[..arrived]);
        stay(&mut world, &mut client, expected_ms - 2_000);
        assert!(!client.connection.has_ended() && world.counter("pool_bytes_now") > 0);
        world.pass(3_000 + LATE_MS);
        world.exchange(&mut client);
        assert!(is_unfinished(&client) && client.ended_well());
        assert_eq!(world.counter("closed_unfinished"), 1);
        world.pass(10_001);
        assert_eq!(world.counter("pool_bytes_now"), 0);
    }
}

/// A byte now and then, as with the pings of a client that means to hold its buffer for ever.
#[test]
fn a_byte_for_each_ping_does_not_hold_a_message_for_ever() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let message = frame(BINARY, &[1; 1 << 20]);
    client.send(&message[..1000]);
    let mut waited = 0;
    while !client.connection.has_ended() {
        client.send(&message[1000..=1000]);
        stay(&mut world, &mut client, 10_000);
        waited += 10_000;
        assert!(waited <= GRACE_MS + 10_000, "it is held");
    }
    assert!(is_unfinished(&client));
}

#[test]
fn pings_and_empty_fragments_between_fragments_do_not_count_as_bytes_of_the_message() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    client.send(&client_frame(TEXT, &[b'x'; 1000], [9; 4]));
    for _ in 0..(GRACE_MS + 2_000) / 1_000 {
        client.send_frame(PING, b"still there");
        client.send(&client_frame(CONTINUATION, b"", [9; 4]));
        world.pass(1_000);
        world.exchange(&mut client);
    }
    assert!(is_unfinished(&client));
}

#[test]
fn a_message_at_the_least_rate_arrives() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let payload = vec![7; 200 << 10];
    for chunk in frame(BINARY, &payload).chunks(2 << 10) {
        client.send(chunk);
        world.pass(2_000);
    }
    world.exchange(&mut client);
    client.assert_received(&[payload]);
}

/// Each of them is finished in time, although the buffer that they lie in is never empty.
#[test]
fn the_clock_begins_anew_with_each_message() {
    for is_fragmented in [false, true] {
        let mut world = World::calm();
        let mut client = world.open(0, "/echo");
        let message = match is_fragmented {
            false => frame(TEXT, &[b'x'; 1000]),
            true => {
                let mut bytes = client_frame(TEXT, &[b'x'; 500], [9; 4]);
                bytes.extend(client_frame(FIN | CONTINUATION, &[b'x'; 500], [9; 4]));
                bytes
            }
        };
        client.send(&message[..700]);
        for _ in 0..10 {
            world.pass(20_000);
            client.send(&message[700..]);
            client.send(&message[..700]);
            world.exchange(&mut client);
        }
        client.assert_received(&vec![[b'x'; 1000]; 10]);
    }
}

#[test]
fn the_clock_stands_still_while_the_client_is_not_read() {
    let setup = server(|server| server.connections.receive_buffer_bytes = 4 << 10);
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    world.network.set_send_buffer_bytes(1_000);
    // The replies of these have it paused, with a part of the last in its buffer.
    let message = frame(BINARY, &[2; 3_000]);
    let count = 60;
    client.send(&message.repeat(count));
    client.send(&message[..1_500]);
    world.settle();
    assert_eq!(world.counter("reading_paused"), 1);
    for _ in 0..(2 * GRACE_MS / 5_000) {
        // It takes a little, so it is no stalled reader.
        world.pass(5_000);
        client.read(1_000);
        world.settle();
    }
    world.exchange(&mut client);
    client.send(&message[1_500..]);
    world.exchange(&mut client);
    client.assert_received(&vec![[2; 3_000]; count + 1]);
}

#[test]
fn what_arrived_while_the_machine_slept_counts_before_the_deadline_does() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let message = frame(BINARY, &[3; 1_000]);
    client.send(&message[..500]);
    world.settle();
    world.skip(GRACE_MS + 20_000);
    client.send(&message[500..]);
    world.exchange(&mut client);
    client.assert_received(&[[3; 1_000]]);
}

#[test]
fn a_line_is_a_message() {
    let mut world = World::new(&server(|server| server.line_route = Some("/echo")));
    let client = world.connect_line(0);
    client.send(b"whole\nhal");
    world.pass(GRACE_MS - 1_000);
    assert_eq!(client.received(), "whole\n");
    world.pass(1_000 + LATE_MS);
    assert_eq!(client.received().as_bytes(), [REASON, b"\n"].concat());
    assert!(client.ended_well());
    assert_eq!(world.counter("closed_unfinished"), 1);
}

#[test]
fn without_a_grace_a_message_may_take_any_time() {
    let setup: Setup = server(|server| server.connections.message_grace_ms = 0);
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    client.send(&client_header(FIN | TEXT, 30, [0; 4]));
    for _ in 0..30 {
        world.pass(20_000);
        client.send(b"x");
    }
    world.exchange(&mut client);
    client.assert_received(&[[b'x'; 30]]);
}
