//! Rooms under random interleavings: loops run ahead of each other, clients come, say who they are,
//! speak and leave whenever they like, and in the end everybody heard what it must have heard.
//!
//! `TIDEGATE_SIM_SEED=7 cargo test --test simulation rooms::race` replays one seed.

use std::collections::BTreeMap;

use tidegate::services::Order;
use tidegate::sim::{Faults, Random, SimClient};

use super::events::Belief;
use super::*;
use crate::wire::{frame, upgrade_request, upgrade_request_offering};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const NAMES: [&str; 3] = ["ann", "bob", "cy"];
const ROOMS: [&str; 2] = ["red", "blue"];

/// How a client's part ended, by its own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Stays,
    /// A close frame, the end of input, or `quit`: all that it said before counts.
    Orderly,
    Reset,
}

/// One client and what it did.
struct Guest {
    connection: GuestConnection,
    form: Option<Form>,
    room: &'static str,
    name: String,
    /// Whether it has said who it is.
    is_named: bool,
    /// Settled moments before it came.
    came_at: usize,
    /// Whether it was a member at a settled moment, and how much its room had heard by then.
    settled_at: Option<usize>,
    said: Vec<String>,
    leave: Leave,
    /// `sender|message`, in the order of hearing.
    heard: Vec<String>,
    closed: Option<u16>,
    belief: Belief,
    frames_read: usize,
}

enum GuestConnection {
    Line(SimClient, String),
    Socket(Client),
}

/// A line client has no form, as it has no frames.
const LINE_CLIENT: Option<Form> = None;

impl Guest {
    fn send(&self, bytes: &[u8]) {
        match &self.connection {
            GuestConnection::Line(connection, _) => connection.send(bytes),
            GuestConnection::Socket(client) => client.send(bytes),
        }
    }

    fn connection(&self) -> &SimClient {
        match &self.connection {
            GuestConnection::Line(connection, _) => connection,
            GuestConnection::Socket(client) => &client.connection,
        }
    }

    fn say(&self, text: &str) {
        match self.form {
            Some(Form::Lines) => self.send(&frame(TEXT, text.as_bytes())),
            Some(Form::Events) => {
                let event = serde_json::json!({ "type": "message", "text": text });
                self.send(&frame(TEXT, event.to_string().as_bytes()));
            }
            None => self.send(format!("{text}\n").as_bytes()),
        }
    }

    /// Reads what is there; gives how many bytes came.
    fn read(&mut self) -> Result<usize, String> {
        let count = match &mut self.connection {
            GuestConnection::Line(connection, unread) => {
                let bytes = connection.receive(usize::MAX);
                unread.push_str(std::str::from_utf8(&bytes).map_err(|error| error.to_string())?);
                while let Some((line, rest)) = unread.split_once('\n') {
                    match line.split_once(": ") {
                        Some((from, text)) => self.heard.push(format!("{from}|{text}")),
                        None if line.starts_with("replaced") => self.closed = Some(4001),
                        None => {}
                    }
                    *unread = rest.to_owned();
                }
                bytes.len()
            }
            GuestConnection::Socket(client) => client.try_read(usize::MAX)?,
        };
        self.take_frames()?;
        Ok(count)
    }

    fn take_frames(&mut self) -> Result<(), String> {
        let GuestConnection::Socket(client) = &self.connection else { return Ok(()) };
        let data = client.heard.data();
        for frame in &data[self.frames_read..] {
            let text = std::str::from_utf8(&frame.payload).map_err(|error| error.to_string())?;
            if self.form == Some(Form::Events) {
                let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                match event["type"].as_str() {
                    Some("message") => {
                        let [from, text] =
                            ["from", "text"].map(|key| event[key].as_str().unwrap_or_default());
                        self.heard.push(format!("{from}|{text}"));
                    }
                    _ => self.belief.learn(&event)?,
                }
            } else {
                // Several lines may have been joined into one message.
                let lines = text.split('\n').map(|line| line.replacen(": ", "|", 1));
                self.heard.extend(lines);
            }
        }
        self.frames_read = data.len();
        self.closed = client.heard.close_code().or(self.closed);
        Ok(())
    }

    /// Whether it must be a member at a settled moment, unless it was replaced.
    fn wants_to_be_here(&self) -> bool {
        self.leave == Leave::Stays
    }

    fn is_here(&self) -> bool {
        self.wants_to_be_here() && self.closed.is_none()
    }
}

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
        setup.server.letters_max = 2 + random.below(40);
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

    fn leave(&mut self, index: usize) {
        let how = self.random.below(3);
        let guest = &mut self.guests[index];
        if index < self.watchers || guest.leave != Leave::Stays {
            return;
        }
        guest.leave = if how == 0 { Leave::Reset } else { Leave::Orderly };
        match (how, guest.form) {
            (0, _) => guest.connection().reset(),
            (1, Some(_)) => guest.send(&crate::wire::close_frame(1000, "")),
            (1, None) => guest.send(b"quit\n"),
            _ => guest.connection().shutdown(),
        }
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
                self.leave(index);
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

    /// The others who said that they have the name of this one.
    fn rivals(&self, index: usize) -> impl Iterator<Item = (usize, &Guest)> {
        let own = &self.guests[index];
        self.guests.iter().enumerate().filter(move |(other, rival)| {
            *other != index && rival.is_named && (rival.room, &rival.name) == (own.room, &own.name)
        })
    }

    /// Exactly one of those who want a name has it: one of those who came after all the others of
    /// an earlier settled moment.
    fn check_logins(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let code = guest.closed.filter(|_| guest.wants_to_be_here());
            if code.is_some_and(|code| code != 4001) {
                return Err(format!("guest {index} was closed with {code:?}"));
            }
            if code.is_some() {
                if self.settings.logins == Logins::Many
                    || !self.rivals(index).any(|(_, rival)| may_replace(rival, guest))
                {
                    return Err(format!("guest {index} was replaced by nobody"));
                }
            }
            if self.settings.logins == Logins::One && guest.is_named && guest.is_here() {
                // Whoever reset may never have been here.
                let outlived =
                    |rival: &Guest| rival.came_at > guest.came_at && rival.leave != Leave::Reset;
                if let Some((other, _)) =
                    self.rivals(index).find(|(_, rival)| rival.is_here() || outlived(rival))
                {
                    return Err(format!("guests {index} and {other} are both {}", guest.name));
                }
            }
        }
        Ok(())
    }

    /// Everybody who is told who is there knows who is there.
    fn check_beliefs(&self) -> Result<(), String> {
        for room in ROOMS {
            let here = || self.guests.iter().filter(|guest| guest.room == room && guest.is_here());
            let count = here().count();
            let mut names: Vec<&str> =
                here().filter(|guest| guest.is_named).map(|guest| &*guest.name).collect();
            names.sort_unstable();
            for guest in here().filter(|guest| guest.form == Some(Form::Events)) {
                let Belief { count: own, names: own_names, name, .. } = &guest.belief;
                let own_name = guest.is_named.then_some(&guest.name);
                if usize::try_from(*own).ok() != Some(count)
                    || *own_names != names
                    || name.as_ref() != own_name
                {
                    return Err(format!(
                        "{} in {room} believes in {:?} and not in {count}: {names:?}",
                        guest.name, guest.belief
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everybody heard a stretch of what its room heard, in the room's order.
    fn check_hearing(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let rooms_watcher =
                self.guests.iter().find(|watcher| watcher.room == guest.room).unwrap();
            let all = &rooms_watcher.heard;
            let is_one_order = self.settings.order == Order::Topic;
            if is_one_order {
                check_stretch(guest, all, &|_| true, &self.settings)
                    .map_err(|error| format!("guest {index}: {error}"))?;
            }
            for (sender_index, sender) in self.guests.iter().enumerate() {
                let is_from_sender = |text: &String| sender.said.contains(text);
                check_stretch(guest, all, &is_from_sender, &self.settings)
                    .map_err(|error| format!("guest {index}, by {sender_index}: {error}"))?;
            }
        }
        Ok(())
    }

    /// What was said was heard, once and in order, up to the moment from which it no longer counts.
    fn check_speaking(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let all = &self.guests.iter().find(|watcher| watcher.room == guest.room).unwrap().heard;
            let heard: Vec<&String> = all.iter().filter(|text| guest.said.contains(text)).collect();
            let is_prefix = heard.iter().zip(&guest.said).all(|(heard, said)| *heard == said);
            // Its own goodbye may come before the news that somebody took its place.
            let may_be_replaced = self.rivals(index).any(|(_, rival)| may_replace(rival, guest));
            let must_be_whole = match guest.leave {
                Leave::Reset => false,
                Leave::Orderly => self.settings.logins == Logins::Many || !may_be_replaced,
                Leave::Stays => guest.closed.is_none(),
            };
            let is_whole = heard.len() == guest.said.len();
            if !is_prefix || (must_be_whole && !is_whole) {
                return Err(format!("guest {index} said {:?}, heard: {heard:?}", guest.said));
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
        for index in self.watchers..self.guests.len() {
            self.leave(index);
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

/// Whether one can have come after the other: not if the other came at a later settled moment.
fn may_replace(rival: &Guest, guest: &Guest) -> bool {
    rival.came_at >= guest.came_at
}

/// Whether what a guest heard, of what `concerns` us, is a stretch of what its room heard: without
/// a gap, at most from its first settled moment on, and if it is still there up to the end.
fn check_stretch(
    guest: &Guest,
    all: &[String],
    concerns: &dyn Fn(&String) -> bool,
    settings: &RoomSettings,
) -> Result<(), String> {
    let counts =
        |text: &&String| concerns(text) && (settings.hears_itself || !guest.said.contains(text));
    let heard: Vec<&String> = guest.heard.iter().filter(counts).collect();
    let all_counted: Vec<&String> = all.iter().filter(counts).collect();
    let start = match heard.first() {
        Some(first) => all_counted.iter().position(|text| text == first).ok_or("from nowhere")?,
        None => all_counted.len(),
    };
    let room_heard = &all_counted[start..];
    let is_stretch = room_heard.starts_with(&heard);
    let is_up_to_the_end = room_heard.len() == heard.len() || !guest.is_here();
    let latest = guest.settled_at.map_or(usize::MAX, |at| all[..at].iter().filter(counts).count());
    let is_from_settled = start <= latest || !guest.is_here();
    match is_stretch && is_up_to_the_end && is_from_settled {
        true => Ok(()),
        false => Err(format!("{heard:?} of {all_counted:?}, settled at {latest}")),
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
