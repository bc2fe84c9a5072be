//! A pool that some use up: they go, and not those who ask next.

use tidegate::work::WorkLimits;

use super::server;
use crate::client::{Client, LineClient};
use crate::wire::{
    BINARY, FIN, RSV1, TEXT, client_frame, frame, upgrade_request, upgrade_request_offering_deflate,
};
use crate::world::{Setup, World};

const POOL_BYTES: usize = 64 << 20;

/// Clients that each send half of a message of 1 MiB, on these loops in turn.
fn hoarders(world: &mut World, loops: &[usize], count: usize) -> Vec<Client> {
    let half = &frame(BINARY, &[1; 1 << 20])[..600 << 10];
    let each = (0..count).map(|serial| world.open(loops[serial % loops.len()], "/echo"));
    let clients: Vec<Client> = each.collect();
    clients.iter().for_each(|client| client.send(half));
    world.settle();
    clients
}

/// Sends a message in three parts, and receives it.
fn speak_in_parts(world: &mut World, client: &mut Client, bytes: usize) {
    let payload = vec![7; bytes];
    let message = frame(BINARY, &payload);
    let before = client.payloads().len();
    for part in message.chunks(message.len().div_ceil(3)) {
        client.send(part);
        world.settle();
    }
    world.exchange(client);
    assert_eq!(client.received.close_code(), None);
    assert!(client.payloads().len() == before + 1 && client.payloads().ends_with(&[&payload[..]]));
}

/// 256 half-sent messages of 1 MiB in a pool of 64 MiB, which their clients mean to hold for ever.
#[test]
fn a_split_message_and_a_split_request_succeed_beside_256_half_sent_messages() {
    for loops in [1, 2] {
        let setup = server(|server| server.loops = loops);
        let all: Vec<usize> = (0..loops).collect();
        let mut world = World::new(&setup);
        let mut innocent = world.open(0, "/echo");
        let mut hoarders = hoarders(&mut world, &all, 256);
        for round in 0..20 {
            hoarders.iter().for_each(|client| client.send(&[1]));
            world.settle();
            speak_in_parts(&mut world, &mut innocent, [3_000, 100_000, 1 << 20][round % 3]);
            let mut late = world.connect(loops - 1);
            let request = upgrade_request("/echo");
            late.send(&request[..20]);
            world.settle();
            late.send(&request[20..]);
            world.exchange(&mut late);
            assert_eq!(late.received.status, Some(101));
            assert!(world.counter("pool_bytes_now") <= POOL_BYTES as u64);
        }
        let closed = world.counter("closed_evicted") + world.counter("closed_overload");
        assert!(world.counter("closed_evicted") > 0 && closed < 256, "the rest fits");
        assert_eq!(world.counter("refused_without_memory"), 0);
        hoarders.iter_mut().for_each(|client| {
            world.exchange(client);
            assert!([None, Some(1013)].contains(&client.received.close_code()));
            client.shutdown();
        });
        innocent.shutdown();
        world.pass(25_000);
        assert_eq!(world.counter("pool_bytes_now"), 0);
        assert_eq!(world.server.pool.available(), POOL_BYTES);
    }
}

/// The loop with the largest holders has nothing to do, and is woken.
#[test]
fn a_loop_that_sleeps_makes_room_for_another() {
    let mut world = World::new(&server(|server| server.loops = 2));
    let mut hoarders = hoarders(&mut world, &[0], 48);
    assert_eq!(world.counter("closed_evicted"), 0, "they fit");
    world.pass(1_000);
    let mut innocents: Vec<Client> = (0..12).map(|_| world.open(1, "/echo")).collect();
    let message = frame(BINARY, &[9; 1 << 20]);
    for part in message.chunks(500 << 10) {
        innocents.iter().for_each(|client| client.send(part));
        world.pass(100);
    }
    for client in &mut innocents {
        world.exchange(client);
        client.assert_received(&[[9; 1 << 20]]);
    }
    let evicted = usize::try_from(world.counter("closed_evicted")).unwrap();
    assert!((1..20).contains(&evicted), "{evicted}");
    // Of the same size, the oldest went.
    let gone: Vec<bool> = hoarders
        .iter_mut()
        .map(|client| {
            client.read_all();
            client.received.close_code() == Some(1013)
        })
        .collect();
    assert!(gone[..evicted].iter().all(|gone| *gone) && gone[evicted..].iter().all(|gone| !gone));
}

/// What waits for those who do not read counts like what they have sent half of.
#[test]
fn readers_of_a_trickle_go_when_memory_is_short() {
    let setup = server(|server| {
        server.pool_bytes_max = 8 << 20;
        server.connections.backlog_hard_bytes = 4 << 20;
    });
    let mut world = World::new(&Setup { message_bytes_max: Some(1 << 20), ..setup });
    world.network.set_send_buffer_bytes(1_000);
    let mut readers: Vec<Client> = (0..20).map(|_| world.open(0, "/echo")).collect();
    for client in &readers {
        client.send_frame(BINARY, &vec![3; 600 << 10]);
        world.settle();
    }
    for _ in 0..10 {
        world.pass(5_000);
        readers.iter_mut().for_each(|client| {
            client.read(100);
        });
    }
    assert!(world.counter("closed_evicted") > 0);
    assert_eq!(world.counter("closed_stalled"), 0);
    let mut innocent = world.open(0, "/echo");
    speak_in_parts(&mut world, &mut innocent, 100_000);
}

/// A compressed message that yields nothing for long holds its payload and room for what it might yield meanwhile.
#[test]
fn who_inflates_goes_before_who_asks_for_little() {
    let setup = server(|server| {
        server.pool_bytes_max = 6 << 20;
        server.connections.work = WorkLimits { turn: 200_000, share: 20_000 };
    });
    let mut world = World::new(&Setup { message_bytes_max: Some(1 << 20), ..setup });
    let mut innocent = world.open(0, "/echo");
    // Stored blocks without bytes (RFC 1951 §3.2.4).
    let mut payload = [0, 0, 0, 255, 255].repeat(60_000);
    payload.push(0);
    let message = client_frame(FIN | BINARY | RSV1, &payload, [1, 2, 3, 4]);
    let mut inflating = Vec::new();
    for _ in 0..12 {
        let mut client = world.connect(0);
        client.send(&upgrade_request_offering_deflate("/echo", ""));
        world.exchange(&mut client);
        inflating.push(client);
    }
    inflating.iter().for_each(|client| client.send(&message));
    let words = frame(BINARY, &[7; 300_000]);
    for part in words.chunks(50_000) {
        innocent.send(part);
        for _ in 0..10 {
            world.step().unwrap();
        }
    }
    assert!(world.counter("closed_evicted") > 0);
    world.exchange(&mut innocent);
    innocent.assert_received(&[&[7; 300_000][..]]);
    inflating.iter().for_each(Client::shutdown);
    world.pass(25_000);
    assert_eq!(world.counter("open_now"), 1);
}

/// A service that says much to a client that does not read, on a route whose policy drops nothing
/// before the pool is short.
#[test]
fn members_that_read_nothing_go_before_those_who_do() {
    let setup = server(|server| {
        server.pool_bytes_max = 4 << 20;
        server.connections.backlog_hard_bytes = 64 << 20;
    });
    let mut world = World::new(&setup);
    world.network.set_send_buffer_bytes(1_000);
    let mut deaf: Vec<Client> = (0..5).map(|_| world.open(0, "/broadcast")).collect();
    let mut attentive = world.open(0, "/broadcast");
    let mut speaker = world.open(0, "/broadcast");
    for _ in 0..400 {
        speaker.send_frame(TEXT, &[b'x'; 20_000]);
        world.exchange(&mut attentive);
        world.exchange(&mut speaker);
    }
    attentive.assert_received(&vec![[b'x'; 20_000]; 400]);
    for client in &mut deaf {
        world.exchange(client);
        assert_eq!(client.received.close_code(), Some(1013));
    }
    assert_eq!(world.counter("open_now"), 2);
    assert!(world.counter("pool_bytes_now") <= 4 << 20);
}

/// A pool just large enough for a message of the largest size is short while it holds one.
#[test]
fn one_holder_alone_may_have_what_it_needs() {
    let bytes = 1 << 20;
    let setup = server(|server| {
        server.pool_bytes_max = tidegate::pool::pool_bytes_for(bytes + 131);
    });
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    for _ in 0..3 {
        speak_in_parts(&mut world, &mut client, bytes);
    }
    assert_eq!(world.counter("closed_evicted"), 0);
}

#[test]
fn a_line_client_that_is_evicted_is_told_why() {
    let setup = server(|server| {
        server.line_route = Some("/echo");
        server.pool_bytes_max = 2 << 20;
    });
    let mut world = World::new(&setup);
    let clients: Vec<LineClient> = (0..4).map(|_| world.connect_line(0)).collect();
    for client in &clients {
        client.send(&vec![b'x'; 700_000]);
        world.settle();
    }
    let told = clients.iter().filter(|client| client.received().contains("memory is")).count();
    assert!(told > 0);
    let counted = world.counter("closed_evicted") + world.counter("closed_overload");
    assert_eq!(counted, told as u64);
}
