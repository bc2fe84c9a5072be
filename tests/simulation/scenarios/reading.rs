//! Reads that end anywhere in a frame: messages are still delivered whole, once and in order.

use tidegate::sim::Random;

use super::server;
use crate::wire::{BINARY, FIN, client_frame};
use crate::world::{Setup, World};

/// Messages of very different sizes.
fn messages(random: &mut Random) -> Vec<Vec<u8>> {
    let sizes = [0, 9, 130, 1_500, 16_384, 40_000, 70_000];
    let mut message = || {
        let size = sizes[random.below(sizes.len())] + random.below(9);
        vec![random.next_u64().to_le_bytes()[0]; size]
    };
    (0..25).map(|_| message()).collect()
}

fn small_receive_buffer(bytes: usize) -> Setup {
    server(|server| server.connections.receive_buffer_bytes = bytes)
}

#[test]
fn messages_are_echoed_wherever_their_bytes_are_split() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let setup = small_receive_buffer([6_000, 30_000, 512 << 10][random.below(3)]);
        let mut world = World::new(&setup);
        let slow = random.percent(50);
        if slow {
            world.network.set_send_buffer_bytes(1 + random.below(60_000));
        }
        let mut client = world.open(0, "/echo");
        let messages = messages(&mut random);
        let mut bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| {
                client_frame(FIN | BINARY, message, [7, random.next_u64().to_le_bytes()[0], 0, 1])
            })
            .collect();
        while !bytes.is_empty() {
            let cut = (1 + random.below(100_000)).min(bytes.len());
            let rest = bytes.split_off(cut);
            client.send(&std::mem::replace(&mut bytes, rest));
            if random.percent(80) {
                world.settle();
            }
            if !slow || random.percent(30) {
                client.read_all();
            }
        }
        world.exchange(&mut client);
        client.assert_received(&messages);
        world.pass(11_000);
        assert_eq!(world.counter("pool_bytes_now"), 0, "seed {seed}");
    }
}

#[test]
fn frames_behind_a_large_message_are_answered_up_to_a_close_frame() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let large = client_frame(FIN | BINARY, &[5; 50_000], [1, 2, 3, 4]);
    client.send(&large[..30_000]);
    world.settle();
    let mut rest = large[30_000..].to_vec();
    rest.extend(client_frame(FIN | BINARY, b"before", [9; 4]));
    rest.extend(client_frame(0x88, &1000_u16.to_be_bytes(), [9; 4]));
    rest.extend(client_frame(FIN | BINARY, b"after", [9; 4]));
    client.send(&rest);
    world.exchange(&mut client);
    assert_eq!(client.payloads(), [&[5; 50_000][..], b"before"]);
    assert_eq!(client.received.close_code(), Some(1000));
    world.pass(11_000);
    assert_eq!(world.counter("pool_bytes_now"), 0);
}

#[test]
fn frames_behind_a_large_message_that_is_not_utf8_are_ignored() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    // Text whose second half is not UTF-8.
    let large = client_frame(0x81, &[[b'a'; 20_000], [0xFF; 20_000]].concat(), [1, 2, 3, 4]);
    client.send(&large[..15_000]);
    world.settle();
    let mut rest = large[15_000..].to_vec();
    rest.extend(client_frame(FIN | BINARY, b"after", [9; 4]));
    client.send(&rest);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1007));
    assert!(client.received.data().is_empty());
    world.pass(11_000);
    assert_eq!(world.counter("pool_bytes_now"), 0);
}
