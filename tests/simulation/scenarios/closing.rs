//! Closing: the last bytes arrive, whatever the client still sends.

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::{BINARY, CLOSE, FIN, Frame, PONG, TEXT, client_frame, close_frame};
use crate::world::World;

#[test]
fn data_after_close_is_ignored() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let mut bytes = crate::wire::frame(TEXT, b"last message");
    bytes.extend(close_frame(3001, "enough"));
    bytes.extend(crate::wire::frame(TEXT, b"ignored"));
    client.send(&bytes);
    world.exchange(&mut client);
    let close = Frame::new(CLOSE, &3001_u16.to_be_bytes());
    assert_eq!(client.received.frames, [Frame::new(TEXT, b"last message"), close]);
    assert!(client.ended_well());
    assert!(client.is_gone(), "both close frames are sent, so the server does not linger");
}

#[test]
fn a_client_that_sends_on_after_its_close_frame_receives_the_answer() {
    let mut setup = server(|server| server.connections.receive_buffer_bytes = 1_000);
    setup.server.connections.reads_per_turn = 2;
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    let mut bytes = close_frame(3001, "enough");
    bytes.extend([0xAB; 20_000]);
    client.send(&bytes);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(3001));
    assert!(client.ended_well());
    client.connection.shutdown();
    world.settle();
    assert!(client.is_gone() && client.ended_well());
}

#[test]
fn a_close_without_code_is_answered_without_code() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    client.send_frame(CLOSE, b"");
    world.exchange(&mut client);
    assert_eq!(client.received.frames, [Frame::new(CLOSE, b"")]);
    assert!(client.ended_well());
}

#[test]
fn a_service_closes_after_a_reply_of_any_size() {
    for bytes in [10, 65_536, 1_000_000] {
        let mut world = World::calm();
        let mut client = world.open(0, "/relay");
        client.send_frame(TEXT, format!("farewell {bytes}").as_bytes());
        client.send_frame(TEXT, b"farewell 1");
        world.exchange(&mut client);
        assert_eq!(client.received.data().len(), 2, "the greeting and one reply");
        assert_eq!(client.received.close_code(), Some(1000), "after {bytes} bytes");
        assert!(client.ended_well());
    }
}

/// Sends 1 MiB in chunks, settling in between; the reply must arrive all the same.
fn send_on(world: &mut World, client: &mut Client) {
    for _ in 0..64 {
        client.send(&[0xFF; 16 << 10]);
        world.settle();
    }
    world.exchange(client);
    client.connection.shutdown();
    world.settle();
    assert!(client.ended_well() && client.is_gone());
}

#[test]
fn a_refused_request_with_a_body_receives_its_status() {
    let mut world = World::calm();
    let mut client = world.connect(0);
    client
        .send(b"POST /upload HTTP/1.1\r\nHost: sim.example\r\nContent-Length: 1048576\r\n\r\nabc");
    world.settle();
    send_on(&mut world, &mut client);
    assert_eq!(client.received.status, Some(404));
}

#[test]
fn a_protocol_error_receives_its_close_code_though_a_mebibyte_of_input_follows() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    client.send(b"\x81\x03abc");
    client.send(&[b'?'; 300_000]);
    world.settle();
    send_on(&mut world, &mut client);
    assert_eq!(client.received.close_code(), Some(1002));
    assert_eq!(world.counter("closed_protocol"), 1);
}

#[test]
fn a_client_that_never_ends_is_cut_off_after_close_ms() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    client.send(b"\xff\x80\0\0\0\0");
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1002));
    assert!(client.ended_well());
    for _ in 0..5 {
        client.send(b"on and on");
        world.pass(999);
    }
    assert!(!client.is_gone());
    world.pass(5 + LATE_MS);
    assert!(client.is_gone());
    assert_eq!(world.counter("close_timed_out"), 1);
}

#[test]
fn a_half_closed_client_gets_all_its_replies() {
    let mut world = World::calm();
    world.network.set_send_buffer_bytes(500);
    let mut client = world.open(0, "/echo");
    for serial in 0..200_u8 {
        client.send_frame(BINARY, &[serial; 700]);
    }
    client.connection.shutdown();
    world.exchange(&mut client);
    let expected: Vec<Vec<u8>> = (0..200).map(|serial| vec![serial; 700]).collect();
    client.assert_received(&expected);
    assert!(client.ended_well() && client.is_gone());
    assert_eq!(client.received.close(), None);
}

#[test]
fn a_failing_connection_never_tears_a_frame() {
    // Small and large replies, split anywhere by the socket, then a protocol error: the client must
    // receive a prefix of the replies, in whole frames, and the close frame.
    for room in (10..3_000).step_by(37) {
        let mut world = World::calm();
        world.network.set_send_buffer_bytes(room.max(200));
        let mut client = world.open(0, "/echo");
        world.network.set_send_buffer_bytes(room);
        let payloads: Vec<Vec<u8>> =
            (1..=40_u8).map(|serial| vec![serial; usize::from(serial % 3) * 2_500 + 9]).collect();
        let mut bytes: Vec<u8> =
            payloads.iter().flat_map(|payload| crate::wire::frame(BINARY, payload)).collect();
        bytes.extend(client_frame(FIN | 3, b"no such opcode", [0; 4]));
        client.send(&bytes[..30_000]);
        world.settle();
        client.read(room * 3);
        client.send(&bytes[30_000..]);
        world.exchange(&mut client);
        client.assert_received_first(&payloads);
        assert_eq!(client.received.close_code(), Some(1002), "room {room}");
        assert!(client.ended_well(), "room {room}");
    }
}

#[test]
fn a_peer_closed_by_another_during_its_own_protocol_error_receives_one_close_frame() {
    for room in [1, 64 << 10] {
        let mut world = World::calm();
        let mut first = world.open(0, "/relay");
        let mut second = world.open(0, "/relay");
        first.send_frame(TEXT, b"pair");
        world.exchange(&mut first);
        world.network.set_send_buffer_bytes(room);
        // The second peer has the first closed, and the pair rule closes the second while it breaks
        // a rule itself.
        let mut bytes = crate::wire::frame(TEXT, b"close");
        bytes.extend(b"\x81\x03abc");
        bytes.resize(400_000, b'?');
        second.send(&bytes);
        world.exchange(&mut second);
        world.exchange(&mut first);
        assert_eq!(first.received.close_code(), Some(4000));
        assert_eq!(second.received.close_code(), Some(4004));
        assert!(first.ended_well() && second.ended_well());
    }
}

#[test]
fn effects_of_on_close_are_done_in_the_turn_in_which_a_reset_is_found() {
    // Sometimes only the write at the end of the turn meets the reset; the effects of `on_close` must
    // not wait for a later event.
    let mut setup = server(|server| server.loops = 2);
    setup.faults.partial_waits = 100;
    let mut world = World::new(&setup);
    let mut listener = world.open(0, "/relay");
    let pusher = world.open(1, "/relay");
    for round in 1..=50 {
        let lost = world.open(0, "/relay");
        pusher.send_frame(TEXT, b"cast 1");
        world.server.step().unwrap();
        listener.send_frame(PONG, b"");
        lost.connection.reset();
        world.exchange(&mut listener);
        assert_eq!(listener.received.frames.len(), 1 + round);
    }
}
