//! Context takeover: messages refer to those before them, the contexts are bounded and counted, and
//! both sides always agree on their content.

use tidegate::config::SlowPolicy;
use tidegate::output::context_bytes_max;
use tidegate::pool::pool_bytes_for;
use tidegate::services::{DeflateOptions, Effects, Message, Peer, RouteOptions, Service};
use tidegate::ws::{EncodedFrame, compressor_bytes};

use crate::client::Client;
use crate::wire::{FIN, RSV1, Sender, TEXT, client_frame, upgrade_request_offering_deflate};
use crate::world::{Setup, World, socket};

const BITS: u8 = 12;
const OFFER: &str = "; client_max_window_bits";

fn taking_over() -> DeflateOptions {
    DeflateOptions { bytes_min: 1, context_bits: Some(BITS), ..DeflateOptions::default() }
}

fn setup() -> Setup {
    Setup { deflate: taking_over(), ..Setup::default() }
}

/// A client of `path` that offered permessage-deflate with these parameters.
fn open(world: &mut World, path: &str, parameters: &str) -> Client {
    let mut client = world.connect(0);
    client.send(&upgrade_request_offering_deflate(path, parameters));
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    client
}

fn tick(serial: usize) -> Vec<u8> {
    let price = serial * 7919 % 9973;
    format!(
        "{{\"type\":\"tick\",\"symbol\":\"EURUSD\",\"serial\":{serial},\"price\":1.{price:04}}}"
    )
    .into_bytes()
}

/// A message long enough to shrink without context.
fn batch(serial: usize) -> Vec<u8> {
    [tick(serial), tick(serial + 1), tick(serial + 2)].concat()
}

fn compressed(sender: &mut Sender, message: &[u8]) -> Vec<u8> {
    client_frame(FIN | RSV1 | TEXT, &sender.deflated(message), [1, 2, 3, 4])
}

/// All clients leave; afterwards all memory must be released.
fn assert_all_is_released(world: &mut World, clients: Vec<Client>) {
    for client in clients {
        client.connection.shutdown();
    }
    world.pass(25_000);
    assert_eq!(world.server.connection_count(), 0);
    for gauge in ["contexts_in_now", "contexts_out_now", "context_bytes_now", "pool_bytes_now"] {
        assert_eq!(world.counter(gauge), 0, "{gauge}");
    }
    assert_eq!(world.server.pool.available(), Setup::default().server.pool_bytes_max);
}

#[test]
fn both_directions_keep_contexts_and_their_memory_is_counted() {
    let mut world = World::new(&setup());
    let mut client = open(&mut world, "/echo", OFFER);
    let answer = client.received.header("Sec-WebSocket-Extensions").unwrap().to_owned();
    assert_eq!(answer, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
    assert_eq!(world.counter("context_bytes_now"), 0, "no message yet");
    let mut sender = Sender::new(BITS);
    let mut expected = Vec::new();
    for serial in 0..200 {
        client.send(&compressed(&mut sender, &tick(serial)));
        expected.push(tick(serial));
        if serial % 7 == 0 {
            // An uncompressed message enters neither window.
            client.send_frame(TEXT, b"!");
            expected.push(b"!".to_vec());
        }
    }
    world.exchange(&mut client);
    client.assert_received(&expected);
    assert_eq!(world.counter("upgrades_takeover"), 1);
    assert_eq!([world.counter("contexts_in_now"), world.counter("contexts_out_now")], [1, 1]);
    assert_eq!(world.counter("context_bytes_now"), context_bytes_max(BITS) as u64);
    let [before, after] =
        ["before", "after"].map(|which| world.counter(&format!("deflated_bytes_{which}")));
    assert!(after * 3 < before, "{after} of {before}");
    // A client in the same slot starts with an empty context.
    client.send_close(1000);
    world.exchange(&mut client);
    assert_eq!(world.counter("context_bytes_now"), 0);
    client.connection.shutdown();
    world.settle();
    let mut successor = open(&mut world, "/echo", OFFER);
    successor.send(&compressed(&mut Sender::new(BITS), &tick(1)));
    world.exchange(&mut successor);
    successor.assert_received(&[tick(1)]);
    assert_all_is_released(&mut world, vec![client, successor]);
}

#[test]
fn a_client_that_declines_takeover_has_no_context() {
    let mut world = World::new(&setup());
    let offer = "; server_no_context_takeover; client_no_context_takeover";
    let mut client = open(&mut world, "/echo", offer);
    for serial in 0..20 {
        client.send(&compressed(&mut Sender::new(15), &tick(serial)));
    }
    world.exchange(&mut client);
    client.assert_received(&(0..20).map(tick).collect::<Vec<_>>());
    assert_eq!(world.counter("upgrades_takeover"), 0);
    assert_eq!(world.counter("context_bytes_now"), 0);
    assert_all_is_released(&mut world, vec![client]);
}

#[test]
fn the_context_of_our_messages_is_freed_when_idle_and_that_of_the_client_stays() {
    let mut world = World::new(&setup());
    let mut client = open(&mut world, "/echo", OFFER);
    let mut sender = Sender::new(BITS);
    for round in 0..3 {
        for serial in 0..20 {
            client.send(&compressed(&mut sender, &tick(serial)));
        }
        world.exchange(&mut client);
        assert_eq!(client.payloads().len(), 20 * (round + 1));
        assert_eq!([world.counter("contexts_in_now"), world.counter("contexts_out_now")], [1, 1]);
        world.pass(21_000);
        assert_eq!([world.counter("contexts_in_now"), world.counter("contexts_out_now")], [1, 0]);
        let bytes = world.counter("context_bytes_now");
        assert!(bytes <= context_bytes_max(BITS) as u64 / 2, "{bytes}");
        assert_eq!(world.counter("pool_bytes_now"), bytes, "compressors and buffers are gone");
    }
    assert_all_is_released(&mut world, vec![client]);
}

#[test]
fn a_publication_is_compressed_once_with_and_without_takeover() {
    let mut world = World::new(&setup());
    let mut members: Vec<Client> = (0..30)
        .map(|number| match number % 3 {
            0 => open(&mut world, "/broadcast", OFFER),
            1 => {
                let offer = "; server_no_context_takeover; server_max_window_bits=12";
                open(&mut world, "/broadcast", offer)
            }
            _ => world.open(0, "/broadcast"),
        })
        .collect();
    let mut sender = Sender::new(BITS);
    for serial in 0..50 {
        members[0].send(&compressed(&mut sender, &tick(serial).repeat(3)));
    }
    world.settle();
    let expected: Vec<Vec<u8>> = (0..50).map(|serial| tick(serial).repeat(3)).collect();
    for member in &mut members {
        member.read_all();
        member.assert_received(&expected);
    }
    assert_eq!(world.counter("deflated_messages"), 50);
    assert_eq!(world.counter("deflated_shared"), 50 * 19);
    assert_eq!([world.counter("contexts_in_now"), world.counter("contexts_out_now")], [1, 0]);
    assert_all_is_released(&mut world, members);
}

/// Returns every message to its sender and pushes it to all others.
#[derive(Default)]
struct Both {
    members: Vec<Peer>,
}

impl Service for Both {
    fn on_open(&mut self, peer: Peer, _: &mut Effects<'_>) {
        self.members.push(peer);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        effects.reply_text(&text);
        for member in self.members.iter().filter(|member| **member != peer) {
            effects.send(*member, EncodedFrame::text(&text));
        }
    }
}

#[test]
fn contexts_stay_in_step_when_pushes_between_replies_are_dropped() {
    for slow_policy in [SlowPolicy::Disconnect, SlowPolicy::DropNewest, SlowPolicy::KeepLatest] {
        let is_lossy = slow_policy != SlowPolicy::Disconnect;
        let mut setup = setup();
        setup.server.connections.backlog_hard_bytes = if is_lossy { 3_000 } else { 1 << 20 };
        let options =
            RouteOptions { slow_policy, deflate: Some(taking_over()), ..RouteOptions::default() };
        let mut world = World::serving(&setup, |journal| {
            vec![socket("/both", &options, journal, |_, _| Both::default())]
        });
        world.network.set_send_buffer_bytes(300);
        let mut talkers = [0, 1].map(|_| open(&mut world, "/both", OFFER));
        let mut senders = [0, 1].map(|_| Sender::new(BITS));
        for serial in 0..200 {
            for (number, (client, sender)) in talkers.iter().zip(&mut senders).enumerate() {
                client.send(&compressed(sender, &batch(1_000 * number + serial)));
            }
            world.settle();
            if serial % 50 == 49 {
                talkers.iter_mut().for_each(|client| world.exchange(client));
            }
        }
        // Each client decompresses with one stream that is never reset, so what arrived was
        // consistent. All replies arrive in order; pushes may be missing.
        for (number, client) in talkers.iter().enumerate() {
            let (mut next_reply, mut next_push) = (1_000 * number, 1_000 * (1 - number));
            for payload in client.payloads() {
                if payload == batch(next_reply) {
                    next_reply += 1;
                    continue;
                }
                let found = (next_push..next_push + 200).find(|serial| payload == batch(*serial));
                next_push = found.expect("a push in order") + 1;
            }
            assert_eq!(next_reply, 1_000 * number + 200);
        }
        let lost = world.counter("pushes_dropped");
        assert_eq!(lost > 0, is_lossy, "{slow_policy:?}");
        let received: usize = talkers.iter().map(|client| client.payloads().len()).sum();
        assert!(received as u64 >= 800 - lost || slow_policy == SlowPolicy::KeepLatest);
        assert!(received > 400, "{received}");
        assert_all_is_released(&mut world, talkers.into());
    }
}

#[test]
fn without_memory_for_a_compressor_messages_are_sent_uncompressed() {
    let mut setup = setup();
    setup.server.pool_bytes_max = 200 << 10;
    let mut world = World::new(&setup);
    let mut client = open(&mut world, "/echo", OFFER);
    let mut sender = Sender::new(BITS);
    for serial in 0..20 {
        client.send(&compressed(&mut sender, &tick(serial)));
    }
    world.exchange(&mut client);
    client.assert_received(&(0..20).map(tick).collect::<Vec<_>>());
    assert_eq!(world.counter("deflate_out_of_room"), 20);
    assert_eq!(world.counter("deflated_messages"), 0);
    assert_eq!([world.counter("contexts_in_now"), world.counter("contexts_out_now")], [1, 0]);
}

#[test]
fn without_memory_for_our_context_each_message_is_compressed_alone() {
    let message = "again and again ".repeat(20).into_bytes();
    let mut setup = setup();
    // Enough for a compressor and its output, but not for the smallest window beside them.
    setup.server.pool_bytes_max = pool_bytes_for(compressor_bytes(BITS) + message.len() + 500);
    let mut world = World::new(&setup);
    let mut client = open(&mut world, "/echo", OFFER);
    for _ in 0..20 {
        client.send_frame(TEXT, &message);
    }
    world.exchange(&mut client);
    client.assert_received(&vec![message; 20]);
    assert_eq!(world.counter("deflated_messages"), 20);
    assert_eq!(world.counter("contexts_out_now"), 0);
}

#[test]
fn without_memory_for_the_context_of_the_client_a_connection_is_closed_with_1013() {
    let mut setup = setup();
    // Enough for the decompressor, the buffer of one message, and a few windows.
    let pool_bytes = pool_bytes_for(72 << 10);
    setup.server.pool_bytes_max = pool_bytes;
    let mut world = World::new(&setup);
    let mut clients: Vec<Client> = (0..10).map(|_| open(&mut world, "/echo", OFFER)).collect();
    let mut senders: Vec<Sender> = clients.iter().map(|_| Sender::new(BITS)).collect();
    let message = "0123456789abcdef".repeat(250).into_bytes();
    for _ in 0..3 {
        for (client, sender) in clients.iter_mut().zip(&mut senders) {
            client.send(&compressed(sender, &message));
            world.exchange(client);
        }
    }
    let closed = clients.iter().filter(|client| client.received.close_code() == Some(1013)).count();
    let served = clients.iter().filter(|client| client.payloads().len() == 3).count();
    assert_eq!((closed + served, world.counter("closed_overload")), (10, closed as u64));
    assert!(closed > 0 && served > 0, "{closed} closed, {served} served");
    assert_eq!(world.counter("contexts_in_now"), served as u64);
    for client in &clients {
        assert!(client.received.close().is_none() || client.ended_well());
    }
    // Contexts are freed when their clients leave.
    for client in clients {
        client.connection.shutdown();
    }
    world.pass(25_000);
    assert_eq!(world.server.pool.available(), pool_bytes);
}

#[test]
fn inflating_short_messages_is_bounded_per_turn() {
    let mut setup = setup();
    setup.deflate.context_bits = Some(15);
    setup.server.connections.reads_per_turn = 1;
    let mut world = World::new(&setup);
    let mut client = open(&mut world, "/echo", OFFER);
    let mut sender = Sender::new(15);
    let mut expected: Vec<Vec<u8>> = (0..600).map(tick).collect();
    for message in &expected {
        client.send(&compressed(&mut sender, message));
    }
    world.exchange(&mut client);
    // Each message is a few bytes; what takes time is setting the dictionary, in both directions.
    let burst: Vec<Vec<u8>> = (0..2_000).map(|_| compressed(&mut sender, &tick(7))).collect();
    expected.extend((0..2_000).map(|_| tick(7)));
    client.send(&burst.concat());
    let mut most = 0;
    loop {
        let before = world.counter("deflated_messages");
        if !world.server.step().unwrap() {
            break;
        }
        most = most.max(world.counter("deflated_messages") - before);
    }
    // One batch when the readiness event comes, one from the run queue.
    assert!((10..40).contains(&most), "{most} in a turn");
    world.exchange(&mut client);
    client.assert_received(&expected);
    assert_all_is_released(&mut world, vec![client]);
}
