//! Memory grows with the bytes received, never with a length that a peer only announced, and never
//! over its budget.

use tidegate::pool::pool_bytes_for;

use super::server;
use crate::client::Client;
use crate::wire::{BINARY, CONTINUATION, FIN, PING, TEXT, client_frame, client_header, frame};
use crate::world::{Setup, World};

fn small_pool(bytes: usize) -> Setup {
    server(|server| {
        server.pool_bytes_max = bytes;
        server.connections.receive_buffer_bytes = 4 << 10;
    })
}

#[test]
fn a_huge_announced_length_allocates_nothing() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    client.send(&client_header(FIN | BINARY, 1 << 62, [1; 4]));
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1009));
    assert_eq!(world.counter("pool_bytes_now"), 0);
    let mut client = world.open(0, "/echo");
    client.send(&client_header(FIN | BINARY, 1 << 20, [1; 4]));
    world.exchange(&mut client);
    assert_eq!(world.counter("pool_bytes_now"), 4096, "the header, in the smallest buffer");
    assert!(client.received.frames.is_empty());
}

#[test]
fn a_message_of_the_largest_size_comes_back_and_one_byte_more_does_not() {
    let mut setup = Setup { message_bytes_max: Some(300_000), ..Setup::default() };
    setup.server.connections.receive_buffer_bytes = 10_000;
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    let payload: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    for chunk in frame(BINARY, &payload).chunks(7_001) {
        client.send(chunk);
        world.settle();
    }
    world.exchange(&mut client);
    client.assert_received(&[&payload[..]]);
    world.pass(11_000);
    client.send(&client_header(FIN | BINARY, 300_001, [1; 4]));
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1009));
    assert_eq!(world.counter("pool_bytes_now"), 0, "refused by its header");
    assert!(client.ended_well());
}

#[test]
fn a_fragmented_message_of_the_largest_size_may_be_interrupted_by_a_ping() {
    let mut setup = Setup { message_bytes_max: Some(10_000), ..Setup::default() };
    setup.server.connections.receive_buffer_bytes = 1_000;
    for step in [1, 10, 1_000] {
        let mut world = World::new(&setup);
        let mut client = world.open(0, "/echo");
        let mut bytes = client_frame(BINARY, &[3; 6_000], [9; 4]);
        bytes.extend(client_frame(CONTINUATION, &[3; 4_000], [9; 4]));
        bytes.extend(frame(PING, &[5; 125]));
        bytes.extend(client_frame(FIN | CONTINUATION, b"", [9; 4]));
        for chunk in bytes.chunks(step) {
            client.send(chunk);
            world.settle();
        }
        world.exchange(&mut client);
        client.assert_received(&[&[5; 125][..], &[3; 10_000]]);
    }
}

#[test]
fn a_fragmented_message_one_byte_too_long_is_refused_by_the_header_that_shows_it() {
    let mut setup = Setup { message_bytes_max: Some(10_000), ..Setup::default() };
    setup.server.connections.receive_buffer_bytes = 1_000;
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    client.send(&client_frame(BINARY, &[3; 6_000], [9; 4]));
    client.send(&client_header(FIN | CONTINUATION, 4_001, [9; 4]));
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1009));
}

#[test]
fn without_pool_memory_a_message_is_closed_with_1013_and_others_go_on() {
    let mut world = World::new(&small_pool(64 << 10));
    let mut hungry = world.open(0, "/echo");
    let mut modest = world.open(0, "/echo");
    for chunk in frame(BINARY, &[1; 200_000]).chunks(4_000) {
        hungry.send(chunk);
        world.settle();
        modest.send_frame(TEXT, b"small");
        world.settle();
    }
    world.exchange(&mut hungry);
    assert_eq!(hungry.received.close_code(), Some(1013));
    assert!(hungry.ended_well());
    world.exchange(&mut modest);
    assert_eq!(modest.received.frames.len(), 51);
    assert_eq!(world.counter("closed_overload"), 1);
}

#[test]
fn what_arrived_before_memory_ran_out_is_discarded_so_that_the_close_frame_arrives() {
    let mut world = World::new(&small_pool(64 << 10));
    let mut hungry = world.open(0, "/echo");
    // All of it is there before the first read, so no further edge comes for it.
    hungry.send(&frame(BINARY, &[1; 200_000]));
    world.pass(6_000);
    assert!(hungry.is_gone(), "close_ms have passed");
    assert!(!hungry.connection.was_reset());
    world.exchange(&mut hungry);
    assert_eq!(hungry.received.close_code(), Some(1013));
}

#[test]
fn without_pool_memory_an_unfinished_request_is_answered_503() {
    let mut world = World::new(&small_pool(8 << 10));
    let mut clients: Vec<Client> = (0..3).map(|_| world.connect(0)).collect();
    for client in &mut clients {
        client.send(b"GET /echo HTTP/1.1\r\nHost: ");
        world.exchange(client);
    }
    let statuses: Vec<_> = clients.iter().map(|client| client.received.status).collect();
    assert_eq!(statuses, [None, None, Some(503)]);
    assert_eq!(world.counter("refused_without_memory"), 1);
    assert_eq!(world.counter("refused_at_limit"), 0, "it says its own reason");
    assert!(clients[2].ended_well());
}

#[test]
fn free_buffers_of_one_size_make_way_for_another() {
    let mut world = World::new(&small_pool(64 << 10));
    let small: Vec<Client> = (0..15).map(|_| world.open(0, "/echo")).collect();
    for client in &small {
        client.send(&client_header(FIN | TEXT, 100, [0; 4]));
    }
    world.settle();
    for client in &small {
        client.send(&[b'x'; 100]);
    }
    world.settle();
    let mut large = world.open(0, "/echo");
    for chunk in frame(BINARY, &[1; 30_000]).chunks(4_000) {
        large.send(chunk);
        world.settle();
    }
    world.exchange(&mut large);
    large.assert_received(&[[1; 30_000]]);
}

#[test]
fn replies_without_memory_end_the_connection_without_a_torn_frame() {
    let mut world = World::new(&small_pool(16 << 10));
    world.network.set_send_buffer_bytes(300);
    let mut client = world.open(0, "/echo");
    let mut neighbour = world.open(0, "/echo");
    let mut bytes: Vec<u8> = (0..100).flat_map(|_| frame(BINARY, &[2; 900])).collect();
    bytes.extend(b"\x81\x03abc");
    client.send(&bytes);
    world.exchange(&mut client);
    let payloads = client.payloads();
    assert!(payloads.iter().all(|payload| *payload == [2; 900]));
    assert!(client.is_gone() || client.connection.has_ended());
    neighbour.send_frame(TEXT, b"fine");
    world.exchange(&mut neighbour);
    neighbour.assert_received(&[b"fine"]);
    client.connection.shutdown();
    neighbour.connection.shutdown();
    world.pass(12_000);
    assert_eq!(world.server.connection_count(), 0);
    assert_eq!(world.server.connections.available(), 1000);
    assert_eq!(world.server.pool.available(), 16 << 10);
}

#[test]
fn a_pool_just_large_enough_for_the_largest_message_holds_it() {
    let message_bytes = 1 << 20;
    let mut setup = server(|server| server.pool_bytes_max = pool_bytes_for(message_bytes + 131));
    setup.message_bytes_max = Some(message_bytes);
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    client.send_frame(BINARY, &vec![7; message_bytes]);
    world.exchange(&mut client);
    assert_eq!(client.payloads().len(), 1);
    assert_eq!(world.counter("closed_overload"), 0);
}

/// Members of `/broadcast` that read nothing, on every loop, and one that reads everything.
struct Crowd {
    world: World,
    speaker: Client,
    slow: Vec<Client>,
    attentive: Client,
}

impl Crowd {
    fn new(setup: &Setup, count: usize) -> Self {
        let mut world = World::new(setup);
        let loops = setup.server.loops;
        let slow = (0..count).map(|at| world.open(at % loops, "/broadcast")).collect();
        let attentive = world.open(0, "/broadcast");
        let speaker = world.open(loops - 1, "/broadcast");
        world.network.set_send_buffer_bytes(100);
        Self { world, speaker, slow, attentive }
    }

    /// Has `count` short messages sent, and read by those who read.
    fn speak(&mut self, count: usize) {
        for _ in 0..count {
            self.speaker.send_frame(TEXT, b"x");
            self.world.exchange(&mut self.attentive);
            self.world.exchange(&mut self.speaker);
        }
    }
}

#[test]
fn deliveries_that_wait_are_charged_with_their_segments() {
    let setup = server(|server| server.loops = 2);
    let mut crowd = Crowd::new(&setup, 100);
    crowd.speak(1_000);
    let held = crowd.world.counter("pool_bytes_now");
    assert!(held > 90 * 1_000 * 16, "{held} bytes for 100,000 deliveries");
    for client in &mut crowd.slow {
        crowd.world.exchange(client);
        client.assert_received(&vec![b"x"; 1_000]);
    }
    crowd.world.pass(25_000);
    assert_eq!(crowd.world.counter("pool_bytes_now"), 0);
    assert_eq!(crowd.world.server.pool.available(), setup.server.pool_bytes_max);
}

/// The pool is far too small for what 200 members do not read.
#[test]
fn deliveries_without_memory_meet_the_policy_of_those_for_whom_others_wait() {
    use tidegate::config::SlowPolicy::{Disconnect, DropNewest, KeepLatest};
    for policy in [Disconnect, DropNewest, KeepLatest] {
        for loops in [1, 2] {
            let mut setup = server(|server| {
                server.loops = loops;
                server.pool_bytes_max = 1 << 20;
            });
            setup.slow_policy = policy;
            let mut crowd = Crowd::new(&setup, 200);
            crowd.speak(1_000);
            crowd.attentive.assert_received(&vec![b"x"; 1_000]);
            crowd.speaker.assert_received(&vec![b"x"; 1_000]);
            let world = &mut crowd.world;
            let slow = world.counter("closed_slow");
            let dropped = world.counter("pushes_dropped");
            assert_eq!((slow > 0, dropped > 0), (policy == Disconnect, policy != Disconnect));
            assert_eq!(world.counter("closed_overload"), 0);
            crowd.slow.iter_mut().for_each(|client| client.shutdown());
            world.pass(25_000);
            assert_eq!(world.counter("open_now"), 2);
            assert_eq!(world.server.pool.available(), 1 << 20);
        }
    }
}

/// 5 KiB of a message are not held in 32.
#[test]
fn the_beginning_of_a_message_holds_no_more_than_what_has_arrived_rounded_up() {
    let mut world = World::calm();
    let client = world.open(0, "/echo");
    let message = frame(BINARY, &vec![1; 1 << 20]);
    let mut sent = 0;
    for (until, held_max) in [(5 << 10, 8 << 10), (60 << 10, 64 << 10), (130 << 10, 256 << 10)] {
        client.send(&message[sent..until]);
        sent = until;
        world.settle();
        let held = world.counter("pool_bytes_now");
        assert!(held <= held_max, "{held} for {sent}");
    }
}

/// Lines and short messages in the buffer of a long one that is over.
#[test]
fn a_long_message_does_not_leave_its_buffer_to_the_beginning_of_the_next() {
    let setup = server(|server| {
        server.line_route = Some("/echo");
        server.connections.receive_buffer_bytes = 4 << 10;
    });
    let mut world = World::new(&setup);
    let line = world.connect_line(0);
    line.send(&[&[b'x'; 300_000][..], b"\nbeginning"].concat());
    // All of the reply, or its backlog is what is held.
    world.settle();
    while !line.received().is_empty() {
        world.settle();
    }
    world.pass(11_000);
    let held = world.counter("pool_bytes_now");
    assert!(held <= 16 << 10, "{held} bytes for 9");
}
