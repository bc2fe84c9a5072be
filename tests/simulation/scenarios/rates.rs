//! What a client may send: rates of messages, bytes and control frames, fragments of a message, and the
//! time without a message.

use tidegate::rate::Rate;
use tidegate::services::{MessageLimits, RatePolicy};
use tidegate::sim::Random;

use super::{LATE_MS, server};
use crate::client::Client;
use crate::identity::QueryCheck;
use crate::wire::{CONTINUATION, FIN, PING, PONG, TEXT, client_frame};
use crate::world::{Setup, World, routes};

fn limited(change: impl FnOnce(&mut MessageLimits)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    setup
}

fn messages(per_s: u32, burst: u32, policy: RatePolicy) -> Setup {
    limited(|limits| {
        limits.messages = Some(Rate { per_s, burst });
        limits.policy = policy;
    })
}

/// Passes `ms` while the client gives signs of life that are no messages.
fn stay(world: &mut World, client: &mut Client, ms: u64) {
    for _ in 0..ms / 5_000 {
        client.send_frame(PONG, b"");
        world.pass(5_000);
        world.exchange(client);
    }
}

/// The bucket that a rate is about, with a timer that drains it millisecond by millisecond.
struct Shadow {
    rate: Rate,
    level: u64,
    now: u64,
}

impl Shadow {
    fn new(rate: Rate, now: u64) -> Self {
        Self { rate, level: 0, now }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            let drained = |at: u64| at * u64::from(self.rate.per_s) / 1000;
            let drops = drained(self.now + 1) - drained(self.now);
            self.level = self.level.saturating_sub(drops);
            self.now += 1;
        }
    }

    fn takes(&mut self, units: u64) -> bool {
        let takes = self.level < u64::from(self.rate.burst);
        self.level += if takes { units } else { 0 };
        takes
    }
}

/// What happens in a run of bursts.
enum Step<'s> {
    /// A text is sent at this time.
    Sent(&'s str, u64),
    /// The client has read what came.
    Read(&'s World, &'s Client),
}

/// Random bursts of numbered texts at random times. Gives how many.
fn bursts(
    seed: u64,
    world: &mut World,
    client: &mut Client,
    mut each: impl FnMut(Step<'_>),
) -> u32 {
    let mut random = Random::new(seed);
    let mut count = 0;
    for _ in 0..30 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(25) {
            let text = format!("{count} {}", "x".repeat(random.below(100)));
            bytes.extend(client_frame(TEXT | FIN, text.as_bytes(), [7; 4]));
            each(Step::Sent(&text, world.now()));
            count += 1;
        }
        client.send(&bytes);
        world.exchange(client);
        each(Step::Read(world, client));
        let ms = [1, 20, 300, 2_000][random.below(4)];
        world.pass(1 + random.below(ms) as u64);
        world.exchange(client);
        each(Step::Read(world, client));
    }
    count
}

#[test]
fn a_connection_above_its_rate_waits_and_loses_nothing() {
    for seed in 0..40 {
        let mut random = Random::new(1_000 + seed);
        let per_s = 1 + u32::try_from(random.below(100)).unwrap();
        let burst = per_s / 8 + 2 + u32::try_from(random.below(20)).unwrap();
        let mut world = World::new(&Setup { seed, ..messages(per_s, burst, RatePolicy::Pause) });
        let mut client = world.open(0, "/echo");
        let begun = world.now();
        let mut all: Vec<String> = Vec::new();
        let mut waiting: Vec<u64> = Vec::new();
        // When each may be delivered at the soonest.
        let mut soonest: Vec<u64> = Vec::new();
        let mut shadow = Shadow::new(Rate { per_s, burst }, begun);
        bursts(seed, &mut world, &mut client, |step| match step {
            Step::Sent(text, now) => {
                all.push(text.to_owned());
                waiting.push(now);
            }
            Step::Read(world, client) => {
                while soonest.len() < waiting.len() {
                    let at = waiting[soonest.len()].max(soonest.last().copied().unwrap_or(0));
                    shadow.pass(at.saturating_sub(shadow.now));
                    while !shadow.takes(1) {
                        shadow.pass(1);
                    }
                    soonest.push(shadow.now);
                }
                let count = client.received.data().len();
                let most = soonest.iter().filter(|at| **at <= world.now()).count();
                let least = soonest.iter().filter(|at| **at + LATE_MS <= world.now()).count();
                assert!((least..=most).contains(&count), "{seed}: {least} {count} {most}");
            }
        });
        let left = soonest.last().copied().unwrap_or(0).saturating_sub(world.now());
        world.pass(left + LATE_MS);
        world.exchange(&mut client);
        client.assert_received(&all);
        assert!(world.counter("rate_pauses") > 0 || all.len() <= burst as usize, "{seed}");
        assert_eq!(world.counter("rate_dropped"), 0);
    }
}

#[test]
fn bytes_above_a_rate_wait_too_and_a_long_message_is_let_through() {
    let rate = Rate { per_s: 1_000, burst: 2_000 };
    let mut world = World::new(&limited(|limits| limits.bytes = Some(rate)));
    let mut client = world.open(0, "/echo");
    let payloads = [vec![b'a'; 10_000], vec![b'b'; 1], vec![b'c'; 1]];
    let frames = payloads.iter().flat_map(|own| client_frame(TEXT | FIN, own, [1; 4]));
    client.send(&frames.collect::<Vec<u8>>());
    world.exchange(&mut client);
    client.assert_received(&payloads[..1]);
    // 8,001 are to drain, so that there is room for one more.
    world.pass(8_000 - LATE_MS);
    world.exchange(&mut client);
    client.assert_received(&payloads[..1]);
    world.pass(2 * LATE_MS + 2);
    world.exchange(&mut client);
    client.assert_received(&payloads);
}

#[test]
fn what_is_above_a_rate_is_dropped_where_the_route_says_so() {
    for seed in 0..40 {
        let mut random = Random::new(2_000 + seed);
        let per_s = 1 + u32::try_from(random.below(100)).unwrap();
        let burst = 1 + u32::try_from(random.below(20)).unwrap();
        let mut world = World::new(&Setup { seed, ..messages(per_s, burst, RatePolicy::Drop) });
        let mut client = world.open(0, "/echo");
        let mut shadow = Shadow::new(Rate { per_s, burst }, world.now());
        let mut taken: Vec<String> = Vec::new();
        let count = bursts(seed, &mut world, &mut client, |step| match step {
            Step::Sent(text, now) => {
                shadow.pass(now - shadow.now);
                if shadow.takes(1) {
                    taken.push(text.to_owned());
                }
            }
            Step::Read(..) => {}
        });
        client.assert_received(&taken);
        let dropped = u64::from(count) - taken.len() as u64;
        assert_eq!(world.counter("rate_dropped"), dropped, "{seed}");
    }
}

#[test]
fn the_first_message_above_a_rate_closes_where_the_route_says_so() {
    let mut world = World::new(&messages(2, 5, RatePolicy::Close));
    let mut client = world.open(0, "/echo");
    for _ in 0..5 {
        client.send_frame(TEXT, b"within");
    }
    world.exchange(&mut client);
    world.pass(500);
    client.send_frame(TEXT, b"one more");
    world.exchange(&mut client);
    client.assert_received(&[
        &b"within"[..],
        b"within",
        b"within",
        b"within",
        b"within",
        b"one more",
    ]);
    assert!(!client.connection.has_ended());
    client.send_frame(TEXT, b"too many");
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1008));
    assert_eq!(&client.received.close().unwrap().payload[2..], b"more than the rate allows");
    assert!(client.ended_well());
    assert_eq!((client.received.data().len(), world.counter("closed_over_rate")), (6, 1));
}

/// Its pongs lie behind messages that are not read yet.
#[test]
fn a_connection_that_waits_is_not_asked_for_signs_of_life_that_it_cannot_give() {
    let mut world = World::new(&messages(1, 2, RatePolicy::Pause));
    let mut client = world.open(0, "/echo");
    for number in 0..300 {
        client.send_frame(TEXT, format!("{number}").as_bytes());
    }
    for _ in 0..300 {
        world.pass(1_000);
        let before = client.received.pings;
        world.exchange(&mut client);
        for _ in before..client.received.pings {
            client.send_frame(PONG, b"");
        }
    }
    assert!(!client.connection.has_ended());
    assert_eq!(client.received.data().len(), 300);
}

#[test]
fn a_flood_of_pings_is_answered_as_fast_as_the_rate_allows() {
    let rate = Rate { per_s: 100, burst: 200 };
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let ping = client_frame(PING | FIN, b"flood", [3; 4]);
    let begun = world.now();
    client.send(&ping.repeat(1_000));
    for _ in 0..100 {
        world.pass(100);
        world.exchange(&mut client);
        let most = u64::from(rate.burst) + (world.now() - begun) / 10;
        let count = client.received.frames.len() as u64;
        assert!(count <= most && (count == 1_000 || count + 20 >= most), "{count} of {most}");
    }
    assert_eq!(client.received.frames.len(), 1_000);
    assert!(client.received.frames.iter().all(|frame| frame.opcode == PONG));
    assert!(world.counter("rate_pauses") > 0);
    // Nothing is remembered of it for ever, and nothing was charged.
    assert_eq!(world.counter("pool_bytes_now"), 0);
}

#[test]
fn pings_above_the_rate_close_or_stay_unanswered_where_the_route_says_so() {
    for policy in [RatePolicy::Close, RatePolicy::Drop] {
        let mut world = World::new(&limited(|limits| limits.policy = policy));
        let mut client = world.open(0, "/echo");
        client.send(&client_frame(PING | FIN, b"", [3; 4]).repeat(250));
        client.send_frame(TEXT, b"and a message");
        world.exchange(&mut client);
        let pongs = client.received.data().iter().filter(|frame| frame.opcode == PONG).count();
        assert_eq!(pongs, 200);
        if policy == RatePolicy::Close {
            assert_eq!(client.received.close_code(), Some(1008));
        } else {
            assert_eq!(client.received.frames.last().unwrap().payload, b"and a message");
            assert_eq!(world.counter("rate_dropped"), 50);
        }
    }
}

/// In one read or in many, with pings between and empty fragments among them.
#[test]
fn a_message_of_too_many_fragments_closes() {
    for (fragments, in_parts, payload) in [
        (4, false, &b"ab"[..]),
        (5, false, b"ab"),
        (4, true, b"ab"),
        (5, true, b""),
        (4, true, b""),
    ] {
        let mut world = World::new(&limited(|limits| limits.fragments_max = Some(4)));
        let mut client = world.open(0, "/echo");
        for _ in 0..3 {
            let mut bytes = client_frame(TEXT, payload, [9; 4]);
            for number in 2..=fragments {
                let fin = if number == fragments { FIN } else { 0 };
                bytes.extend(client_frame(PING | FIN, b"", [9; 4]));
                bytes.extend(client_frame(CONTINUATION | fin, payload, [9; 4]));
            }
            let part_bytes = if in_parts { 5 } else { bytes.len() };
            for part in bytes.chunks(part_bytes) {
                client.send(part);
                world.exchange(&mut client);
            }
        }
        let is_over = fragments > 4;
        assert_eq!(client.received.close_code(), is_over.then_some(1008), "{fragments} {in_parts}");
        assert_eq!(world.counter("closed_fragments"), u64::from(is_over));
        let texts = client.received.data().iter().filter(|frame| frame.opcode == TEXT).count();
        assert_eq!(texts, if is_over { 0 } else { 3 });
    }
}

#[test]
fn a_client_that_sends_no_message_is_closed_in_time() {
    let mut world = World::new(&limited(|limits| limits.message_idle_ms = Some(60_000)));
    let mut client = world.open(0, "/echo");
    stay(&mut world, &mut client, 50_000);
    client.send_frame(TEXT, b"here");
    stay(&mut world, &mut client, 55_000);
    // It comes in time, though it is read late.
    world.skip(4_000);
    client.send_frame(TEXT, b"still here");
    world.jump(10_000);
    world.exchange(&mut client);
    assert!(!client.connection.has_ended());
    client.assert_received(&[&b"here"[..], b"still here"]);
    stay(&mut world, &mut client, 55_000);
    assert!(!client.connection.has_ended());
    stay(&mut world, &mut client, 5_000);
    world.pass(LATE_MS);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1001));
    assert!(client.ended_well());
    assert_eq!(world.counter("closed_message_idle"), 1);
}

#[test]
fn a_reload_changes_rates_of_open_connections() {
    let setup = messages(1, 2, RatePolicy::Pause);
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    for number in 0..100 {
        client.send_frame(TEXT, format!("{number}").as_bytes());
    }
    world.exchange(&mut client);
    assert_eq!(client.received.data().len(), 2);
    // Faster.
    let faster = messages(10, 2, RatePolicy::Pause);
    let reloaded = routes(&faster, &world.journal);
    world.reload(|_| {}, &reloaded);
    world.pass(1_000);
    world.exchange(&mut client);
    let count = client.received.data().len();
    assert!((10..=12).contains(&count), "{count}");
    // Without any.
    let unlimited = routes(&Setup::default(), &world.journal);
    world.reload(|_| {}, &unlimited);
    world.pass(LATE_MS);
    world.exchange(&mut client);
    assert_eq!(client.received.data().len(), 100);
    stay(&mut world, &mut client, 100_000);
    assert_eq!(world.counter("pool_bytes_now"), 0);
    // From now on it may be idle for a minute.
    let idle = routes(&limited(|limits| limits.message_idle_ms = Some(60_000)), &world.journal);
    world.reload(|_| {}, &idle);
    stay(&mut world, &mut client, 55_000);
    assert!(!client.connection.has_ended());
    stay(&mut world, &mut client, 5_000);
    world.pass(LATE_MS);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1001));
}

/// 16 bytes, charged at twice that as tables grow by doubling.
#[test]
fn a_rate_costs_16_bytes_once_a_message_was_sent_and_nothing_before() {
    let mut world = World::new(&messages(10, 10, RatePolicy::Pause));
    let mut client = world.open(0, "/echo");
    assert_eq!(world.counter("pool_bytes_now"), 0);
    client.send_frame(TEXT, b"one");
    world.exchange(&mut client);
    world.pass(11_000);
    assert_eq!(world.counter("pool_bytes_now"), 32);
    client.send_close(1000);
    world.exchange(&mut client);
    world.pass(1);
    assert_eq!(world.counter("pool_bytes_now"), 0);
}

#[test]
fn lines_have_the_rates_of_their_route() {
    for (policy, lines) in [(RatePolicy::Pause, 2), (RatePolicy::Drop, 2), (RatePolicy::Close, 2)] {
        let mut setup = server(|server| server.line_route = Some("/echo"));
        setup.limits = messages(10, 2, policy).limits;
        let mut world = World::new(&setup);
        let client = world.connect_line(0);
        client.send(b"one\ntwo\nthree\nfour\n");
        world.settle();
        let expected = if policy == RatePolicy::Close {
            "one\ntwo\nmore than the rate allows\n"
        } else {
            "one\ntwo\n"
        };
        assert_eq!(client.received(), expected, "{lines}");
        world.pass(1_000);
        let later = client.received();
        match policy {
            RatePolicy::Pause => assert_eq!(later, "three\nfour\n"),
            RatePolicy::Drop => {
                assert_eq!((later.as_str(), world.counter("rate_dropped")), ("", 2))
            }
            RatePolicy::Close => assert_eq!(world.counter("closed_over_rate"), 1),
        }
    }
}

#[test]
fn what_a_user_sends_counts_with_all_connections_on_all_loops() {
    let rate = Rate { per_s: 10, burst: 20 };
    for seed in 0..20 {
        let mut setup = limited(|limits| limits.user_messages = Some(rate));
        setup.server.loops = 2;
        setup.identities = QueryCheck::list(&[&QueryCheck::new("staff")], false);
        let mut world = World::new(&Setup { seed, ..setup });
        let begun = world.now();
        let mut tabs: Vec<Client> =
            (0..4).map(|tab| world.open(tab % 2, "/echo?staff=yes")).collect();
        for (tab, client) in tabs.iter_mut().enumerate() {
            let text = |number: usize| format!("{tab} {number}");
            let frames = (0..15)
                .flat_map(|number| client_frame(TEXT | FIN, text(number).as_bytes(), [3; 4]));
            client.send(&frames.collect::<Vec<u8>>());
        }
        let mut received = 0;
        while received < 60 {
            tabs.iter_mut().for_each(|client| world.exchange(client));
            received = tabs.iter().map(|client| client.received.data().len()).sum();
            // A read of each of the loops may begin within the limit.
            let drained = usize::try_from((world.now() - begun) / 100).unwrap();
            let most = 20 + 15 + drained;
            assert!(received <= most, "{seed}: {received} of {most}");
            assert!(world.now() - begun < 8_000, "{seed}: {received}");
            world.pass(50);
        }
        for (tab, client) in tabs.iter().enumerate() {
            client.assert_received(
                &(0..15).map(|number| format!("{tab} {number}")).collect::<Vec<_>>(),
            );
        }
        assert!(world.counter("rate_pauses") > 0);
        assert_eq!(world.counter("rate_users_untracked"), 0);
    }
}
