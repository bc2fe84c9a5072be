//! Clients that send and do not read: memory stays bounded, and nothing is lost.

use tidegate::services::MessageLimits;

use crate::wire::{BINARY, PING, PONG, TEXT, frame};
use crate::world::{Setup, World};

/// The high mark of the default settings.
const HIGH_BYTES: u64 = 64 << 10;
const RECEIVE_BUFFER_BYTES: u64 = 512 << 10;

fn numbered(serial: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{serial:08}").into_bytes();
    payload.resize(bytes.max(8), b'.');
    payload
}

#[test]
fn replies_that_pile_up_pause_reading_and_nothing_is_lost() {
    for (count, bytes) in [(20_000, 20), (2_000, 1_000), (60, 50_000)] {
        let mut world = World::calm();
        let mut client = world.open(0, "/echo");
        let payloads: Vec<Vec<u8>> = (0..count).map(|serial| numbered(serial, bytes)).collect();
        for payload in &payloads {
            client.send_frame(BINARY, payload);
        }
        // All input has been announced: from here on only writability gives an edge.
        world.settle();
        assert_eq!(world.counter("reading_paused"), 1);
        let pool = world.counter("pool_bytes_now");
        let bound = 2 * (HIGH_BYTES + RECEIVE_BUFFER_BYTES + 2 * bytes as u64);
        assert!(pool <= bound, "{pool} bytes for {count} messages of {bytes}");
        world.exchange(&mut client);
        client.assert_received(&payloads);
        world.pass(11_000);
        assert_eq!(world.counter("pool_bytes_now"), 0);
    }
}

#[test]
fn reading_pauses_after_one_large_reply() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    for serial in 0..8 {
        client.send_frame(BINARY, &numbered(serial, 900_000));
    }
    world.settle();
    // One reply in the backlog and one message that is partly received.
    assert!(world.counter("pool_bytes_now") <= 4 << 20, "{}", world.counter("pool_bytes_now"));
    world.exchange(&mut client);
    let expected: Vec<Vec<u8>> = (0..8).map(|serial| numbered(serial, 900_000)).collect();
    client.assert_received(&expected);
}

#[test]
fn a_flood_of_pings_is_bounded_as_well() {
    // As many as it likes.
    let limits = MessageLimits { control_frames: None, ..MessageLimits::default() };
    let mut world = World::new(&Setup { limits, ..Setup::default() });
    let mut client = world.open(0, "/echo");
    let ping = frame(PING, &[7; 125]);
    for _ in 0..10_000 {
        client.send(&ping);
    }
    world.settle();
    assert!(world.counter("pool_bytes_now") <= 2 * (HIGH_BYTES + RECEIVE_BUFFER_BYTES));
    world.exchange(&mut client);
    assert_eq!(client.received.frames.len(), 10_000);
    assert!(client.received.frames.iter().all(|frame| frame.opcode == PONG));
}

#[test]
fn one_sender_does_not_starve_the_others() {
    let mut world = World::calm();
    let greedy = world.open(0, "/echo");
    let mut modest = world.open(0, "/echo");
    for serial in 0..5_000 {
        greedy.send_frame(BINARY, &numbered(serial, 1_000));
    }
    modest.send_frame(TEXT, b"just one");
    for _ in 0..2 {
        world.server.step().unwrap();
    }
    modest.read_all();
    modest.assert_received(&[b"just one"]);
}
