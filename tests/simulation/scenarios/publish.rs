//! Publications: every member receives each of them once, and all in one order, on whichever loop.

use super::server;
use crate::client::Client;
use crate::wire::{BINARY, TEXT};
use crate::world::World;

const LOOPS: usize = 3;

/// A world with `count` clients of `/broadcast`, spread over three loops.
fn members(seed: u64, count: usize) -> (World, Vec<Client>) {
    let mut setup = server(|server| server.loops = LOOPS);
    setup.seed = seed;
    let mut world = World::new(&setup);
    let clients = (0..count).map(|number| world.open(number % LOOPS, "/broadcast")).collect();
    (world, clients)
}

#[test]
fn every_message_reaches_every_member_once_and_in_one_order() {
    for seed in 0..20 {
        let (mut world, mut clients) = members(seed, 30);
        let mut sent = Vec::new();
        for round in 0..10 {
            for sender in [0, 1, 2, 7, 14] {
                let text = format!("{round} from {sender}");
                clients[sender].send_frame(TEXT, text.as_bytes());
                sent.push(text.into_bytes());
            }
            world.settle();
        }
        for client in &mut clients {
            client.read_all();
        }
        let received = clients[0].payloads();
        let mut sorted: Vec<Vec<u8>> = received.iter().map(|payload| payload.to_vec()).collect();
        sorted.sort();
        sent.sort();
        assert_eq!(sorted, sent, "seed {seed}");
        for client in &clients {
            assert_eq!(client.payloads(), received, "seed {seed}: another order");
        }
        assert_eq!(world.counter("publications"), 50);
    }
}

#[test]
fn kind_and_payload_of_a_message_are_kept() {
    let (mut world, mut clients) = members(0, 2);
    clients[0].send_frame(BINARY, &[0, 255, 7]);
    clients[1].send_frame(TEXT, "張三".as_bytes());
    world.settle();
    for client in &mut clients {
        client.read_all();
        let mut kinds: Vec<(u8, Vec<u8>)> = client
            .received
            .data()
            .iter()
            .map(|frame| (frame.opcode, frame.payload.clone()))
            .collect();
        kinds.sort();
        assert_eq!(kinds, [(TEXT, "張三".as_bytes().to_vec()), (BINARY, vec![0, 255, 7])]);
    }
}

#[test]
fn a_member_that_left_receives_nothing_more() {
    let (mut world, mut clients) = members(0, 9);
    for client in clients.drain(..6) {
        client.send_close(1000);
    }
    world.pass(100);
    clients[0].send_frame(TEXT, b"who is left?");
    world.settle();
    for client in &mut clients {
        client.read_all();
        client.assert_received(&[b"who is left?"]);
    }
    assert_eq!(world.counter("effects_ignored"), 0, "no publication to a closed connection");
}

#[test]
fn a_member_that_reads_nothing_does_not_delay_the_others() {
    let (mut world, mut clients) = members(0, 6);
    world.network.set_send_buffer_bytes(20_000);
    let mut expected = 0;
    for _ in 0..300 {
        clients[0].send_frame(TEXT, &[b'x'; 10_000]);
        world.settle();
        expected += 1;
        // The last one never reads.
        for client in &mut clients[..5] {
            world.exchange(client);
        }
    }
    for client in &clients[..5] {
        assert_eq!(client.payloads().len(), expected);
        assert_eq!(client.received.close_code(), None);
    }
    assert_eq!(world.counter("closed_slow"), 1);
    world.exchange(&mut clients[5]);
    assert_eq!(clients[5].received.close_code(), Some(4002));
}

#[test]
fn many_publications_in_one_turn_go_out_in_one_write_each() {
    let (mut world, mut clients) = members(0, 3);
    let burst: Vec<u8> = (0..16).flat_map(|_| crate::wire::frame(TEXT, b"tick")).collect();
    let before = world.counter("writes");
    clients[0].send(&burst);
    world.settle();
    for client in &mut clients {
        client.read_all();
        assert_eq!(client.payloads().len(), 16);
    }
    assert_eq!(world.counter("writes") - before, 3);
}
