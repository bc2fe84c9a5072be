//! The write stall timeout: slow readers stay connected, readers that stopped are dropped.

use super::LATE_MS;
use crate::client::Client;
use crate::wire::{PONG, TEXT};
use crate::world::World;

/// Two members of the relay; the second is sent 300 texts of 1,000 bytes that it does not read.
fn pushed_to(world: &mut World) -> (Client, Client) {
    let pusher = world.open(0, "/relay");
    let reader = world.open(0, "/relay");
    pusher.send_frame(TEXT, b"push 300 1000");
    world.settle();
    (pusher, reader)
}

#[test]
fn a_reader_at_one_kib_per_second_stays_connected() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(16 << 10);
    let (mut pusher, mut reader) = pushed_to(&mut world);
    for second in 0..240 {
        world.pass(1_000);
        assert_eq!(reader.read(1024), 1024, "second {second}");
        pusher.send_frame(PONG, b"");
        pusher.read_all();
    }
    assert_eq!(world.counter("pings_out"), 0, "what it takes shows that it is there");
    assert_eq!(world.counter("closed_stalled") + world.counter("closed_slow"), 0);
    world.exchange(&mut reader);
    reader.send_frame(PONG, b"");
    assert_eq!(reader.received.frames.len(), 1 + 300);
    world.pass(9_000);
    assert!(!reader.is_gone());
}

#[test]
fn a_reader_that_stopped_is_dropped_after_ten_seconds() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(16 << 10);
    let (_pusher, mut reader) = pushed_to(&mut world);
    world.pass(9_000);
    assert!(reader.read(1) == 1, "one byte restarts the ten seconds");
    world.settle();
    world.pass(10_000);
    assert!(!reader.is_gone(), "too early");
    world.pass(LATE_MS);
    assert!(reader.is_gone());
    assert_eq!(world.counter("closed_stalled"), 1);
}

#[test]
fn a_reader_whose_buffers_have_room_in_large_steps_stays_connected() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(150 << 10);
    let mut client = world.open(0, "/echo");
    client.send_frame(TEXT, &vec![b'x'; 900_000]);
    world.settle();
    // As 12 kB/s look from here: the kernel of the reader says that it has room again when half of
    // its buffer is read.
    while client.received.bytes < 900_000 {
        world.pass(12_000);
        assert_ne!(client.read(144_000), 0, "dropped at {} bytes", client.received.bytes);
        client.send_frame(PONG, b"");
    }
    assert_eq!(world.counter("closed_stalled"), 0);
}

#[test]
fn an_idle_peer_without_backlog_never_stalls() {
    let mut world = World::calm();
    let reader = world.open(0, "/echo");
    for _ in 0..10 {
        world.pass(11_000);
        reader.send_frame(PONG, b"");
    }
    assert!(!reader.is_gone());
}

#[test]
fn a_clock_jump_during_a_stall_does_not_drop_a_client_that_had_read() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(16 << 10);
    let (mut pusher, mut reader) = pushed_to(&mut world);
    reader.read_all();
    pusher.send_frame(PONG, b"");
    world.jump(3_600_000);
    world.exchange(&mut reader);
    world.exchange(&mut pusher);
    assert_eq!(reader.received.frames.len(), 1 + 300);
    assert_eq!(world.counter("closed_stalled"), 0);
}
