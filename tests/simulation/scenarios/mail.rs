//! Mail between loops under pressure: what waits is bounded, nothing is lost, full mailboxes never
//! wait for each other, and a loop that has ended holds no other up.

use std::sync::Arc;

use tidegate::reactor::{DrainTerms, LoopCommand};
use tidegate::services::{
    Effects, LoopSite, Message, Order, Peer, RouteOptions, Service, ServiceMessage,
};
use tidegate::ws::EncodedFrame;

use super::server;
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::{Setup, World, socket};

/// The loop that all publications of `/broadcast` go through.
pub(super) fn home_of_broadcast(loops: usize) -> usize {
    (0..loops)
        .find(|index| {
            let mut world = World::new(&server(|server| server.loops = loops));
            world.open(*index, "/broadcast").send_frame(TEXT, b"whose is it?");
            world.server.step_loop(*index).unwrap();
            world.counter("publications") == 1
        })
        .unwrap()
}

/// A home loop whose publications come in faster than a slow third loop takes them. Its own
/// connections cause none of them, so pausing those would help nothing.
#[test]
fn the_outbox_of_a_topics_home_is_bounded_when_a_loop_is_slow() {
    const LOOPS: usize = 3;
    const ITEMS_MAX: usize = 16;
    let home = home_of_broadcast(LOOPS);
    let (fast, slow) = ((home + 1) % LOOPS, (home + 2) % LOOPS);
    let mut world = World::new(&server(|server| {
        server.loops = LOOPS;
        server.items_max = ITEMS_MAX;
        server.connections.receive_buffer_bytes = 1_000;
    }));
    let mut listener = world.open(slow, "/broadcast");
    let mut publisher = world.open(fast, "/broadcast");
    let count = 5_000;
    // Too long to travel together.
    let text = |serial: usize| format!("{serial} {}", "x".repeat(1_100)).into_bytes();
    let expected: Vec<Vec<u8>> = (0..count).map(text).collect();
    expected.iter().for_each(|text| publisher.send_frame(TEXT, text));

    let (mut peak_items, mut peak_waiting) = (0, 0);
    for round in 0..3_000 {
        world.server.step_loop(fast).unwrap();
        world.server.step_loop(home).unwrap();
        publisher.read_all();
        if round % 10 == 0 {
            world.server.step_loop(slow).unwrap();
            listener.read_all();
        }
        world.skip(1);
        let state = world.server.state(home).unwrap();
        peak_items = peak_items.max(state.outbox_items);
        // Each publication is a message to the home and one from it to each of the others.
        let waiting = 3 * world.counter("publications") - world.counter("mail_in");
        peak_waiting = peak_waiting.max(waiting);
    }
    // The credit, and what one batch of forwarding messages leads to.
    assert!(peak_items <= ITEMS_MAX + 2 * 16, "{peak_items} messages in the outbox");
    assert!(peak_waiting <= 200, "{peak_waiting} messages wait");
    assert!(world.counter("outbox_full") > 0);
    while world.counter("publications") < count as u64 {
        world.pass(100);
        publisher.read_all();
        listener.read_all();
    }
    world.exchange(&mut listener);
    listener.assert_received(&expected);
    assert_eq!(world.server.state(home).unwrap().outbox_items, 0);
}

/// Has every message go round: the next loop is told of it, publishes it to all, and answers; the
/// answer goes to the client by way of the loop after next.
struct Ring {
    site: LoopSite,
}

struct Told(Peer, String);
struct Answered(Peer, String);

impl Service for Ring {
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        effects.subscribe(peer, &"all".into());
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let text = message.text().unwrap().to_owned();
        let held_bytes = text.len();
        let next = (self.site.index + 1) % self.site.count;
        effects.tell(next, ServiceMessage::holding(Told(peer, text), held_bytes));
    }

    fn on_service_message(
        &mut self,
        from: u16,
        message: ServiceMessage,
        effects: &mut Effects<'_>,
    ) {
        match message.downcast::<Told>() {
            Ok(told) => {
                let Told(peer, text) = *told;
                let public = format!("all {text}");
                effects.publish(&"all".into(), EncodedFrame::text(&public), Order::Sender);
                let held_bytes = text.len();
                effects.answer(from, ServiceMessage::holding(Answered(peer, text), held_bytes));
            }
            Err(message) => {
                let Answered(peer, text) = *message.downcast::<Answered>().unwrap();
                effects.send(peer, EncodedFrame::text(&text));
            }
        }
    }
}

fn ring(setup: &Setup) -> World {
    World::serving(setup, |journal| {
        let options = RouteOptions::default();
        vec![socket("/ring", &options, journal, |_, site| Ring { site })]
    })
}

/// The texts that came, without or with those that went to all.
fn texts(client: &Client, is_public: bool) -> Vec<String> {
    let texts = client.received.data().iter();
    let texts = texts.map(|frame| String::from_utf8(frame.payload.clone()).unwrap());
    texts.filter(|text| text.starts_with("all ") == is_public).collect()
}

#[test]
fn a_ring_of_full_mailboxes_moves_on_and_loses_nothing() {
    const COUNT: usize = 50;
    let text = |number: usize, serial: usize| format!("{number} {serial} {}", "x".repeat(1_000));
    for (seed, loops, items_max, mail_bytes_max) in
        [(1, 2, 1, 1 << 20), (2, 3, 1, 1 << 20), (3, 4, 2, 100), (4, 4, 64, 1_000), (5, 3, 2, 1)]
    {
        let mut setup = server(|server| {
            server.loops = loops;
            server.items_max = items_max;
            server.mail_bytes_max = mail_bytes_max;
            server.mail_per_turn = 3;
            server.connections.receive_buffer_bytes = 512;
            server.connections.reads_per_turn = 1;
        });
        setup.seed = seed;
        setup.faults.partial_waits = 50;
        let mut world = ring(&setup);
        let mut clients: Vec<Client> =
            (0..2 * loops).map(|serial| world.open(serial % loops, "/ring")).collect();
        for serial in 0..COUNT {
            for (number, client) in clients.iter().enumerate() {
                client.send_frame(TEXT, text(number, serial).as_bytes());
            }
        }
        let mut bounded = 0;
        for _ in 0..40_000 {
            world.server.step().unwrap();
            world.skip(1);
            let states = (0..loops).map(|index| world.server.state(index).unwrap());
            bounded = bounded.max(states.map(|state| state.outbox_items).max().unwrap());
            clients.iter_mut().for_each(|client| {
                client.read_all();
            });
            if clients.iter().all(|client| client.received.data().len() == COUNT * (2 * loops + 1))
            {
                break;
            }
        }
        // For each of two clients two reads of 4 KiB, and what a batch of 3 forwarding messages, and
        // of 3 terminal ones, leads to.
        assert!(
            bounded <= items_max + 2 * 2 * 5 + 3 * loops + 3,
            "seed {seed}: {bounded} messages in an outbox"
        );
        assert!(world.counter("outbox_full") > 0, "seed {seed}: nothing was full");
        for (number, client) in clients.iter().enumerate() {
            let own = (0..COUNT).map(|serial| text(number, serial));
            assert!(texts(client, false).into_iter().eq(own), "seed {seed}: client {number}");
            let public = texts(client, true);
            assert_eq!(public.len(), COUNT * 2 * loops, "seed {seed}: client {number}");
            for other in 0..clients.len() {
                let start = format!("all {other} ");
                let from = public.iter().filter(|text| text.starts_with(&start));
                let serials =
                    from.map(|text| text.split(' ').nth(2).unwrap().parse::<usize>().unwrap());
                assert!(serials.eq(0..COUNT), "seed {seed}: {other} to {number}, out of order");
            }
        }
        world.pass(1_000);
        assert!((0..loops).all(|index| world.server.state(index).unwrap().outbox_items == 0));
    }
}

#[test]
fn what_waits_is_bounded_in_bytes_and_a_larger_message_still_passes() {
    const BYTES_MAX: usize = 20_000;
    let mut world = World::new(&server(|server| {
        server.loops = 2;
        server.items_max = 10_000;
        server.mail_bytes_max = BYTES_MAX;
        server.connections.receive_buffer_bytes = 8_192;
        server.connections.reads_per_turn = 1;
    }));
    let pusher = world.open(0, "/relay");
    let mut reader = world.open(1, "/relay");
    let texts: Vec<String> = (0..500)
        .map(|serial| {
            let bytes = if serial % 100 == 99 { 50_000 } else { 2_000 };
            format!("cast 1 {serial} {}", "x".repeat(bytes))
        })
        .collect();
    texts.iter().for_each(|text| pusher.send_frame(TEXT, text.as_bytes()));
    let mut peak = 0;
    for round in 0..4_000 {
        world.server.step_loop(0).unwrap();
        if round % 4 == 0 {
            world.server.step_loop(1).unwrap();
            reader.read_all();
        }
        world.skip(1);
        peak = peak.max(world.server.state(0).unwrap().outbox_bytes);
    }
    assert!(peak > BYTES_MAX, "the limit was never reached: {peak}");
    // The credit, and what one more read brings, with the largest message.
    assert!(peak <= BYTES_MAX + 8_192 + 52_000, "{peak} bytes in the outbox");
    world.pass(5_000);
    world.exchange(&mut reader);
    assert_eq!(reader.received.data().len(), 1 + texts.len());
}

#[test]
fn a_loop_that_has_ended_holds_no_other_up() {
    let mut world = ring(&server(|server| {
        server.loops = 2;
        server.items_max = 2;
    }));
    let mut client = world.open(0, "/ring");
    let terms = DrainTerms::within_ms(1_000).at_once();
    world.server.command(1, LoopCommand::Drain { terms, progress: Arc::default() });
    world.pass(1_000);
    assert_eq!(world.server.state(1), None, "it has ended");
    for _ in 0..500 {
        client.send_frame(TEXT, b"to a loop that has ended");
    }
    world.pass(100);
    assert_eq!(world.counter("messages_in"), 500, "it is read");
    assert_eq!(world.server.state(0).unwrap().outbox_items, 0, "and nothing piles up");
    client.read_all();
    assert!(!client.is_gone() && client.received.close().is_none());
}

#[test]
fn a_service_that_speaks_by_itself_is_held_up_by_full_mailboxes() {
    /// Sends every peer ten messages each millisecond, by way of the other loop.
    struct Ticking(Vec<Peer>);
    impl Service for Ticking {
        fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
            effects.tell(0, Box::new(peer));
        }

        fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}

        fn on_service_message(&mut self, _: u16, message: ServiceMessage, _: &mut Effects<'_>) {
            self.0.push(*message.downcast::<Peer>().unwrap());
        }

        fn tick_ms(&self) -> Option<u64> {
            Some(1)
        }

        fn on_tick(&mut self, effects: &mut Effects<'_>) {
            for peer in &self.0 {
                (0..10).for_each(|_| effects.send(*peer, EncodedFrame::text("tick")));
            }
        }
    }
    let setup = server(|server| {
        server.loops = 2;
        server.items_max = 20;
    });
    let mut world = World::serving(&setup, |journal| {
        let options = RouteOptions::default();
        vec![socket("/ticking", &options, journal, |_, _| Ticking(Vec::new()))]
    });
    let mut client = world.connect(1);
    client.ask("/ticking");
    for _ in 0..20 {
        world.server.step().unwrap();
        world.skip(1);
    }
    let mut peak = 0;
    for round in 0..2_000 {
        world.server.step_loop(0).unwrap();
        if round % 50 == 0 {
            world.server.step_loop(1).unwrap();
            client.read_all();
        }
        world.skip(1);
        peak = peak.max(world.server.state(0).unwrap().outbox_items);
    }
    assert!(peak > 20 && peak <= 30, "{peak} messages in the outbox");
}
