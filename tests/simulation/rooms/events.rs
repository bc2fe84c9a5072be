//! Who is there: the events of joining, leaving and counting against a naive model.

use tidegate::services::room::{LISTED_MAX, RELISTED_BELOW};
use tidegate::sim::Random;

use super::*;

/// What a page knows of its room if it believes every event.
#[derive(Debug, Default)]
pub(super) struct Belief {
    pub(super) name: Option<String>,
    pub(super) count: u64,
    /// As often as each is there; out of date while the room is a crowd.
    pub(super) names: Vec<String>,
    pub(super) is_welcome: bool,
    /// Whether events from before its own coming may reach it first.
    pub(super) hears_early: bool,
}

impl Belief {
    /// Takes in an event. Messages are none of its business.
    pub(super) fn learn(&mut self, event: &Value) -> Result<(), String> {
        let name = || event["name"].as_str().map(str::to_owned);
        let kind = event["type"].as_str().unwrap_or_default();
        if !self.is_welcome
            && self.hears_early
            && event.get("name").is_none_or(|_| kind != "members")
        {
            return Ok(());
        }
        if !self.is_welcome && kind != "members" {
            return Err(format!("{event} before the list of members"));
        }
        match kind {
            "members" => {
                if let Some(names) = event["names"].as_array() {
                    self.names =
                        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
                }
                if event.get("name").is_some() {
                    self.is_welcome = true;
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

fn belief(world: &mut World, client: &mut Client) -> Belief {
    let mut belief = Belief::default();
    for event in events(world, client) {
        belief.learn(&event).unwrap();
    }
    belief
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
fn comings_and_goings_are_told_to_the_others() {
    let mut world = world(3, one_login());
    let mut alice = enter(&mut world, 0, "/chat?user=alice", Form::Events);
    let bob = enter(&mut world, 1, "/chat?user=bob", Form::Lines);
    let mut carol = enter(&mut world, 2, "/chat?user=carol", Form::Events);
    // A login in place of another is no news.
    let _bob_again = enter(&mut world, 2, "/chat?user=bob", Form::Events);
    bob.connection.shutdown();
    world.settle();
    carol.say_close(1000);
    assert_eq!(kinds(&mut world, &mut carol), ["members carol 3"]);
    let heard = kinds(&mut world, &mut alice);
    assert_eq!(heard, ["members alice 1", "joined bob 2", "joined carol 3", "left carol 2"]);
    assert_eq!(belief(&mut world, &mut alice).names, ["alice", "bob"]);
}

#[test]
fn those_without_a_name_count() {
    let mut world = world(2, RoomSettings { logins: Logins::One, ..first_text() });
    let mut alice = enter(&mut world, 0, "/chat", Form::Events);
    say(&alice, Form::Events, "alice");
    world.settle();
    let nameless = enter(&mut world, 1, "/chat", Form::Lines);
    let mut second = enter(&mut world, 1, "/chat", Form::Events);
    world.settle();
    say(&nameless, Form::Lines, "bob");
    world.settle();
    // Takes the name of somebody who was counted as well.
    say(&second, Form::Events, "bob");
    world.settle();
    second.say_close(1000);
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
    let heard = kinds(&mut world, &mut second);
    assert_eq!(heard, ["members 3", "joined bob 3", "members bob 2"]);
}

#[test]
fn a_crowd_is_counted_and_not_named() {
    let mut world = world(2, RoomSettings::default());
    let mut watcher = enter(&mut world, 0, "/chat?user=!", Form::Events);
    let crowd: Vec<Client> = (0..400)
        .map(|number| asking(&world, number % 2, &format!("/chat?user=n{number:03}"), Form::Lines))
        .collect();
    let heard = kinds(&mut world, &mut watcher);
    let named = heard.iter().filter(|event| event.starts_with("joined")).count();
    assert_eq!(named, LISTED_MAX - 1);
    assert!(heard.len() < named + 80, "{} events", heard.len());
    let mut late = enter(&mut world, 1, "/chat?user=late", Form::Events);
    let welcome = belief(&mut world, &mut late);
    assert_eq!((welcome.count, welcome.names.len()), (402, LISTED_MAX));
    for client in &crowd[..350] {
        client.connection.reset();
    }
    let belief = belief(&mut world, &mut watcher);
    assert_eq!(belief.count, 52);
    assert_eq!(belief.names.len(), 52, "the list is whole again");
    let lists = events(&mut world, &mut watcher)
        .into_iter()
        .filter(|event| event["names"].is_array() && event.get("name").is_none())
        .map(|event| event["count"].as_u64())
        .collect::<Vec<_>>();
    assert_eq!(lists, [u64::try_from(RELISTED_BELOW).ok()]);
}

/// The naive model of what the watcher is told: the whole room is recounted for each change.
fn expected_count_events(counts: &[usize]) -> Vec<usize> {
    let (mut told, mut is_crowd, mut events) = (1, false, Vec::new());
    for &count in counts {
        if is_crowd {
            is_crowd = count > 90
        } else {
            is_crowd = count > 100
        }
        let difference = count.max(told) - count.min(told);
        let is_told = !is_crowd || difference as f64 > told as f64 * 0.02;
        if is_told {
            told = count;
            events.push(count);
        }
    }
    events
}

#[test]
fn counts_are_told_as_the_model_says() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let loops = 1 + random.below(3);
        let mut world = world(loops, RoomSettings::default());
        let mut watcher = enter(&mut world, 0, "/chat?user=!", Form::Events);
        let mut crowd: Vec<Client> = Vec::new();
        let mut counts = Vec::new();
        for number in 0..600 {
            // Grows and shrinks through the bounds.
            let is_growing = (number / 150) % 2 == 0;
            if crowd.is_empty() || random.percent(if is_growing { 90 } else { 10 }) {
                let target = format!("/chat?user=n{}", random.below(500));
                crowd.push(enter(&mut world, random.below(loops), &target, Form::Lines));
            } else {
                let client = crowd.swap_remove(random.below(crowd.len()));
                client.connection.reset();
                world.settle();
            }
            counts.push(crowd.len() + 1);
        }
        let told: Vec<usize> = events(&mut world, &mut watcher)
            .iter()
            .skip(1)
            .map(|event| usize::try_from(event["count"].as_u64().unwrap()).unwrap())
            .collect();
        assert_eq!(told, expected_count_events(&counts), "seed {seed}");
    }
}
