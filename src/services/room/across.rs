//! The rooms of this loop that are on other gateways as well: what is said to these, and heard from them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entry::{Entry, MemberKey};
use super::shared_room::{RoomChange, SharedRoom};
use crate::services::shared_topics::{SharedTopics, TopicEvent, topic};
use crate::services::{EngineDelivery, Peer, RouteId, ServiceSender, SharedEngineLink};

/// All rooms of a home that have members, towards the other gateways.
#[derive(Debug)]
pub(super) struct Across {
    topics: SharedTopics<Sent>,
    route: RouteId,
    /// By their topics.
    rooms: HashMap<Arc<str>, AcrossRoom>,
    /// Topics of rooms for which the next tick does something.
    due: HashSet<Arc<str>>,
    /// Of the last time that a topic was to be heard.
    number: u64,
}

#[derive(Debug)]
struct AcrossRoom {
    name: Arc<str>,
    shared: SharedRoom,
    hearing: Hearing,
    /// What members have sent before the room was heard.
    held: Vec<(Peer, Entry)>,
}

/// Whether a room hears the other gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// It was asked for, with this number.
    Asked(u64),
    Heard,
    /// The engine is away; it is tried again.
    Not,
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
            rooms: HashMap::new(),
            due: HashSet::new(),
            number: 0,
        }
    }

    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        self.topics.on_start(sender);
    }

    /// Whether the next tick has nothing to do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.due.is_empty()
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
                held: Vec::new(),
            };
            self.rooms.insert(Arc::clone(&topic), own);
            self.topics.hear(&topic, self.number);
        }
        let Some(own) = self.rooms.get_mut(&topic) else { return 0 };
        let Login { peer, name, is_one, is_claim, now } = login;
        let mut changes = Vec::new();
        let (entry, replaced) = own.shared.enter(peer, name, (is_one, is_claim, now), &mut changes);
        match own.hearing {
            Hearing::Heard => {
                let sent = Sent::Joined(Arc::clone(&topic), peer);
                self.topics.say(&topic, entry.to_bytes(), sent);
            }
            // It is told once the room is heard.
            Hearing::Asked(_) => {}
            Hearing::Not => own.shared.abort_wait(Some(peer), &mut changes),
        }
        events.extend(changes.into_iter().map(AcrossEvent::Change));
        replaced
    }

    /// Tells the others that a member here is gone.
    pub(super) fn leave(&mut self, room: &str, peer: Peer) {
        let topic = topic(&self.route, room);
        let Some(own) = self.rooms.get_mut(&topic) else { return };
        if let (Some(entry), Hearing::Heard) = (own.shared.leave(peer), own.hearing) {
            let sent = Sent::Members(Arc::clone(&topic));
            self.topics.say(&topic, entry.to_bytes(), sent);
        }
    }

    /// A room has no member here any more.
    pub(super) fn forget(&mut self, room: &str) {
        let topic = topic(&self.route, room);
        if self.rooms.remove(&topic).is_some() {
            self.due.remove(&topic);
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
            Hearing::Asked(_) if own.held.len() < HELD_MAX => own.held.push((peer, entry)),
            Hearing::Asked(_) | Hearing::Not => events.push(AcrossEvent::Unsent(peer)),
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
    pub(super) fn on_tick(&mut self) {
        for topic in std::mem::take(&mut self.due) {
            let Some(own) = self.rooms.get(&topic) else { continue };
            match own.hearing {
                Hearing::Heard => self.tell_members(&topic, true, false),
                Hearing::Not => self.hear_again(&topic),
                Hearing::Asked(_) => {}
            }
        }
    }

    /// What comes next for the members of a room, in order. To be called until there is nothing, after each of
    /// the others.
    pub(super) fn next_events(&mut self, is_one: bool) -> Option<Vec<(Arc<str>, AcrossEvent)>> {
        let mut events = Vec::new();
        let event = self.topics.next_event()?;
        match event {
            TopicEvent::Heard(topic, number, is_so) => {
                self.on_heard(&topic, number, is_so, &mut events);
            }
            TopicEvent::Said(topic, data) => {
                if let (Some(own), Some(entry)) = (self.rooms.get_mut(&topic), Entry::parse(&data))
                {
                    let mut changes = Vec::new();
                    own.shared.on_entry(entry, is_one, &mut changes);
                    let name = Arc::clone(&own.name);
                    self.take_changes(&topic, &name, changes, &mut events);
                }
            }
            TopicEvent::Sent(Sent::Joined(topic, peer), false) => {
                self.abort_wait(&topic, Some(peer), &mut events);
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
                self.abort_wait(&topic, None, &mut events);
                self.hear_again(&topic);
            }
            TopicEvent::Gone(node) => self.on_gone(node, &mut events),
        }
        Some(events)
    }

    fn on_heard(
        &mut self,
        topic: &Arc<str>,
        number: u64,
        is_so: bool,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        let Some(own) = self.rooms.get_mut(topic) else { return };
        if own.hearing != Hearing::Asked(number) {
            return;
        }
        let held = std::mem::take(&mut own.held);
        if !is_so {
            own.hearing = Hearing::Not;
            let unsent = |(peer, _)| (Arc::clone(&own.name), AcrossEvent::Unsent(peer));
            events.extend(held.into_iter().map(unsent));
            return self.abort_wait(topic, None, events);
        }
        own.hearing = Hearing::Heard;
        let joined = own.shared.unsettled();
        self.tell_members(topic, true, true);
        for (peer, entry) in joined {
            let sent = Sent::Joined(Arc::clone(topic), peer);
            self.topics.say(topic, entry.to_bytes(), sent);
        }
        for (peer, entry) in held {
            let sent = Sent::Message(Arc::clone(topic), peer);
            self.topics.say(topic, entry.to_bytes(), sent);
        }
    }

    /// What was told of a member here, or of all, may not come back. All is told anew.
    fn abort_wait(
        &mut self,
        topic: &Arc<str>,
        peer: Option<Peer>,
        events: &mut Vec<(Arc<str>, AcrossEvent)>,
    ) {
        let Some(own) = self.rooms.get_mut(topic) else { return };
        let mut changes = Vec::new();
        own.shared.abort_wait(peer, &mut changes);
        self.due.insert(Arc::clone(topic));
        let changed = |change| (Arc::clone(&own.name), AcrossEvent::Change(change));
        events.extend(changes.into_iter().map(changed));
    }

    /// Once it is heard, all is told.
    fn hear_again(&mut self, topic: &Arc<str>) {
        if let Some(own) = self.rooms.get_mut(topic) {
            self.number += 1;
            own.hearing = Hearing::Asked(self.number);
            self.topics.hear(topic, self.number);
        }
    }

    fn on_gone(&mut self, node: u64, events: &mut Vec<(Arc<str>, AcrossEvent)>) {
        for (topic, own) in &mut self.rooms {
            let mut changes = Vec::new();
            if own.shared.on_gone(node, &mut changes) {
                // If it was only not heard for a while, it hears that it is asked.
                self.due.insert(Arc::clone(topic));
            }
            let changed = |change| (Arc::clone(&own.name), AcrossEvent::Change(change));
            events.extend(changes.into_iter().map(changed));
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
                RoomChange::Asked => self.tell_members(topic, false, false),
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

    fn tell_members(&mut self, topic: &Arc<str>, asks: bool, is_first_word: bool) {
        // One that is not heard yet tells all when it is.
        let own = self.rooms.get(topic).filter(|own| own.hearing == Hearing::Heard);
        for entry in own.map(|own| own.shared.here(asks, is_first_word)).into_iter().flatten() {
            self.topics.say(topic, entry.to_bytes(), Sent::Members(Arc::clone(topic)));
        }
    }
}

/// Messages that wait until their room is heard.
const HELD_MAX: usize = 256;
