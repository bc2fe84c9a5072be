//! Publications of one read are sent between loops as one batch, and arrive as if each had been
//! published alone.

use tidegate::config::SlowPolicy;
use tidegate::services::{Broadcast, DeflateOptions, Order, RouteOptions};
use tidegate::sim::Random;

use super::server;
use crate::client::Client;
use crate::wire::{BINARY, TEXT, frame, upgrade_request_offering_deflate};
use crate::world::{Setup, World, socket};

fn world(setup: &Setup, options: &RouteOptions) -> World {
    World::serving(setup, |journal| {
        vec![socket("/broadcast", options, journal, |_, _| Broadcast::new(Order::Topic))]
    })
}

fn open_compressed(world: &mut World, loop_index: usize) -> Client {
    let mut client = world.connect(loop_index);
    client.send(&upgrade_request_offering_deflate("/broadcast", "; server_max_window_bits=12"));
    world.exchange(&mut client);
    assert!(client.received.header("Sec-WebSocket-Extensions").is_some());
    client
}

/// Random texts, and the bytes of their frames, to be sent at once.
fn burst(random: &mut Random, serial: &mut usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let texts: Vec<Vec<u8>> = (0..random.below(50))
        .map(|_| {
            *serial += 1;
            let filling = [0, 30, 700, 1_400, 6_000][random.below(5)];
            format!("{serial} {}", "x".repeat(random.below(filling + 1))).into_bytes()
        })
        .collect();
    let bytes = texts.iter().flat_map(|text| frame(TEXT, text)).collect();
    (texts, bytes)
}

#[test]
fn every_kind_of_member_receives_every_message_in_order() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let setup = server(|server| {
            server.loops = 2;
            server.line_route = Some("/broadcast");
            server.connections.backlog_hard_bytes = 64 << 20;
        });
        let deflate = DeflateOptions {
            level: 1,
            bytes_min: [0, 500, 100_000][random.below(3)],
            context_bits: None,
        };
        let options = RouteOptions { deflate: Some(deflate), ..RouteOptions::default() };
        let mut world = world(&setup, &options);
        let mut plain = world.open(0, "/broadcast");
        let mut compressed = open_compressed(&mut world, 1);
        let line = world.connect_line(random.below(2));
        let mut speaker = world.open(random.below(2), "/broadcast");
        if random.percent(50) {
            world.network.set_send_buffer_bytes(1 + random.below(3_000));
        }
        let (mut sent, mut lines, mut serial) = (Vec::new(), String::new(), 0);
        for _ in 0..6 {
            let (texts, bytes) = burst(&mut random, &mut serial);
            sent.extend(texts);
            speaker.send(&bytes);
            for _ in 0..random.below(4) {
                world.settle();
                plain.read(random.below(9_000));
                compressed.read(random.below(9_000));
                speaker.read_all();
            }
        }
        for client in [&mut plain, &mut compressed, &mut speaker] {
            world.exchange(client);
            client.assert_received(&sent);
        }
        loop {
            world.settle();
            let more = line.received();
            if more.is_empty() {
                break;
            }
            lines.push_str(&more);
        }
        assert!(lines.lines().map(str::as_bytes).eq(sent.iter().map(Vec::as_slice)), "seed {seed}");
        assert_eq!(world.counter("publications"), sent.len() as u64);
    }
}

#[test]
fn a_binary_message_in_a_batch_reaches_websocket_members_only() {
    let mut world =
        world(&server(|server| server.line_route = Some("/broadcast")), &RouteOptions::default());
    let mut speaker = world.open(0, "/broadcast");
    let line = world.connect_line(0);
    let burst = [frame(TEXT, b"one"), frame(BINARY, &[2]), frame(TEXT, b"three")].concat();
    speaker.send(&burst);
    world.exchange(&mut speaker);
    speaker.assert_received(&[&b"one"[..], &[2], b"three"]);
    assert_eq!(line.received(), "one\nthree\n");
    assert_eq!(world.counter("pushes_dropped"), 1);
}

/// The messages received by a member that starts to read after a hundred messages were published, at
/// once or one by one, and the number of messages dropped.
fn received_late(policy: SlowPolicy, messages_max: usize, at_once: bool) -> (Vec<Vec<u8>>, u64) {
    let options = RouteOptions {
        backlog_messages_max: Some(messages_max),
        slow_policy: policy,
        ..RouteOptions::default()
    };
    let mut world = world(&Setup::default(), &options);
    let mut speaker = world.open(0, "/broadcast");
    let mut member = world.open(0, "/broadcast");
    // With a send buffer of one byte a member that does not read is blocked within its first
    // message.
    world.network.set_send_buffer_bytes(1);
    let texts = (1..=100).map(|serial| format!("text {serial}").into_bytes());
    let frames = texts.map(|text| frame(TEXT, &text));
    if at_once {
        speaker.send(&frames.collect::<Vec<_>>().concat());
        world.settle();
    } else {
        for frame in frames {
            speaker.send(&frame);
            world.settle();
        }
    }
    world.network.set_send_buffer_bytes(64 << 10);
    assert_eq!(member.read(1), 1);
    world.exchange(&mut speaker);
    world.exchange(&mut member);
    let received = member.payloads().iter().map(|payload| payload.to_vec()).collect();
    (received, world.counter("pushes_dropped") + world.counter("closed_slow"))
}

/// The naive model is the same run with messages sent one by one.
#[test]
fn marks_and_policies_count_each_message_of_a_batch() {
    for messages_max in [1, 2, 15, 16, 17, 31, 32, 33, 99, 100, 101] {
        for policy in [SlowPolicy::DropNewest, SlowPolicy::Disconnect] {
            let together = received_late(policy, messages_max, true);
            assert_eq!(
                together,
                received_late(policy, messages_max, false),
                "{policy:?} {messages_max}"
            );
            assert!(together.0.len() <= messages_max);
        }
        let (received, _) = received_late(SlowPolicy::KeepLatest, messages_max, true);
        assert_eq!(received.last().unwrap(), b"text 100");
        assert!(received.len() <= messages_max + 1, "{} of {messages_max}", received.len());
    }
}
