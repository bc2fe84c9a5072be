//! The rooms of this loop that are on other gateways as well: what is said to these, and heard from them.
//!
//! What concerns all members of a gateway is a [`Job`]: one at a time, done in steps. What is heard meanwhile waits
//! until its end, so that the order stays; what connections here do is said at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::allowance::{Allowance, ENTRY_WORK, LOOK_WORK, ROOM_WORK};
use super::entry::{Entry, MemberKey};
use super::shared_room::{Entered, ListPart, RoomChange, SharedRoom, Telling};
use crate::services::shared_topics::{SharedTopics, TopicEvent, topic};
use crate::services::{EngineDelivery, Peer, RouteId, ServiceSender, SharedEngineLink};
use crate::timer::Millis;
use crate::work::prices;

/// All rooms of a home that have members, towards the other gateways.
#[derive(Debug)]
pub(super) struct Across {
    topics: SharedTopics<Sent>,
    route: RouteId,
    /// By their topics, in an order, so that a walk through all of them can pause.
    rooms: BTreeMap<Arc<str>, AcrossRoom>,
    /// Topics of rooms for which the next round does something.
    due: BTreeSet<Arc<str>>,
    /// Those of the round that is under way.
    round: BTreeSet<Arc<str>>,
    /// Whether the round has its turn before what is heard.
    is_turn_of_round: bool,
    /// When the next round may begin.
    round_at: Millis,
    /// What is under way.
    job: Option<Job>,
    /// Of the last time that a topic was to be heard.
    number: u64,
}

#[derive(Debug)]
struct AcrossRoom {
    name: Arc<str>,
    shared: SharedRoom,
    hearing: Hearing,
    /// What members have sent before the room was heard.
    held: VecDeque<(Peer, Entry)>,
}

/// Whether a room hears the other gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// It was asked for, with this number.
    Asked(u64),
    /// It hears them, and its first word is being said: messages of members follow that.
    Telling,
    Heard,
    /// The engine is away; it is tried again.
    Not,
}

/// What is done in steps.
#[derive(Debug)]
enum Job {
    /// Reads a part of a list.
    Read(Arc<str>, ListPart),
    /// Says who is here, and then what was held.
    Tell(Arc<str>, Telling),
    /// What was said of these members may never come back.
    Abort(Arc<str>, Vec<Peer>),
    /// A gateway is gone: removes its members from all rooms. It is done with those up to this topic.
    Remove(u64, Option<Arc<str>>),
}

/// What was said.
#[derive(Debug)]
enum Sent {
    /// That a member has come.
    Joined(Arc<str>, Peer),
    /// Who is here, or that a member has gone.
    Members(Arc<str>),
    /// A message of a member.
    Message(Arc<str>, Peer),
    /// A notice.
    Notice,
}

/// What comes of what was said and heard, for the members of a room.
#[derive(Debug)]
pub(super) enum AcrossEvent {
    Change(RoomChange),
    /// What a member has sent did not reach the other gateways, or may not have.
    Unsent(Peer),
}

impl AcrossEvent {
    /// Whether it says that the claim of this connection holds.
    pub(super) fn grants(&self, peer: Peer) -> bool {
        matches!(self, Self::Change(RoomChange::Granted(own)) if *own == peer)
    }
}

/// A login of a connection here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'l> {
    pub(super) peer: Peer,
    pub(super) name: Option<&'l Arc<str>>,
    /// Whether a name has one holder.
    pub(super) is_one: bool,
    /// Whether the connection waits until the login holds.
    pub(super) is_claim: bool,
    /// The date, in milliseconds.
    pub(super) now: u64,
}

impl Across {
    pub(super) fn new(link: &SharedEngineLink, route: &RouteId, keeps_order: bool) -> Self {
        Self {
            topics: SharedTopics::new(link, keeps_order),
            route: route.clone(),
            rooms: BTreeMap::new(),
            due: BTreeSet::new(),
            round: BTreeSet::new(),
            is_turn_of_round: false,
            round_at: Millis(0),
            job: None,
            number: 0,
        }
    }

    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        self.topics.on_start(sender);
    }

    /// Whether the next tick has nothing to do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.due.is_empty() && !self.is_behind()
    }

    /// Whether [`Across::next_events`] has more to do.
    pub(super) fn is_behind(&self) -> bool {
        self.job.is_some() || !self.round.is_empty() || self.topics.has_events()
    }

    /// Tells the others of a login here. Returns how many logins elsewhere it replaces, and adds what comes of that.
    pub(super) fn enter(
        &mut self,
        room: &Arc<str>,
        login: Login<'_>,
        events: &mut Vec<AcrossEvent>,
    ) -> usize {
        let topic = topic(&self.route, room);
        if !self.rooms.contains_key(&topic) {
            self.number += 1;
            let own = AcrossRoom {
                name: Arc::clone(room),
                shared: SharedRoom::new(self.topics.node()),
                hearing: Hearing::Asked(self.number),
                held: VecDeque::new(),
            };
            self.rooms.insert(Arc::clone(&topic), own);
            self.topics.hear(&topic, self.number);
        }
        let Some(own) = self.rooms.get_mut(&topic) else { return 0 };
        let Login { peer, name, is_one, is_claim, now } = login;
        let mut changes = Vec::new();
        let login = (is_one, is_claim, now);
        let Entered { entry, elsewhere, left } = own.shared.enter(peer, name, login, &mut changes);
        match own.hearing {
            Hearing::Heard | Hearing::Telling => {
                let sent = Sent::Joined(Arc::clone(&topic), peer);
                self.topics.say(&topic, entry.to_bytes(), sent);
                if let Some(left) = left {
                    self.topics.say(&topic, left.to_bytes(), Sent::Members(Arc::clone(&topic)));
                }
            }
            // It is told once the room is heard.
            Hearing::Asked(_) => own.shared.hold(peer),
            Hearing::Not => own.shared.abort_wait(peer, &mut changes),
        }
        events.extend(changes.into_iter().map(AcrossEvent::Change));
        elsewhere
    }

    /// Tells the others that a member here is gone.
    pub(super) fn leave(&mut self, room: &str, peer: Peer) {
        let topic = topic(&self.route, room);
        let Some(own) = self.rooms.get_mut(&topic) else { return };
        if let (Some(entry), Hearing::Heard | Hearing::Telling) =
            (own.shared.leave(peer), own.hearing)
        {
            let sent = Sent::Members(Arc::clone(&topic));
            self.topics.say(&topic, entry.to_bytes(), sent);
        }
    }

    /// A room has no member here any more.
    pub(super) fn forget(&mut self, room: &str) {
        let topic = topic(&self.route, room);
        if self.rooms.remove(&topic).is_some() {
            self.due.remove(&topic);
            self.round.remove(&topic);
            // A room that has this topic next is another one.
            self.job.take_if(|job| job.topic() == Some(&topic));
            self.topics.leave(&topic);
        }
    }

    /// Sends a message of a member to all gateways, this one included.
    pub(super) fn say(
        &mut self,
        room: &str,
        (peer, name): (Peer, &str),
        text: Box<str>,
        events: &mut Vec<AcrossEvent>,
    ) {
        let topic = topic(&self.route, room);
        let Some(own) = self.rooms.get_mut(&topic) else { return };
        let (node, key) = (self.topics.node(), MemberKey::of(peer));
        let entry = Entry::Say { node, key, name: name.into(), text };
        match own.hearing {
            Hearing::Heard => {
                let sent = Sent::Message(Arc::clone(&topic), peer);
                self.topics.say(&topic, entry.to_bytes(), sent);
            }
            Hearing::Asked(_) | Hearing::Telling if own.held.len() < HELD_MAX => {
                own.held.push_back((peer, entry));
            }
            Hearing::Asked(_) | Hearing::Telling | Hearing::Not => {
                events.push(AcrossEvent::Unsent(peer))
            }
        }
    }

    /// Sends what an operator says to all gateways, whether this one has members or not.
    pub(super) fn notice(&mut self, room: &str, text: Box<str>) {
        let topic = topic(&self.route, room);
        let entry = Entry::Notice { node: self.topics.node(), text };
        self.topics.say(&topic, entry.to_bytes(), Sent::Notice);
    }

    /// Takes what the engine says.
    pub(super) fn on_delivery(&mut self, delivery: EngineDelivery) {
        self.topics.on_delivery(delivery);
    }

    /// Tries again what the engine has refused.
    pub(super) fn on_tick(&mut self, now: Millis) {
        // Ticks that go on with a job come more often.
        if self.round.is_empty() && now >= self.round_at {
            self.round = std::mem::take(&mut self.due);
            self.round_at = now.plus(ROUND_MS);
        }
    }

    /// What comes next for the members of a room, in order. To be called until there is nothing, or no more may be
    /// done in this step, after each of the others.
    pub(super) fn next_events(
        &mut self,
        is_one: bool,
        allowance: &mut Allowance,
    ) -> Option<Vec<(Arc<str>, AcrossEvent)>> {
        if allowance.is_spent() {
            return None;
        }
        let mut events = Vec::new();
        if let Some(job) = self.job.take() {
            allowance.spend(LOOK_WORK);
            self.go_on(job, is_one, allowance, &mut events);
            return Some(events);
        }
        self.is_turn_of_round = !self.is_turn_of_round && !self.round.is_empty();
        let event = if self.is_turn_of_round { None } else { self.topics.next_event() };
        let Some(event) = event else {
            let topic = self.round.pop_first()?;
            allowance.spend(LOOK_WORK);
            self.tell_or_hear(&topic);
            return Some(events);
        };
        allowance.spend(LOOK_WORK);
        match event {
            TopicEvent::Heard(topic, number, is_so) => {
                self.on_heard(&topic, number, is_so, allowance, &mut events);
            }
            TopicEvent::Said(topic, data) => {
                allowance.spend(ENTRY_WORK + BYTE_WORK * prices::bytes(data.len()));
                self.on_said(&topic, &data, is_one, &mut events);
            }
            TopicEvent::Sent(Sent::Joined(topic, peer), false) => {
                if let Some(own) = self.rooms.get_mut(&topic) {
                    let (name, mut changes) = (Arc::clone(&own.name), Vec::new());
                    own.shared.abort_wait(peer, &mut changes);
                    self.take_changes(&topic, &name, changes, &mut events);
                    self.due.insert(topic);
                }
            }
            TopicEvent::Sent(Sent::Members(topic), false) => {
                if self.rooms.contains_key(&topic) {
                    self.due.insert(topic);
                }
            }
            TopicEvent::Sent(Sent::Message(topic, peer), false) => {
                if let Some(own) = self.rooms.get(&topic) {
                    events.push((Arc::clone(&own.name), AcrossEvent::Unsent(peer)));
                }
            }
            TopicEvent::Sent(..) => {}
            TopicEvent::Lost(topic) => {
                self.abort_all(&topic, allowance);
                self.hear_again(&topic);
            }
            TopicEvent::Gone(node) => self.job = Some(Job::Remove(node, None)),
        }
        Some(events)
    }

    fn on_said(
        &mut self,
        topic: &Arc<str>,
        data: &[u8],
        is_one: bool,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        let (Some(own), Some(entry)) = (self.rooms.get_mut(topic), Entry::parse(data)) else {
            return;
        };
        let (name, mut changes) = (Arc::clone(&own.name), Vec::new());
        let part = own.shared.on_entry(entry, is_one, &mut changes);
        self.job = part.map(|part| Job::Read(Arc::clone(topic), part));
        self.take_changes(topic, &name, changes, events);
    }

    /// Does the next step of a job.
    fn go_on(
        &mut self,
        job: Job,
        is_one: bool,
        allowance: &mut Allowance,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        match job {
            Job::Read(topic, mut part) => {
                let Some(own) = self.rooms.get_mut(&topic) else { return };
                let (name, mut changes) = (Arc::clone(&own.name), Vec::new());
                if !own.shared.take_part(&mut part, is_one, allowance, &mut changes) {
                    self.job = Some(Job::Read(Arc::clone(&topic), part));
                }
                self.take_changes(&topic, &name, changes, events);
            }
            Job::Tell(topic, telling) => self.go_on_telling(topic, telling, allowance),
            Job::Abort(topic, mut peers) => {
                let Some(own) = self.rooms.get_mut(&topic) else { return };
                let (name, mut changes) = (Arc::clone(&own.name), Vec::new());
                if !own.shared.abort_waits(&mut peers, allowance, &mut changes) {
                    self.job = Some(Job::Abort(Arc::clone(&topic), peers));
                }
                self.take_changes(&topic, &name, changes, events);
            }
            Job::Remove(node, done) => self.go_on_removing(node, done, allowance, events),
        }
    }

    fn go_on_telling(&mut self, topic: Arc<str>, mut telling: Telling, allowance: &mut Allowance) {
        let Some(own) = self.rooms.get_mut(&topic) else { return };
        if !telling.is_done() {
            for (peer, entry) in own.shared.tell(&mut telling, allowance) {
                let sent = match peer {
                    Some(peer) => Sent::Joined(Arc::clone(&topic), peer),
                    None => Sent::Members(Arc::clone(&topic)),
                };
                self.topics.say(&topic, entry.to_bytes(), sent);
            }
        } else if let Some((peer, entry)) = own.held.pop_front() {
            let (bytes, sent) = (entry.to_bytes(), Sent::Message(Arc::clone(&topic), peer));
            allowance.spend(ENTRY_WORK + BYTE_WORK * prices::bytes(bytes.len()));
            self.topics.say(&topic, bytes, sent);
        } else {
            (own.hearing, own.held) = (Hearing::Heard, VecDeque::new());
            return;
        }
        self.job = Some(Job::Tell(topic, telling));
    }

    fn go_on_removing(
        &mut self,
        node: u64,
        mut done: Option<Arc<str>>,
        allowance: &mut Allowance,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        while !allowance.is_spent() {
            let from = done.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.rooms.range_mut::<str, _>((from, Bound::Unbounded)).next();
            let Some((topic, own)) = next else { return };
            allowance.spend(ROOM_WORK);
            let (topic, name, mut changes) = (Arc::clone(topic), Arc::clone(&own.name), Vec::new());
            let is_done = own.shared.on_gone(node, allowance, &mut changes);
            self.take_changes(&topic, &name, changes, events);
            if is_done {
                done = Some(topic);
            }
        }
        self.job = Some(Job::Remove(node, done));
    }

    fn on_heard(
        &mut self,
        topic: &Arc<str>,
        number: u64,
        is_so: bool,
        allowance: &mut Allowance,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        let Some(own) = self.rooms.get_mut(topic) else { return };
        if own.hearing != Hearing::Asked(number) {
            return;
        }
        if is_so {
            own.hearing = Hearing::Telling;
            self.job = Some(Job::Tell(Arc::clone(topic), Telling::new(true)));
            return;
        }
        own.hearing = Hearing::Not;
        let held = std::mem::take(&mut own.held);
        let unsent = |(peer, _)| (Arc::clone(&own.name), AcrossEvent::Unsent(peer));
        events.extend(held.into_iter().map(unsent));
        self.abort_all(topic, allowance);
    }

    /// What was told of all members here may not come back. All is told anew.
    fn abort_all(&mut self, topic: &Arc<str>, allowance: &mut Allowance) {
        let Some(own) = self.rooms.get(topic) else { return };
        self.job = Some(Job::Abort(Arc::clone(topic), own.shared.peers(allowance)));
        self.due.insert(Arc::clone(topic));
    }

    /// Once it is heard, all is told.
    fn hear_again(&mut self, topic: &Arc<str>) {
        if let Some(own) = self.rooms.get_mut(topic) {
            self.number += 1;
            own.hearing = Hearing::Asked(self.number);
            self.topics.hear(topic, self.number);
        }
    }

    /// Does what the next round is for.
    fn tell_or_hear(&mut self, topic: &Arc<str>) {
        match self.rooms.get(topic).map(|own| own.hearing) {
            Some(Hearing::Heard) => self.tell_members(topic, true),
            Some(Hearing::Not) => self.hear_again(topic),
            Some(Hearing::Asked(_) | Hearing::Telling) | None => {}
        }
    }

    fn take_changes(
        &mut self,
        topic: &Arc<str>,
        name: &Arc<str>,
        changes: Vec<RoomChange>,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        for change in changes {
            if let (RoomChange::Replaced(peer), Some(own)) = (&change, self.rooms.get(topic)) {
                let sent = Sent::Members(Arc::clone(topic));
                self.topics.say(topic, own.shared.left(*peer).to_bytes(), sent);
            }
            match change {
                RoomChange::Asked => self.tell_members(topic, false),
                RoomChange::Doubted => drop(self.due.insert(Arc::clone(topic))),
                RoomChange::Watch(node) => self.topics.watch(node),
                change @ (RoomChange::Entered { .. }
                | RoomChange::Named { .. }
                | RoomChange::Left { .. }
                | RoomChange::Replaced(_)
                | RoomChange::Granted(_)
                | RoomChange::Said { .. }
                | RoomChange::Noticed { .. }) => {
                    events.push((Arc::clone(name), AcrossEvent::Change(change)));
                }
            }
        }
    }

    fn tell_members(&mut self, topic: &Arc<str>, asks: bool) {
        // One that is not heard yet tells all when it is.
        if self.rooms.get(topic).is_some_and(|own| own.hearing == Hearing::Heard) {
            self.job = Some(Job::Tell(Arc::clone(topic), Telling::new(asks)));
        }
    }
}

impl Job {
    /// The topic of the one room that it is about.
    fn topic(&self) -> Option<&Arc<str>> {
        match self {
            Self::Read(topic, _) | Self::Tell(topic, ..) | Self::Abort(topic, _) => Some(topic),
            Self::Remove(..) => None,
        }
    }
}

/// Messages that wait until their room is heard.
const HELD_MAX: usize = 256;
/// The time between two rounds, a little less than that between two ticks.
const ROUND_MS: u64 = 200;
/// What it costs to read or write an entry, as a multiple of the price of its bytes.
const BYTE_WORK: u64 = 32;
