//! What is counted by route and by listener.

use tidegate::config::SlowPolicy;
use tidegate::metrics::{Labelled, RouteCounters};
use tidegate::sim::{Faults, Random};

use super::server;
use crate::client::Client;
use crate::operator::{all, close, send_text};
use crate::tls_end::TlsSetup;
use crate::wire::{BINARY, PING, TEXT};
use crate::world::{Setup, World};

/// `opened`, `closed`, and messages with their bytes, in and out, of a route over all loops.
fn counted(world: &World, label: &str) -> [u64; 6] {
    let of = |routes: &Labelled<RouteCounters>| -> [u64; 6] {
        let own = routes.iter().find(|own| &**own.label() == label).unwrap();
        let mut values = own.values().map(|(_, value)| value);
        std::array::from_fn(|_| values.next().unwrap())
    };
    let loops = world.server.metrics().iter().map(|own| of(&own.routes));
    loops.fold([0; 6], |sum, own| std::array::from_fn(|at| sum[at] + own[at]))
}

fn in_loops(loops: usize) -> Setup {
    server(|server| {
        server.loops = loops;
        server.line_route = Some("/broadcast");
    })
}

#[test]
fn messages_are_counted_by_route_each_way_and_control_frames_are_not() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    for payload in ["", "four", &"x".repeat(5_000)] {
        client.send_frame(TEXT, payload.as_bytes());
        client.send_frame(PING, b"ping");
    }
    world.exchange(&mut client);
    assert_eq!(counted(&world, "websocket /echo"), [1, 0, 3, 5_004, 3, 5_004]);
    assert_eq!(counted(&world, "websocket /broadcast"), [0; 6]);
    client.send_close(1000);
    world.exchange(&mut client);
    assert_eq!(counted(&world, "websocket /echo"), [1, 1, 3, 5_004, 3, 5_004]);
    let own = world.server.metrics()[0].routes.of("websocket /echo");
    assert_eq!(own.open_now(), 0);
    assert_eq!(world.counter("messages_in"), 3, "the sum over the routes");
}

#[test]
fn a_publication_counts_once_for_each_member_that_gets_it() {
    let mut world = World::new(&in_loops(3));
    let mut members: Vec<Client> =
        (0..150).map(|serial| world.open(serial % 3, "/broadcast")).collect();
    let line = world.connect_line(1);
    for _ in 0..20 {
        members[0].send_frame(TEXT, b"12345");
    }
    members[1].send_frame(BINARY, b"\x00\x01");
    for member in &mut members {
        world.exchange(member);
        assert_eq!(member.payloads().len(), 21);
    }
    assert_eq!(line.received().lines().count(), 20);
    let messages = 150 * 21 + 20;
    let bytes = 150 * (20 * 5 + 2) + 20 * 5;
    assert_eq!(counted(&world, "websocket /broadcast"), [151, 0, 21, 102, messages, bytes]);
}

#[test]
fn what_a_service_says_first_and_what_an_operator_says_count_for_the_route() {
    let mut world = World::calm();
    // Its greeting is its name.
    let mut client = world.open(0, "/relay");
    let greeting = client.payloads()[0].len() as u64;
    assert_eq!(send_text(&mut world, 0, &all(), "from outside"), 1);
    world.exchange(&mut client);
    assert_eq!(counted(&world, "websocket /relay"), [1, 0, 0, 0, 2, greeting + 12]);
    assert_eq!(close(&mut world, 0, &all()), 1);
    assert_eq!(counted(&world, "websocket /relay")[..2], [1, 1]);
}

/// By any policy, in any framing: what clients have received, and what was dropped, is what was counted.
#[test]
fn what_is_received_or_dropped_was_counted() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut setup = in_loops(1 + random.below(3));
        setup.seed = seed;
        setup.faults = Faults { short_writes: 30, partial_waits: 30, ..Faults::default() };
        setup.slow_policy = SlowPolicy::DropNewest;
        setup.backlog_messages_max = [None, Some(4)][random.below(2)];
        setup.deflate.bytes_min = [0, 1_000][random.below(2)];
        let mut world = World::new(&setup);
        world.network.set_send_buffer_bytes([300, 64 << 10][random.below(2)]);
        let loops = setup.server.loops;
        let mut members: Vec<Client> = (0..20)
            .map(|serial| match serial % 3 {
                0 => world.open(serial % loops, "/broadcast"),
                1 => world.open(serial % loops, "/echo"),
                _ => {
                    let mut client = world.connect(serial % loops);
                    client.send(&crate::wire::upgrade_request_offering_deflate("/broadcast", ""));
                    world.exchange(&mut client);
                    client
                }
            })
            .collect();
        let lines = [world.connect_line(0), world.connect_line(loops - 1)];
        for _ in 0..200 {
            let payload = vec![b"abcdefghijklmnopqrst"[random.below(20)]; random.below(200)];
            let sender = random.below(members.len());
            members[sender].send_frame([TEXT, BINARY][random.below(2)], &payload);
            if random.percent(20) {
                world.server.step().unwrap();
            }
        }
        let (mut received, mut bytes) = ([0; 2], [0; 2]);
        for _ in 0..4 {
            members.iter_mut().for_each(|member| world.exchange(member));
        }
        for (serial, member) in members.iter().enumerate() {
            let kind = usize::from(serial % 3 == 1);
            received[kind] += member.payloads().len() as u64;
            bytes[kind] += member.payloads().iter().map(|own| own.len() as u64).sum::<u64>();
        }
        for line in &lines {
            loop {
                world.settle();
                let text = line.received();
                if text.is_empty() {
                    break;
                }
                received[0] += text.matches('\n').count() as u64;
                bytes[0] += text.bytes().filter(|byte| *byte != b'\n').count() as u64;
            }
        }
        let [_, _, _, _, messages, message_bytes] = counted(&world, "websocket /broadcast");
        assert_eq!((messages, message_bytes), (received[0], bytes[0]), "seed {seed}");
        let [_, _, into, into_bytes, messages, message_bytes] = counted(&world, "websocket /echo");
        assert_eq!((messages, message_bytes), (received[1], bytes[1]), "seed {seed}");
        assert_eq!((into, into_bytes), (messages, message_bytes), "seed {seed}");
    }
}

#[test]
fn listeners_count_what_they_accept_and_the_handshakes_over_them() {
    let mut setup = in_loops(1);
    setup.tls = Some(TlsSetup::default());
    let mut world = World::new(&setup);
    let _open = [0, 1].map(|_| {
        let mut client = world.connect(0);
        client.ask("/echo");
        world.exchange(&mut client);
        client
    });
    let silent = world.connect(0);
    let _line = world.connect_line(0);
    world.settle();
    let counted: Vec<_> = world.server.metrics()[0]
        .listeners
        .iter()
        .map(|own| (own.label().to_string(), own.accepted.value(), own.tls_handshakes.value()))
        .collect();
    assert_eq!(counted, [("0".to_owned(), 3, 2), ("1".to_owned(), 1, 0)]);
    assert!(!silent.is_gone());
}
