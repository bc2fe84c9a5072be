//! The rooms whose home is this loop: their members, the holders of names, and the order of what
//! happens in them.

use std::collections::HashMap;
use std::sync::Arc;

use super::across::{Across, AcrossEvent, Login};
use super::allowance::{Allowance, FORGET_WORK, STEP};
use super::broadcast_line;
use super::event::ServerEvent;
use super::room_ref::{ClientFormat, ENTRIES_KEPT, RoomRef};
use super::roster::{PresenceChange, Roster};
use super::settings::{Logins, RoomSettings};
use super::shared_room::RoomChange;
use crate::services::{Effects, EngineDelivery, Order, Peer, ServiceSender};
use crate::shrink::Shrink as _;
use crate::ws::CloseCode;

/// The reason in the close frame of a connection whose name a later login took.
pub(super) const REPLACED: &str = "replaced by a new login";

/// What the loop of a connection sends to the home of its room.
#[derive(Debug)]
pub(super) struct ToHome {
    pub(super) room: Arc<RoomRef>,
    pub(super) peer: Peer,
    pub(super) action: RoomAction,
}

/// Which loop subscribes a member to what it receives. The loop of the connection decides: two loops may not
/// have the same settings while these are being reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubscribedBy {
    /// The home, behind the snapshot.
    Home,
    /// The loop of the connection itself.
    Own,
    /// None: the member may not read.
    Neither,
}

/// What a connection does in a room. `Claim` and `Open`, or `Enter` alone, come first, and `Leave`
/// comes last.
#[derive(Debug)]
pub(super) enum RoomAction {
    /// Takes a name that may have one holder only; the connection is not open before the reply.
    Claim { name: Arc<str>, format: ClientFormat },
    /// The connection is open, after its claim was granted.
    Open { subscribed_by: SubscribedBy },
    /// The connection is open and needed no claim.
    Enter { name: Option<Arc<str>>, format: ClientFormat, subscribed_by: SubscribedBy },
    /// The member names itself, after it entered without a name.
    SetName(Arc<str>),
    /// Sends a message to the room.
    Say(Box<str>),
    /// The connection is closed, or was cancelled after a claim.
    Leave,
}

/// What the home of a room sends to the loop of a connection that claimed a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClaimReply {
    /// The connection holds the name and may be accepted.
    Granted(Peer),
    /// A later login took the name, before the connection was accepted or after.
    Replaced(Peer),
}

/// What an operator has published to a room, on its way to the home of it.
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) room: Arc<RoomRef>,
    pub(super) text: Box<str>,
}

/// All rooms whose home is this loop. A room exists as long as it has a member.
#[derive(Debug)]
pub(super) struct Home {
    settings: Arc<RoomSettings>,
    rooms: HashMap<Arc<str>, HomeRoom>,
    /// The other gateways, where several are one.
    across: Option<Box<Across>>,
    /// Whether a step has left something of what comes of these for the next turn.
    is_behind: bool,
}

#[derive(Debug)]
struct HomeRoom {
    room: Arc<RoomRef>,
    members: HashMap<Peer, RoomMember>,
    roster: Roster,
    /// Members whose format is [`ClientFormat::Events`].
    event_members: usize,
    /// Members whose format is [`ClientFormat::Messages`].
    message_members: usize,
}

#[derive(Debug)]
struct RoomMember {
    /// The member holds this name until it leaves or is replaced.
    name: Option<Arc<str>>,
    format: ClientFormat,
}

impl Home {
    pub(super) fn new(settings: Arc<RoomSettings>, across: Option<Box<Across>>) -> Self {
        Self { settings, rooms: HashMap::new(), across, is_behind: false }
    }

    /// Whether rooms are on other gateways as well.
    pub(super) fn is_shared(&self) -> bool {
        self.across.is_some()
    }

    /// Answers of other threads can be taken here from now on.
    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        if let Some(across) = &mut self.across {
            across.on_start(sender);
        }
    }

    /// Whether the next tick has nothing to do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.across.as_ref().is_none_or(|own| own.is_at_rest())
    }

    /// Some time has passed.
    pub(super) fn on_tick(&mut self, effects: &mut Effects<'_>) {
        if let Some(across) = &mut self.across {
            across.on_tick(effects.now());
        }
        self.is_behind = false;
        self.take_events(effects);
    }

    /// Takes what the engine says that the gateways share.
    pub(super) fn on_delivery(&mut self, delivery: EngineDelivery, effects: &mut Effects<'_>) {
        if let Some(across) = &mut self.across {
            across.on_delivery(delivery);
        }
        self.take_events(effects);
    }

    /// Does what comes of other gateways, as much as one step may. The next turn goes on with the rest, and not the
    /// next callback: there may be many in a turn.
    fn take_events(&mut self, effects: &mut Effects<'_>) {
        if self.across.is_none() || self.is_behind {
            return;
        }
        let is_one = self.settings.logins == Logins::One;
        let mut allowance = Allowance::new(STEP);
        while let Some(across) = &mut self.across
            && let Some(events) = across.next_events(is_one, &mut allowance)
        {
            for (name, event) in events {
                self.take_event(&name, event, effects);
            }
        }
        effects.charge_work(allowance.spent());
        self.is_behind = self.across.as_ref().is_some_and(|own| own.is_behind());
        if self.is_behind {
            effects.tick_again();
        }
    }

    fn take_event(&mut self, name: &str, event: AcrossEvent, effects: &mut Effects<'_>) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.take(&self.settings, event, effects);
            if room.members.is_empty() {
                self.forget(name, effects);
            }
        }
    }

    /// A room has no member here any more.
    fn forget(&mut self, name: &str, effects: &mut Effects<'_>) {
        let Some(room) = self.rooms.remove(name) else { return };
        self.rooms.shrink_if_sparse(ENTRIES_KEPT);
        if let Some(across) = &mut self.across {
            across.forget(name);
            // Those who are left are elsewhere.
            effects.charge_work(room.roster.count() as u64 * FORGET_WORK);
        }
    }

    /// The settings of the route from now on. Members keep what they have.
    pub(super) fn set_settings(&mut self, settings: &Arc<RoomSettings>) {
        self.settings = Arc::clone(settings);
    }

    /// Publishes what an operator says to a room. Without members there is none.
    pub(super) fn on_announcement(&mut self, message: &Announcement, effects: &mut Effects<'_>) {
        let Announcement { room, text } = message;
        if let Some(across) = &mut self.across {
            across.notice(&room.name, text.clone());
            return self.take_events(effects);
        }
        if let Some(own) = self.rooms.get(&room.name) {
            broadcast_line::announce(&self.settings, &own.room, own.formats(), text, effects);
        }
    }

    /// Applies what a connection did. Actions of a connection that is no member do nothing: a
    /// replaced connection may still send messages, and its `Leave` arrives in any case.
    pub(super) fn on_action(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        let ToHome { room: room_ref, peer, action } = message;
        if matches!(action, RoomAction::Claim { .. } | RoomAction::Enter { .. }) {
            let entry = self.rooms.entry(Arc::clone(&room_ref.name));
            entry.or_insert_with(|| HomeRoom::new(Arc::clone(&room_ref)));
        }
        match action {
            RoomAction::Claim { name, format } => {
                self.enter(&room_ref.name, peer, (Some(&name), format), None, effects);
            }
            RoomAction::Enter { name, format, subscribed_by } => {
                let login = (name.as_ref(), format);
                self.enter(&room_ref.name, peer, login, Some(subscribed_by), effects);
            }
            RoomAction::Open { subscribed_by } => {
                if let Some(room) = self.rooms.get(&room_ref.name) {
                    room.open(peer, subscribed_by, effects);
                }
            }
            RoomAction::SetName(name) => self.set_name(&room_ref.name, peer, &name, effects),
            RoomAction::Say(text) => self.say(&room_ref.name, peer, text, effects),
            RoomAction::Leave => self.leave(&room_ref.name, peer, effects),
        }
        self.take_events(effects);
    }

    /// A connection enters. If it has claimed its name it opens later, once that is granted.
    fn enter(
        &mut self,
        room_name: &Arc<str>,
        peer: Peer,
        (name, format): (Option<&Arc<str>>, ClientFormat),
        opens: Option<SubscribedBy>,
        effects: &mut Effects<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(room_name) else { return };
        let settings = &self.settings;
        let (mut elsewhere, mut later) = (0, Vec::new());
        match &mut self.across {
            Some(across) => {
                let (is_one, now) = (settings.logins == Logins::One, effects.wall_now().0);
                let login = Login { peer, name, is_one, is_claim: opens.is_none(), now };
                let mut events = Vec::new();
                elsewhere = across.enter(room_name, login, &mut events);
                // The claim of this connection is answered behind its entry.
                later = events.extract_if(.., |own| own.grants(peer)).collect();
                for event in events {
                    room.take(settings, event, effects);
                }
            }
            None if opens.is_none() => later.push(AcrossEvent::Change(RoomChange::Granted(peer))),
            None => {}
        }
        room.enter(settings, peer, (name, elsewhere), format, effects);
        for event in later {
            room.take(settings, event, effects);
        }
        if let Some(subscribed_by) = opens {
            room.open(peer, subscribed_by, effects);
        }
    }

    fn set_name(
        &mut self,
        room_name: &Arc<str>,
        peer: Peer,
        name: &Arc<str>,
        effects: &mut Effects<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(room_name) else { return };
        if !room.members.contains_key(&peer) {
            return;
        }
        let mut elsewhere = 0;
        if let Some(across) = &mut self.across {
            let (is_one, now) = (self.settings.logins == Logins::One, effects.wall_now().0);
            let login = Login { peer, name: Some(name), is_one, is_claim: false, now };
            let mut events = Vec::new();
            elsewhere = across.enter(room_name, login, &mut events);
            for event in events {
                room.take(&self.settings, event, effects);
            }
        }
        room.set_name(&self.settings, peer, (name, elsewhere), effects);
    }

    fn say(&mut self, room_name: &str, peer: Peer, text: Box<str>, effects: &mut Effects<'_>) {
        let Some(room) = self.rooms.get_mut(room_name) else { return };
        let Some(across) = &mut self.across else {
            return room.say(&self.settings, peer, &text, effects);
        };
        let Some(RoomMember { name: Some(name), .. }) = room.members.get(&peer) else { return };
        let mut events = Vec::new();
        across.say(room_name, (peer, name), text, &mut events);
        for event in events {
            room.take(&self.settings, event, effects);
        }
    }

    fn leave(&mut self, room_name: &Arc<str>, peer: Peer, effects: &mut Effects<'_>) {
        let Some(room) = self.rooms.get_mut(room_name) else { return };
        room.leave(peer, effects);
        let is_empty = room.members.is_empty();
        if let Some(across) = &mut self.across {
            across.leave(room_name, peer);
        }
        if is_empty {
            self.forget(room_name, effects);
        }
    }
}

impl HomeRoom {
    /// The formats to publish in. Lines are published in any case: a member with lines is subscribed by
    /// its own loop, which may be before its `Enter` arrives here.
    fn formats(&self) -> impl Iterator<Item = ClientFormat> {
        let events = (self.event_members > 0).then_some(ClientFormat::Events);
        let messages = (self.message_members > 0).then_some(ClientFormat::Messages);
        [ClientFormat::Lines].into_iter().chain(events).chain(messages)
    }

    fn new(room: Arc<RoomRef>) -> Self {
        let (members, roster) = (HashMap::new(), Roster::new());
        Self { room, members, roster, event_members: 0, message_members: 0 }
    }

    fn enter(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        (name, elsewhere): (Option<&Arc<str>>, usize),
        format: ClientFormat,
        effects: &mut Effects<'_>,
    ) {
        self.members.insert(peer, RoomMember { name: None, format });
        self.event_members += usize::from(format == ClientFormat::Events);
        self.message_members += usize::from(format == ClientFormat::Messages);
        self.roster.add();
        match name {
            None => self.announce(PresenceChange::Count, Some(peer), effects),
            Some(name) => match elsewhere + self.take_name(settings, peer, name, effects) {
                0 => self.announce(PresenceChange::Joined(name), Some(peer), effects),
                // A login that replaces another changes neither the names nor the count.
                1 => {}
                _ => self.announce(PresenceChange::Count, Some(peer), effects),
            },
        }
    }

    /// The connection of a member is open. A member with events gets the snapshot before it is
    /// subscribed: both effects go to its loop in this order, so no event comes before the snapshot
    /// and none between the two is lost.
    fn open(&self, peer: Peer, subscribed_by: SubscribedBy, effects: &mut Effects<'_>) {
        self.send_snapshot(peer, effects);
        // One that was replaced meanwhile is no member.
        let own = subscribed_by == SubscribedBy::Home;
        if let Some(member) = self.members.get(&peer).filter(|_| own) {
            effects.subscribe(peer, self.room.topic(member.format));
        }
    }

    fn set_name(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        (name, elsewhere): (&Arc<str>, usize),
        effects: &mut Effects<'_>,
    ) {
        let change = match elsewhere + self.take_name(settings, peer, name, effects) {
            // The name stays; the count falls by one, because `peer` was counted without a name.
            0 => PresenceChange::Joined(name),
            _ => PresenceChange::Count,
        };
        self.announce(change, Some(peer), effects);
        self.send_snapshot(peer, effects);
    }

    fn say(&self, settings: &RoomSettings, peer: Peer, text: &str, effects: &mut Effects<'_>) {
        let Some(RoomMember { name: Some(name), .. }) = self.members.get(&peer) else { return };
        log::trace!(
            connection:% = peer; "room {}: {name} said {} bytes", self.room.name, text.len()
        );
        let formats = self.formats();
        broadcast_line::publish(settings, &self.room, formats, (Some(peer), name), text, effects);
    }

    fn leave(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(member) = self.remove(peer) else { return };
        let change = member.name.as_deref().map_or(PresenceChange::Count, PresenceChange::Left);
        self.announce(change, Some(peer), effects);
    }

    /// Does what comes of other gateways.
    fn take(&mut self, settings: &RoomSettings, event: AcrossEvent, effects: &mut Effects<'_>) {
        let change = match event {
            AcrossEvent::Change(change) => change,
            AcrossEvent::Unsent(peer) => {
                if let Some(member) = self.members.get(&peer) {
                    broadcast_line::tell_unsent(settings, (peer, member.format), effects);
                }
                return;
            }
        };
        match change {
            RoomChange::Entered { name, is_told } => {
                self.roster.add();
                if let Some(name) = &name {
                    self.roster.take_name_elsewhere(name);
                }
                if is_told {
                    let joined =
                        name.as_deref().map_or(PresenceChange::Count, PresenceChange::Joined);
                    self.announce(joined, None, effects);
                }
            }
            RoomChange::Named { name, is_told } => {
                self.roster.take_name_elsewhere(&name);
                let named = PresenceChange::Joined(&name);
                self.announce(if is_told { named } else { PresenceChange::Count }, None, effects);
            }
            RoomChange::Left { name, is_told } => {
                if let Some(name) = &name {
                    self.roster.release_name(name);
                }
                self.roster.subtract();
                if is_told {
                    let left = name.as_deref().map_or(PresenceChange::Count, PresenceChange::Left);
                    self.announce(left, None, effects);
                }
            }
            RoomChange::Replaced(peer) => self.replace(peer, effects),
            RoomChange::Granted(peer) if self.members.contains_key(&peer) => {
                effects.answer(peer.loop_index, Box::new(ClaimReply::Granted(peer)));
            }
            RoomChange::Said { by, name, text } => {
                if by.is_none() || settings.order == Order::Topic {
                    let (formats, room) = (self.formats(), &self.room);
                    broadcast_line::publish(settings, room, formats, (by, &name), &text, effects);
                }
            }
            RoomChange::Noticed { is_own, text } => {
                if !is_own || settings.order == Order::Topic {
                    let formats = self.formats();
                    broadcast_line::announce(settings, &self.room, formats, &text, effects);
                }
            }
            RoomChange::Granted(_)
            | RoomChange::Asked
            | RoomChange::Doubted
            | RoomChange::Watch(_) => {}
        }
    }

    /// Gives a name to a member. With [`Logins::One`] the connection that held the name before is
    /// removed from the room and closed. Returns how many there were: more than one if the settings
    /// have allowed that until a reload.
    fn take_name(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        name: &Arc<str>,
        effects: &mut Effects<'_>,
    ) -> usize {
        let mut replaced = 0;
        while settings.logins == Logins::One
            && let Some(holder) = self.holder(name)
        {
            log::debug!(
                connection:% = holder; "room {}: {name} replaced by {peer}", self.room.name
            );
            self.replace(holder, effects);
            replaced += 1;
        }
        self.roster.take_name(name, peer);
        if let Some(member) = self.members.get_mut(&peer) {
            member.name = Some(Arc::clone(name));
        }
        replaced
    }

    /// Removes a member from the room whose name a later login has taken, and closes it.
    fn replace(&mut self, holder: Peer, effects: &mut Effects<'_>) {
        self.remove(holder);
        // The home closes it, not its own loop: what the home publishes later travels behind
        // the close, so the replaced connection receives none of it.
        effects.close(holder, CloseCode::REPLACED, REPLACED);
        // The close does nothing while the holder's claim is granted but its connection is not
        // open yet. This message makes its loop close it when it opens.
        effects.answer(holder.loop_index, Box::new(ClaimReply::Replaced(holder)));
    }

    /// A member that holds this name.
    fn holder(&self, name: &str) -> Option<Peer> {
        let last = self.roster.holder(name)?;
        let holds = |member: &RoomMember| member.name.as_deref() == Some(name);
        if self.members.get(&last).is_some_and(holds) {
            return Some(last);
        }
        // The last one has left before the others: several were allowed then.
        let mut members = self.members.iter();
        members.find(|(_, member)| holds(member)).map(|(peer, _)| *peer)
    }

    fn remove(&mut self, peer: Peer) -> Option<RoomMember> {
        let member = self.members.remove(&peer)?;
        self.members.shrink_if_sparse(ENTRIES_KEPT);
        self.event_members -= usize::from(member.format == ClientFormat::Events);
        self.message_members -= usize::from(member.format == ClientFormat::Messages);
        if let Some(name) = &member.name {
            self.roster.release_name(name);
        }
        self.roster.subtract();
        Some(member)
    }

    /// Publishes what a member did to the members with events, but to itself.
    fn announce(
        &mut self,
        change: PresenceChange<'_>,
        except: Option<Peer>,
        effects: &mut Effects<'_>,
    ) {
        // The roster is asked even if no member has events: it tracks the announced count.
        let presence_event = self.roster.presence_event(&self.room.name, change);
        if let Some(presence_event) = presence_event.filter(|_| self.event_members > 0) {
            let (topic, frame) = (self.room.topic(ClientFormat::Events), presence_event.to_frame());
            match except {
                Some(peer) => effects.publish_except(peer, topic, frame, Order::Sender),
                None => effects.publish(topic, frame, Order::Sender),
            }
        }
    }

    /// Sends the names in the room to a member with events.
    fn send_snapshot(&self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(RoomMember { name, format: ClientFormat::Events }) = self.members.get(&peer)
        else {
            return;
        };
        let snapshot = ServerEvent::Snapshot {
            room: &self.room.name,
            name: name.as_deref(),
            count: self.roster.count(),
            names: self.roster.names(),
        };
        effects.send(peer, snapshot.to_frame());
    }
}

#[cfg(test)]
mod tests;
