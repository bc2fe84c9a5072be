//! Messages pushed to peers: slow policies, and full mailboxes, which pause the connections that
//! write to them and lose no message.

use tidegate::config::SlowPolicy;

use super::server;
use crate::client::Client;
use crate::wire::{PING, PONG, TEXT};
use crate::world::{Setup, World};

const MARK_BYTES: usize = 100_000;

/// A pusher and a reader, on two loops or on one; the reader's hard mark is `MARK_BYTES`.
fn pair(policy: SlowPolicy, loops: usize) -> (World, Client, Client) {
    let mut setup = server(|server| {
        server.loops = loops;
        server.connections.backlog_hard_bytes = MARK_BYTES;
    });
    setup.slow_policy = policy;
    let mut world = World::new(&setup);
    world.network.set_send_buffer_bytes(10_000);
    let pusher = world.open(0, "/relay");
    let reader = world.open(loops - 1, "/relay");
    (world, pusher, reader)
}

/// The serial numbers of the pushed texts that arrived.
fn serials(reader: &Client) -> Vec<usize> {
    let texts = reader.received.data().iter().skip(1).map(|frame| &frame.payload);
    texts
        .map(|text| {
            let text = std::str::from_utf8(text).unwrap();
            let (_, text) = text.split_once('|').unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn a_slow_reader_is_disconnected_with_4002() {
    for loops in [1, 2] {
        let (mut world, pusher, mut reader) = pair(SlowPolicy::Disconnect, loops);
        pusher.send_frame(TEXT, b"push 200 1000");
        world.pass(50);
        world.exchange(&mut reader);
        assert_eq!(reader.received.close_code(), Some(4002));
        assert_eq!(&reader.received.close().unwrap().payload[2..], b"too slow");
        assert!(reader.ended_well());
        let serials = serials(&reader);
        assert!(serials.iter().copied().eq(0..serials.len()), "a gap in {serials:?}");
        assert_eq!(world.counter("closed_slow"), 1);
    }
}

#[test]
fn drop_newest_keeps_the_oldest() {
    for loops in [1, 2] {
        let (mut world, pusher, mut reader) = pair(SlowPolicy::DropNewest, loops);
        pusher.send_frame(TEXT, b"push 200 1000");
        world.pass(50);
        world.exchange(&mut reader);
        let serials = serials(&reader);
        let dropped = usize::try_from(world.counter("pushes_dropped")).unwrap();
        assert_eq!(serials.len() + dropped, 200);
        assert!(serials.len() * 1_000 >= MARK_BYTES - 2_000, "{}", serials.len());
        assert!(serials.is_sorted());
        pusher.send_frame(TEXT, b"push 1 10");
        world.pass(50);
        world.exchange(&mut reader);
        assert_eq!(reader.received.frames.len(), 1 + serials.len() + 1, "it goes on");
    }
}

#[test]
fn keep_latest_keeps_the_newest() {
    for loops in [1, 2] {
        let (mut world, pusher, mut reader) = pair(SlowPolicy::KeepLatest, loops);
        pusher.send_frame(TEXT, b"push 250 1000");
        world.pass(50);
        assert!(world.counter("pushes_dropped") > 0);
        world.exchange(&mut reader);
        let serials = serials(&reader);
        assert!(serials.is_sorted());
        assert_eq!(serials.last(), Some(&249));
        assert!(serials.len() < 250);
    }
}

#[test]
fn reading_resumes_when_keep_latest_empties_the_backlog() {
    let (mut world, pusher, mut reader) = pair(SlowPolicy::KeepLatest, 1);
    pusher.send_frame(TEXT, b"push 90 1000");
    world.settle();
    reader.send_frame(PING, b"while reading is paused");
    world.settle();
    assert_eq!(world.counter("reading_paused"), 1);
    pusher.send_frame(TEXT, b"push 20 1000");
    world.settle();
    let messages = world.counter("messages_in");
    reader.send_frame(TEXT, b"read although the client has read nothing");
    world.settle();
    assert_eq!(world.counter("messages_in"), messages + 1);
    world.exchange(&mut reader);
    assert!(reader.received.data().iter().any(|frame| frame.opcode == PONG));
}

/// A frame is dropped although writing made room enough to read on: the dropped frame is larger than
/// what the mark leaves. The socket's room is tried in steps, so that one of them leaves a little.
#[test]
fn reading_resumes_when_the_write_before_a_dropped_frame_makes_room() {
    let mut drops = 0;
    for room in (340_000..410_000).step_by(4_000) {
        let mut setup = server(|server| server.connections.backlog_hard_bytes = 450_000);
        setup.slow_policy = SlowPolicy::DropNewest;
        let mut world = World::new(&setup);
        let pusher = world.open(0, "/relay");
        let mut reader = world.open(0, "/relay");
        let caster = world.open(0, "/relay");
        world.network.set_send_buffer_bytes(room);
        // In one turn: the reader gets a queue, has its reading paused by a reply behind that, and
        // is then pushed to while its queue is written to.
        pusher.send_frame(TEXT, b"push 400 1000");
        reader.send_frame(PING, b"behind what was pushed");
        caster.send_frame(TEXT, &[b"cast 2 ", &[b'x'; 440_000][..]].concat());
        world.server.step().expect("reading goes on");
        assert_eq!(world.counter("reading_paused"), 1, "{room}");
        drops += world.counter("pushes_dropped");
        world.exchange(&mut reader);
        assert!(reader.received.data().iter().any(|frame| frame.opcode == PONG), "{room}");
    }
    assert!(drops > 0);
}

#[test]
fn the_mark_is_compared_after_the_socket_was_written_to() {
    let (mut world, pusher, mut reader) = pair(SlowPolicy::Disconnect, 1);
    world.network.set_send_buffer_bytes(1 << 20);
    pusher.send_frame(TEXT, b"push 400 1000");
    world.exchange(&mut reader);
    assert_eq!(serials(&reader).len(), 400);
}

#[test]
fn a_single_frame_above_the_mark_still_goes_to_an_empty_backlog() {
    let (mut world, pusher, mut reader) = pair(SlowPolicy::Disconnect, 2);
    pusher.send_frame(TEXT, b"push 1 150000");
    world.exchange(&mut reader);
    assert_eq!(serials(&reader), [0]);
}

#[test]
fn full_mailboxes_pause_their_writer_and_lose_nothing() {
    let mut setup: Setup = server(|server| {
        server.loops = 3;
        server.items_max = 4;
        server.connections.receive_buffer_bytes = 256;
        server.connections.reads_per_turn = 1;
    });
    setup.faults.partial_waits = 50;
    let mut world = World::new(&setup);
    let pusher = world.open(0, "/relay");
    let mut readers = [world.open(1, "/relay"), world.open(2, "/relay")];
    let count = 2_000;
    for serial in 0..count {
        pusher.send_frame(TEXT, format!("cast 2 {serial}").as_bytes());
    }
    // Messages that found no room are sent again after a millisecond, and no time passes here.
    world.settle();
    let read = world.counter("messages_in");
    assert!(read < count / 2, "{read} were read though the mailboxes were full");
    world.pass(10_000);
    let expected: Vec<String> = (0..count).map(|serial| format!("|cast 2 {serial}")).collect();
    for reader in &mut readers {
        world.exchange(reader);
        let texts = reader.received.frames[1..].iter();
        let texts = texts.map(|frame| String::from_utf8(frame.payload.clone()).unwrap());
        assert!(texts.map(|text| text[text.find('|').unwrap()..].to_owned()).eq(expected.clone()));
    }
    assert!(!pusher.is_gone());
}

#[test]
fn a_loop_that_is_behind_with_its_mailbox_pauses_its_writers() {
    let mut world = World::new(&server(|server| {
        server.loops = 2;
        server.items_max = 4;
        server.mail_per_turn = 1;
        server.connections.receive_buffer_bytes = 256;
        server.connections.reads_per_turn = 1;
    }));
    let pusher = world.open(0, "/relay");
    let mut reader = world.open(1, "/relay");
    let count = 4_000;
    for serial in 0..count {
        pusher.send_frame(TEXT, format!("cast 1 {serial}").as_bytes());
    }
    while world.counter("mail_in") < count {
        world.server.step().unwrap();
        world.skip(1);
        let waiting = world.counter("messages_in") - world.counter("mail_in");
        // A full mailbox, as many messages on either side of it, and those of two reads of 4 KiB.
        assert!(waiting < 3 * 4 + 2 * 300, "{waiting} messages wait");
    }
    world.exchange(&mut reader);
    assert_eq!(reader.received.data().len() as u64, 1 + count);
}
