//! Publications that come at once: they travel together and arrive as if each had come alone.

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
    assert!(client.heard.header("Sec-WebSocket-Extensions").is_some());
    client
}

/// Texts that a single read brings, and the bytes of that.
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
fn members_of_every_kind_hear_everything_in_its_order() {
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
        let (mut said, mut lines, mut serial) = (Vec::new(), String::new(), 0);
        for _ in 0..6 {
            let (texts, bytes) = burst(&mut random, &mut serial);
            said.extend(texts);
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
            client.assert_heard(&said);
        }
        loop {
            world.settle();
            let more = line.heard();
            if more.is_empty() {
                break;
            }
            lines.push_str(&more);
        }
        assert!(lines.lines().map(str::as_bytes).eq(said.iter().map(Vec::as_slice)), "seed {seed}");
        assert_eq!(world.counter("publications"), said.len() as u64);
    }
}

#[test]
fn a_binary_message_among_them_reaches_all_who_can_take_it() {
    let mut world =
        world(&server(|server| server.line_route = Some("/broadcast")), &RouteOptions::default());
    let mut speaker = world.open(0, "/broadcast");
    let line = world.connect_line(0);
    let burst = [frame(TEXT, b"one"), frame(BINARY, &[2]), frame(TEXT, b"three")].concat();
    speaker.send(&burst);
    world.exchange(&mut speaker);
    speaker.assert_heard(&[&b"one"[..], &[2], b"three"]);
    assert_eq!(line.heard(), "one\nthree\n");
    assert_eq!(world.counter("pushes_dropped"), 1);
}

/// What a member hears that reads only when a hundred messages were said, at once or one by one, and
/// how many it was not sent.
fn heard_late(policy: SlowPolicy, messages_max: usize, at_once: bool) -> (Vec<Vec<u8>>, u64) {
    let options = RouteOptions {
        backlog_messages_max: Some(messages_max),
        slow_policy: policy,
        ..RouteOptions::default()
    };
    let mut world = world(&Setup::default(), &options);
    let mut speaker = world.open(0, "/broadcast");
    let mut member = world.open(0, "/broadcast");
    // One byte at a time: whoever does not read is blocked with its first message begun.
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
    let heard = member.payloads().iter().map(|payload| payload.to_vec()).collect();
    (heard, world.counter("pushes_dropped") + world.counter("closed_slow"))
}

/// The naive twin is the same, said one by one.
#[test]
fn marks_and_policies_judge_each_message() {
    for messages_max in [1, 2, 15, 16, 17, 31, 32, 33, 99, 100, 101] {
        for policy in [SlowPolicy::DropNewest, SlowPolicy::Disconnect] {
            let together = heard_late(policy, messages_max, true);
            assert_eq!(
                together,
                heard_late(policy, messages_max, false),
                "{policy:?} {messages_max}"
            );
            assert!(together.0.len() <= messages_max);
        }
        let (heard, _) = heard_late(SlowPolicy::KeepLatest, messages_max, true);
        assert_eq!(heard.last().unwrap(), b"text 100");
        assert!(heard.len() <= messages_max + 1, "{} of {messages_max}", heard.len());
    }
}
