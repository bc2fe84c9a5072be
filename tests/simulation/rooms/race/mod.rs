//! Rooms under random interleavings: loops run ahead of each other, clients come, say who they are,
//! speak and leave whenever they like, and in the end everybody heard what it must have heard.
//!
//! `TIDEGATE_SIM_SEED=7 cargo test --test simulation rooms::race` replays one seed.

mod checker;
mod guest;

use std::collections::BTreeMap;

use tidegate::services::Order;
use tidegate::sim::{Faults, Random};

use self::guest::{Guest, GuestConnection, LINE_CLIENT, Leave};
use super::events::Belief;
use super::*;
use crate::wire::{upgrade_request, upgrade_request_offering};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const NAMES: [&str; 3] = ["ann", "bob", "cy"];
const ROOMS: [&str; 2] = ["red", "blue"];
struct Race {
    random: Random,
    loops: usize,
    settings: RoomSettings,
    world: World,
    guests: Vec<Guest>,
    /// One in each room, with a name of its own, that came first and hears everything.
    watchers: usize,
    serial: usize,
    settled: usize,
}

impl Race {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let loops = 1 + random.below(4);
        let settings = RoomSettings {
            name: if random.percent(50) { NameSource::Query } else { NameSource::FirstText },
            default_room: ROOMS[0].to_owned(),
            hears_itself: random.percent(70),
            logins: if random.percent(75) { Logins::One } else { Logins::Many },
            order: if random.percent(75) { Order::Topic } else { Order::Sender },
            joins_lines: random.percent(30),
            ..RoomSettings::default()
        };
        let mut setup = Setup { seed, ..Setup::default() };
        setup.server.loops = loops;
        setup.server.items_max = 1 + random.below(40);
        setup.server.mail_bytes_max = [300, 5_000, 1 << 20][random.below(3)];
        setup.server.mail_per_turn = 1 + random.below(20);
        if random.percent(50) {
            setup.faults =
                Faults { partial_waits: 30, short_writes: 20, stale: 10, ..Faults::default() };
        }
        let world = world_of(&setup, settings.clone());
        let (guests, watchers) = (Vec::new(), 0);
        let mut race =
            Self { random, loops, settings, world, guests, watchers, serial: 0, settled: 0 };
        for room in ROOMS {
            for form in [Form::Lines, Form::Events] {
                race.come(room, &format!("watcher of {form:?}"), Some(form));
                race.introduce(race.guests.len() - 1);
            }
        }
        race.watchers = race.guests.len();
        race
    }

    fn come(&mut self, room: &'static str, name: &str, form: Option<Form>) {
        let loop_index = self.random.below(self.loops);
        let is_named = form.is_some() && matches!(self.settings.name, NameSource::Query);
        let listener = usize::from(form.is_none());
        let connection = self.world.network.connect(loop_index, listener).unwrap();
        let target = match is_named {
            true => format!("/chat?room={room}&user={}", name.replace(' ', "+")),
            false => format!("/chat?room={room}"),
        };
        match form {
            Some(Form::Lines) => connection.send(&upgrade_request(&target)),
            Some(Form::Events) => {
                connection.send(&upgrade_request_offering(&target, CHAT_SUBPROTOCOL));
            }
            None => {}
        }
        let connection = match form {
            Some(_) => GuestConnection::Socket(Client::new(connection)),
            None => GuestConnection::Line(connection, String::new()),
        };
        self.guests.push(Guest {
            connection,
            form,
            room,
            name: name.to_owned(),
            is_named,
            came_at: self.settled,
            settled_at: None,
            said: Vec::new(),
            leave: Leave::Stays,
            heard: Vec::new(),
            closed: None,
            belief: Belief {
                hears_early: self.settings.order == Order::Sender,
                ..Belief::default()
            },
            frames_read: 0,
        });
    }

    /// A guest says who it is, if it has not.
    fn introduce(&mut self, index: usize) {
        let guest = &mut self.guests[index];
        if !std::mem::replace(&mut guest.is_named, true) {
            guest.say(&guest.name);
            // From here on it competes for its name.
            guest.came_at = self.settled;
        }
    }

    fn speak(&mut self, index: usize) {
        let is_watcher = index < self.watchers;
        if !self.guests[index].is_named || is_watcher {
            return self.introduce(index);
        }
        self.serial += 1;
        let text = format!("m{}", self.serial);
        let guest = &mut self.guests[index];
        guest.say(&text);
        // What it says after it was told to go counts as said, and must not be heard.
        guest.said.push(format!("{}|{text}", guest.name));
        if guest.closed.is_some() {
            guest.said.last_mut().unwrap().push_str(" after its end");
        }
    }

    fn leave(&mut self, index: usize) -> Result<(), String> {
        let how = self.random.below(3);
        let guest = &mut self.guests[index];
        if index < self.watchers || guest.leave != Leave::Stays {
            return Ok(());
        }
        guest.read()?;
        guest.leave = match how {
            0 => Leave::Reset,
            _ if !guest.is_let_in() => Leave::AtTheDoor,
            _ => Leave::Orderly,
        };
        match (how, guest.form) {
            (0, _) => guest.connection().reset(),
            (1, Some(_)) => guest.send(&crate::wire::close_frame(1000, "")),
            (1, None) => guest.send(b"quit\n"),
            _ => guest.connection().shutdown(),
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=11 => {
                let room = ROOMS[self.random.below(ROOMS.len())];
                let name = NAMES[self.random.below(NAMES.len())];
                let form = match self.random.below(5) {
                    // It has no query: it comes into the default room.
                    0 => {
                        self.come(ROOMS[0], name, LINE_CLIENT);
                        return Ok(());
                    }
                    1 | 2 => Form::Lines,
                    _ => Form::Events,
                };
                self.come(room, name, Some(form));
            }
            12..=39 => {
                let index = self.random.below(self.guests.len());
                if self.guests[index].leave == Leave::Stays {
                    self.speak(index);
                }
            }
            40..=45 => {
                let index = self.random.below(self.guests.len());
                self.leave(index)?;
            }
            46..=60 => {
                let index = self.random.below(self.guests.len());
                self.guests[index].read()?;
            }
            61..=62 => self.settle()?,
            _ => {
                let loop_index = self.random.below(self.loops);
                self.world.server.step_loop(loop_index)?;
            }
        }
        Ok(())
    }

    /// Everything that is under way arrives; then what must hold holds.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            // Letters that found a mailbox full are sent again a little later.
            self.world.try_pass(50)?;
            let mut count = 0;
            for (index, guest) in self.guests.iter_mut().enumerate() {
                count += guest.read().map_err(|error| format!("guest {index}: {error}"))?;
            }
            if count == 0 {
                break;
            }
        }
        self.check_logins()?;
        self.check_beliefs()?;
        self.settled += 1;
        let heard: BTreeMap<&str, usize> = self.guests[..self.watchers]
            .iter()
            .map(|watcher| (watcher.room, watcher.heard.len()))
            .collect();
        for guest in &mut self.guests {
            if guest.is_here() && guest.settled_at.is_none() {
                guest.settled_at = heard.get(guest.room).copied();
            }
        }
        Ok(())
    }

    fn play(mut self) -> Result<(), String> {
        self.settle()?;
        for _ in 0..STEPS {
            self.step()?;
        }
        self.settle()?;
        self.check_hearing()?;
        self.check_speaking()?;
        self.check_turns()?;
        for index in self.watchers..self.guests.len() {
            self.leave(index)?;
        }
        self.settle()?;
        for watcher in &self.guests[..self.watchers] {
            if watcher.form == Some(Form::Events) && watcher.belief.count != 2 {
                return Err(format!("{:?} when all have left", watcher.belief));
            }
        }
        Ok(())
    }
}
fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn whoever_comes_and_goes_when() {
    if let Some(seed) = number_from_env("TIDEGATE_SIM_SEED") {
        return Race::new(seed).play().unwrap();
    }
    let seeds = number_from_env("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let failures: Vec<String> = (0..seeds)
        .filter_map(|seed| Race::new(seed).play().err().map(|error| format!("{seed}: {error}")))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds failed\n{}\n\
         replay one: TIDEGATE_SIM_SEED=… cargo test --test simulation rooms::race",
        failures.len(),
        failures.join("\n")
    );
}
