//! The events of joining, leaving and counting, checked against a naive model.

use tidegate::services::room::{LISTED_MAX, RELISTED_BELOW};
use tidegate::sim::Random;

use super::*;

/// The members of a room as a client derives them from the events that it receives.
#[derive(Debug, Default)]
pub(super) struct MemberView {
    pub(super) name: Option<String>,
    pub(super) count: u64,
    /// Each name as often as it is in the room; out of date while only counts are announced.
    pub(super) names: Vec<String>,
    pub(super) has_member_list: bool,
    /// Whether events may arrive before the list of members (`order = "sender"`).
    pub(super) may_receive_early: bool,
}

impl MemberView {
    /// Applies an event. Messages are ignored.
    pub(super) fn apply(&mut self, event: &Value) -> Result<(), String> {
        let name = || event["name"].as_str().map(str::to_owned);
        let kind = event["type"].as_str().unwrap_or_default();
        if !self.has_member_list
            && self.may_receive_early
            && event.get("name").is_none_or(|_| kind != "members")
        {
            return Ok(());
        }
        if !self.has_member_list && kind != "members" {
            return Err(format!("{event} before the list of members"));
        }
        match kind {
            "members" => {
                if let Some(names) = event["names"].as_array() {
                    self.names =
                        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
                }
                if event.get("name").is_some() {
                    self.has_member_list = true;
                    self.name = name();
                }
            }
            "joined" => self.names.push(name().ok_or("joined without a name")?),
            "left" => {
                let at = self.names.iter().position(|own| Some(own) == name().as_ref());
                self.names.swap_remove(at.ok_or_else(|| format!("{event}, but was not there"))?);
            }
            _ => return Ok(()),
        }
        self.count = event["count"].as_u64().ok_or("no count")?;
        self.names.sort_unstable();
        Ok(())
    }
}

fn view(world: &mut World, client: &mut Client) -> MemberView {
    let mut view = MemberView::default();
    for event in events(world, client) {
        view.apply(&event).unwrap();
    }
    view
}

fn kinds(world: &mut World, client: &mut Client) -> Vec<String> {
    let short = |event: Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        let name = event["name"].as_str().map_or(String::new(), |name| format!(" {name}"));
        format!("{kind}{name} {}", event["count"])
    };
    events(world, client).into_iter().map(short).collect()
}

#[test]
fn joining_and_leaving_is_announced_to_the_others() {
    let mut world = world(3, one_login());
    let mut alice = enter(&mut world, 0, "/chat?user=alice", ClientFormat::Events);
    let bob = enter(&mut world, 1, "/chat?user=bob", ClientFormat::Lines);
    let mut carol = enter(&mut world, 2, "/chat?user=carol", ClientFormat::Events);
    // A login that replaces another is not announced.
    let _bob_again = enter(&mut world, 2, "/chat?user=bob", ClientFormat::Events);
    bob.connection.shutdown();
    world.settle();
    carol.send_close(1000);
    assert_eq!(kinds(&mut world, &mut carol), ["members carol 3"]);
    let received = kinds(&mut world, &mut alice);
    assert_eq!(received, ["members alice 1", "joined bob 2", "joined carol 3", "left carol 2"]);
    assert_eq!(view(&mut world, &mut alice).names, ["alice", "bob"]);
}

#[test]
fn members_without_a_name_are_counted() {
    let mut world = world(2, RoomSettings { logins: Logins::One, ..first_text() });
    let mut alice = enter(&mut world, 0, "/chat", ClientFormat::Events);
    send_text(&alice, ClientFormat::Events, "alice");
    world.settle();
    let nameless = enter(&mut world, 1, "/chat", ClientFormat::Lines);
    let mut second = enter(&mut world, 1, "/chat", ClientFormat::Events);
    world.settle();
    send_text(&nameless, ClientFormat::Lines, "bob");
    world.settle();
    // Replaces a member that was counted as well.
    send_text(&second, ClientFormat::Events, "bob");
    world.settle();
    second.send_close(1000);
    let expected = [
        "members 1",
        "members alice 1",
        "members 2",
        "members 3",
        "joined bob 3",
        "members 2",
        "left bob 1",
    ];
    assert_eq!(kinds(&mut world, &mut alice), expected);
    let received = kinds(&mut world, &mut second);
    assert_eq!(received, ["members 3", "joined bob 3", "members bob 2"]);
}

#[test]
fn above_100_members_only_counts_are_announced() {
    let mut world = world(2, RoomSettings::default());
    let mut watcher = enter(&mut world, 0, "/chat?user=!", ClientFormat::Events);
    let crowd: Vec<Client> = (0..400)
        .map(|number| {
            asking(&world, number % 2, &format!("/chat?user=n{number:03}"), ClientFormat::Lines)
        })
        .collect();
    let received = kinds(&mut world, &mut watcher);
    let named = received.iter().filter(|event| event.starts_with("joined")).count();
    assert_eq!(named, LISTED_MAX - 1);
    assert!(received.len() < named + 80, "{} events", received.len());
    let mut late = enter(&mut world, 1, "/chat?user=late", ClientFormat::Events);
    let welcome = view(&mut world, &mut late);
    assert_eq!((welcome.count, welcome.names.len()), (402, LISTED_MAX));
    for client in &crowd[..350] {
        client.connection.reset();
    }
    let view = view(&mut world, &mut watcher);
    assert_eq!(view.count, 52);
    assert_eq!(view.names.len(), 52, "the list is whole again");
    let lists = events(&mut world, &mut watcher)
        .into_iter()
        .filter(|event| event["names"].is_array() && event.get("name").is_none())
        .map(|event| event["count"].as_u64())
        .collect::<Vec<_>>();
    assert_eq!(lists, [u64::try_from(RELISTED_BELOW).ok()]);
}

/// The counts that a watcher must receive: a naive model that recounts the room at each change.
fn expected_count_events(counts: &[usize]) -> Vec<usize> {
    let (mut announced, mut is_counted_only, mut events) = (1, false, Vec::new());
    for &count in counts {
        if is_counted_only {
            is_counted_only = count > 90
        } else {
            is_counted_only = count > 100
        }
        let difference = count.max(announced) - count.min(announced);
        let is_announced = !is_counted_only || difference as f64 > announced as f64 * 0.02;
        if is_announced {
            announced = count;
            events.push(count);
        }
    }
    events
}

#[test]
fn announced_counts_match_the_model() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let loops = 1 + random.below(3);
        let mut world = world(loops, RoomSettings::default());
        let mut watcher = enter(&mut world, 0, "/chat?user=!", ClientFormat::Events);
        let mut crowd: Vec<Client> = Vec::new();
        let mut counts = Vec::new();
        for number in 0..600 {
            // The room grows and shrinks through both bounds several times.
            let is_growing = (number / 150) % 2 == 0;
            if crowd.is_empty() || random.percent(if is_growing { 90 } else { 10 }) {
                let target = format!("/chat?user=n{}", random.below(500));
                crowd.push(enter(&mut world, random.below(loops), &target, ClientFormat::Lines));
            } else {
                let client = crowd.swap_remove(random.below(crowd.len()));
                client.connection.reset();
                world.settle();
            }
            counts.push(crowd.len() + 1);
        }
        let announced: Vec<usize> = events(&mut world, &mut watcher)
            .iter()
            .skip(1)
            .map(|event| usize::try_from(event["count"].as_u64().unwrap()).unwrap())
            .collect();
        assert_eq!(announced, expected_count_events(&counts), "seed {seed}");
    }
}
