//! Rooms under random interleavings: loops run ahead of each other while clients connect, send their
//! names and messages, and leave. At the end the checker compares what each of them received.
//!
//! `TIDEGATE_SIM_SEED=7 cargo test --test simulation rooms::race` replays one seed.

mod checker;
mod participant;

use std::collections::BTreeMap;

use tidegate::services::Order;
use tidegate::sim::{Faults, Random};

use self::participant::{LINE_CLIENT, Leave, Participant, ParticipantConnection};
use super::events::MemberView;
use super::*;
use crate::client::Records;
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
    participants: Vec<Participant>,
    /// The number of participants that connected first, have names of their own and stay to the
    /// end: they receive every message of their room.
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
        let (participants, watchers) = (Vec::new(), 0);
        let mut race =
            Self { random, loops, settings, world, participants, watchers, serial: 0, settled: 0 };
        for room in ROOMS {
            for format in [ClientFormat::Lines, ClientFormat::Events] {
                race.connect(room, &format!("watcher of {format:?}"), Some(format));
                race.send_name(race.participants.len() - 1);
            }
        }
        race.watchers = race.participants.len();
        race
    }

    fn connect(&mut self, room: &'static str, name: &str, format: Option<ClientFormat>) {
        let loop_index = self.random.below(self.loops);
        let is_named = format.is_some() && matches!(self.settings.name, NameSource::Query);
        let listener = usize::from(format.is_none());
        let connection = self.world.network.connect(loop_index, listener).unwrap();
        let target = match is_named {
            true => format!("/chat?room={room}&user={}", name.replace(' ', "+")),
            false => format!("/chat?room={room}"),
        };
        match format {
            Some(ClientFormat::Lines) => connection.send(&upgrade_request(&target)),
            Some(ClientFormat::Events) => {
                connection.send(&upgrade_request_offering(&target, CHAT_SUBPROTOCOL));
            }
            None => {}
        }
        let connection = match format {
            Some(_) => ParticipantConnection::Socket(Client::new(connection, Records::Plain)),
            None => ParticipantConnection::Line(connection, String::new()),
        };
        self.participants.push(Participant {
            connection,
            format,
            room,
            name: name.to_owned(),
            is_named,
            connected_at: self.settled,
            settled_at: None,
            sent: Vec::new(),
            leave: Leave::Stays,
            received: Vec::new(),
            closed: None,
            view: MemberView {
                may_receive_early: self.settings.order == Order::Sender,
                ..MemberView::default()
            },
            frames_read: 0,
        });
    }

    /// Sends the participant's name, unless it has.
    fn send_name(&mut self, index: usize) {
        let participant = &mut self.participants[index];
        if !std::mem::replace(&mut participant.is_named, true) {
            participant.send_text(&participant.name);
            // It may replace another login only from here on.
            participant.connected_at = self.settled;
        }
    }

    fn send_message(&mut self, index: usize) {
        let is_watcher = index < self.watchers;
        if !self.participants[index].is_named || is_watcher {
            return self.send_name(index);
        }
        self.serial += 1;
        let text = format!("m{}", self.serial);
        let participant = &mut self.participants[index];
        participant.send_text(&text);
        // A message sent after the close frame must not be delivered.
        participant.sent.push(format!("{}|{text}", participant.name));
        if participant.closed.is_some() {
            participant.sent.last_mut().unwrap().push_str(" after its end");
        }
    }

    fn leave(&mut self, index: usize) -> Result<(), String> {
        let how = self.random.below(3);
        let participant = &mut self.participants[index];
        if index < self.watchers || participant.leave != Leave::Stays {
            return Ok(());
        }
        participant.read()?;
        participant.leave = match how {
            0 => Leave::Reset,
            _ if !participant.is_accepted() => Leave::BeforeAccept,
            _ => Leave::Orderly,
        };
        match (how, participant.format) {
            (0, _) => participant.connection().reset(),
            (1, Some(_)) => participant.send(&crate::wire::close_frame(1000, "")),
            (1, None) => participant.send(b"quit\n"),
            _ => participant.connection().shutdown(),
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=11 => {
                let room = ROOMS[self.random.below(ROOMS.len())];
                let name = NAMES[self.random.below(NAMES.len())];
                let format = match self.random.below(5) {
                    // A line client has no query, so it enters the default room.
                    0 => {
                        self.connect(ROOMS[0], name, LINE_CLIENT);
                        return Ok(());
                    }
                    1 | 2 => ClientFormat::Lines,
                    _ => ClientFormat::Events,
                };
                self.connect(room, name, Some(format));
            }
            12..=39 => {
                let index = self.random.below(self.participants.len());
                if self.participants[index].leave == Leave::Stays {
                    self.send_message(index);
                }
            }
            40..=45 => {
                let index = self.random.below(self.participants.len());
                self.leave(index)?;
            }
            46..=60 => {
                let index = self.random.below(self.participants.len());
                self.participants[index].read()?;
            }
            61..=62 => self.settle()?,
            _ => {
                let loop_index = self.random.below(self.loops);
                self.world.server.step_loop(loop_index)?;
            }
        }
        Ok(())
    }

    /// Runs until nothing is under way, then checks logins and views.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            // Messages that found a mailbox full are sent again a little later.
            self.world.try_pass(50)?;
            let mut count = 0;
            for (index, participant) in self.participants.iter_mut().enumerate() {
                count +=
                    participant.read().map_err(|error| format!("participant {index}: {error}"))?;
            }
            if count == 0 {
                break;
            }
        }
        self.check_logins()?;
        self.check_views()?;
        self.settled += 1;
        let received: BTreeMap<&str, usize> = self.participants[..self.watchers]
            .iter()
            .map(|watcher| (watcher.room, watcher.received.len()))
            .collect();
        for participant in &mut self.participants {
            if participant.is_member() && participant.settled_at.is_none() {
                participant.settled_at = received.get(participant.room).copied();
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
        self.check_received()?;
        self.check_sent()?;
        self.check_replaced_are_silent()?;
        for index in self.watchers..self.participants.len() {
            self.leave(index)?;
        }
        self.settle()?;
        for watcher in &self.participants[..self.watchers] {
            if watcher.format == Some(ClientFormat::Events) && watcher.view.count != 2 {
                return Err(format!("{:?} when all have left", watcher.view));
            }
        }
        Ok(())
    }
}
fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn every_interleaving_keeps_one_login_per_name_and_one_order() {
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
