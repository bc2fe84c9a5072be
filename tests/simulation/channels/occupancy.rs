//! What an observer is told of channels that get their first member and lose their last, on any loop.

use std::sync::Mutex;

use tidegate::services::channels::OccupancySettings;
use tidegate::services::{CloseReason, ObservedClient, RouteObserver};
use tidegate::timer::WallTime;

use super::*;

/// Keeps which channels were occupied and vacated.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl RouteObserver for Recorder {
    fn connected(&self, _: &ObservedClient<'_>) {}

    fn disconnected(&self, _: &ObservedClient<'_>, _: CloseReason) {}

    fn occupied(&self, channel: &str, _: WallTime) {
        self.0.lock().unwrap().push(format!("+{channel}"));
    }

    fn vacated(&self, channel: &str, _: WallTime) {
        self.0.lock().unwrap().push(format!("-{channel}"));
    }
}

const VACATED_MS: u64 = 1_000;
/// The service looks at it every 128 ms.
const LATE_MS: u64 = 256;

fn observed(seed: u64) -> (Arc<Recorder>, World) {
    let recorder = Arc::new(Recorder::default());
    let occupancy =
        Some(OccupancySettings { observer: Arc::clone(&recorder) as _, vacated_ms: VACATED_MS });
    let told = Namespace { occupancy: true, ..open_namespace("told") };
    let closed = Namespace { occupancy: true, ..Namespace::new("closed") };
    let own = settings([open_namespace(""), told, closed]);
    let world = world(&setup(3, seed), ChannelsSettings { occupancy, ..own });
    (recorder, world)
}

fn subscribe(world: &mut World, member: &mut Member, channel: &str) -> Value {
    member.ask(world, json!({ "subscribe": { "channel": channel } }))
}

fn unsubscribe(world: &mut World, member: &mut Member, channel: &str) {
    member.ask(world, json!({ "unsubscribe": { "channel": channel } }));
}

#[test]
fn the_first_member_of_all_loops_occupies_and_the_last_vacates() {
    let (recorder, mut world) = observed(1);
    let mut members: Vec<Member> =
        (0..3).map(|number| Member::connected(&mut world, number)).collect();
    for member in &mut members {
        subscribe(&mut world, member, "told:x");
        subscribe(&mut world, member, "plain");
    }
    assert_eq!(recorder.take(), ["+told:x"], "of other namespaces nothing is told");
    for member in &mut members[1..] {
        unsubscribe(&mut world, member, "told:x");
    }
    world.pass(VACATED_MS + LATE_MS);
    assert_eq!(recorder.take(), Vec::<String>::new());
    members[0].client.shutdown();
    world.pass(VACATED_MS - LATE_MS);
    assert_eq!(recorder.take(), Vec::<String>::new());
    world.pass(3 * LATE_MS);
    assert_eq!(recorder.take(), ["-told:x"]);
    subscribe(&mut world, &mut members[1], "told:x");
    assert_eq!(recorder.take(), ["+told:x"]);
}

#[test]
fn a_member_that_comes_back_at_once_says_nothing() {
    let (recorder, mut world) = observed(2);
    let mut member = Member::connected(&mut world, 0);
    let mut other = Member::connected(&mut world, 1);
    subscribe(&mut world, &mut member, "told:x");
    recorder.take();
    for _ in 0..10 {
        unsubscribe(&mut world, &mut member, "told:x");
        world.pass(VACATED_MS / 2);
        subscribe(&mut world, &mut other, "told:x");
        unsubscribe(&mut world, &mut other, "told:x");
        world.pass(VACATED_MS / 2);
        subscribe(&mut world, &mut member, "told:x");
    }
    world.pass(10 * VACATED_MS);
    assert_eq!(recorder.take(), Vec::<String>::new());
}

#[test]
fn a_client_that_is_refused_occupies_nothing() {
    let (recorder, mut world) = observed(3);
    let mut member = Member::connected(&mut world, 0);
    let reply = subscribe(&mut world, &mut member, "closed:x");
    assert!(reply["error"].is_object(), "{reply}");
    world.pass(2 * VACATED_MS);
    assert_eq!(recorder.take(), Vec::<String>::new());
}

/// As many a turn may tell.
const TOLD_AT_ONCE_MAX: usize = 600;

#[test]
fn channels_that_are_left_together_are_told_in_parts_and_in_their_order() {
    let recorder = Arc::new(Recorder::default());
    let occupancy =
        Some(OccupancySettings { observer: Arc::clone(&recorder) as _, vacated_ms: VACATED_MS });
    let told = Namespace { occupancy: true, ..open_namespace("told") };
    let mut world = world(&setup(1, 4), ChannelsSettings { occupancy, ..settings([told]) });
    let mut members: Vec<Member> = (0..30).map(|_| Member::connected(&mut world, 0)).collect();
    let mut returner = Member::connected(&mut world, 0);
    let mut names = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        for channel in 0..100 {
            let name = format!("told:{number}-{channel}");
            member.send(json!({ "subscribe": { "channel": name } }));
            names.push(name);
        }
        assert_eq!(member.messages(&mut world).len(), 100);
    }
    assert_eq!(recorder.take().len(), names.len());
    for member in &members {
        member.client.connection.reset();
        world.settle();
    }
    assert_eq!(recorder.take(), Vec::<String>::new());
    world.skip(VACATED_MS);
    let back = names.pop().unwrap();
    let (mut all, mut parts) = (Vec::new(), 0);
    while world.step().unwrap() {
        let part = recorder.take();
        assert!(part.len() <= TOLD_AT_ONCE_MAX, "{} in a turn", part.len());
        if parts == 0 && !part.is_empty() {
            // Its end is not told yet.
            returner.send(json!({ "subscribe": { "channel": back } }));
        }
        parts += usize::from(!part.is_empty());
        all.extend(part);
    }
    assert!(parts >= 5, "{parts} parts");
    let found: Vec<&str> = all.iter().map(|own| own.strip_prefix('-').unwrap()).collect();
    assert_eq!(found, names);
    // It has a member, and its end was never told.
    world.pass(2 * VACATED_MS);
    assert_eq!(recorder.take(), Vec::<String>::new());
    returner.client.shutdown();
    world.pass(2 * VACATED_MS);
    assert_eq!(recorder.take(), [format!("-{back}")]);
}
