//! The rooms whose home is this loop: who is in them, who has which name, and in which order
//! things happen there.

use std::collections::HashMap;
use std::sync::Arc;

use super::broadcast_line;
use super::event::ServerEvent;
use super::home_message::{RoomAction, ToClaimant, ToHome};
use super::room_ref::{ClientFormat, RoomRef, shrink_if_sparse};
use super::roster::{Change, Roster};
use super::settings::{Logins, RoomSettings};
use crate::services::{Effects, Order, Peer};
use crate::ws::CloseCode;

/// What a connection is told whose name another took.
pub(super) const REPLACED: &str = "replaced by a new login";

/// All rooms at home here. A room is there as long as somebody is in it.
#[derive(Debug)]
pub(super) struct Home {
    settings: Arc<RoomSettings>,
    rooms: HashMap<Arc<str>, RoomAtHome>,
}

#[derive(Debug)]
struct RoomAtHome {
    place: Arc<RoomRef>,
    members: HashMap<Peer, Member>,
    roster: Roster,
    event_members: usize,
}

#[derive(Debug)]
struct Member {
    /// It holds this name as long as it is a member.
    name: Option<Arc<str>>,
    format: ClientFormat,
}

impl Home {
    pub(super) fn new(settings: Arc<RoomSettings>) -> Self {
        Self { settings, rooms: HashMap::new() }
    }

    /// A connection did something. Whoever was replaced is no member any more: what it said after
    /// that, its late goodbye above all, concerns nobody.
    pub(super) fn on_action(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        let ToHome { place, peer, action } = message;
        if matches!(action, RoomAction::Claim { .. } | RoomAction::Enter { .. }) {
            let room = self.rooms.entry(Arc::clone(&place.room));
            room.or_insert_with(|| RoomAtHome::new(Arc::clone(&place)));
        }
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        match action {
            RoomAction::Claim { name, format } => {
                room.enter(&self.settings, peer, Some(&name), format, effects);
                effects.answer(peer.loop_index, Box::new(ToClaimant::Granted(peer)));
            }
            RoomAction::Enter { name, format } => {
                room.enter(&self.settings, peer, name.as_ref(), format, effects);
                room.open(&self.settings, peer, effects);
            }
            RoomAction::Open => room.open(&self.settings, peer, effects),
            RoomAction::Name(name) => room.name(&self.settings, peer, &name, effects),
            RoomAction::Say(text) => room.say(&self.settings, peer, &text, effects),
            RoomAction::Leave => {
                room.leave(peer, effects);
                if room.members.is_empty() {
                    self.rooms.remove(&place.room);
                    shrink_if_sparse(&mut self.rooms);
                }
            }
        }
    }
}

impl RoomAtHome {
    fn new(place: Arc<RoomRef>) -> Self {
        let (members, roster) = (HashMap::new(), Roster::new());
        Self { place, members, roster, event_members: 0 }
    }

    fn enter(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        name: Option<&Arc<str>>,
        format: ClientFormat,
        effects: &mut Effects<'_>,
    ) {
        self.members.insert(peer, Member { name: None, format });
        self.event_members += usize::from(format == ClientFormat::Events);
        self.roster.add();
        match name {
            None => self.tell(Change::Count, peer, effects),
            Some(name) => {
                // Somebody who comes in place of another is no news.
                if !self.take_name(settings, peer, name, effects) {
                    self.tell(Change::Joined(name), peer, effects);
                }
            }
        }
    }

    /// A member's connection is open. If it is told events: first who is there, then what happens,
    /// and nothing comes between on the way.
    fn open(&self, settings: &RoomSettings, peer: Peer, effects: &mut Effects<'_>) {
        self.welcome(peer, effects);
        let has_events =
            self.members.get(&peer).is_some_and(|own| own.format == ClientFormat::Events);
        if settings.order == Order::Topic && has_events {
            effects.subscribe(peer, self.place.topic(ClientFormat::Events));
        }
    }

    fn name(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        name: &Arc<str>,
        effects: &mut Effects<'_>,
    ) {
        if !self.members.contains_key(&peer) {
            return;
        }
        let change = match self.take_name(settings, peer, name, effects) {
            // The name stays, and there is one less: this one was counted before.
            true => Change::Count,
            false => Change::Joined(name),
        };
        self.tell(change, peer, effects);
        self.welcome(peer, effects);
    }

    fn say(&self, settings: &RoomSettings, peer: Peer, text: &str, effects: &mut Effects<'_>) {
        let Some(Member { name: Some(name), .. }) = self.members.get(&peer) else { return };
        log::trace!("room {}: {name} ({peer}) said {} bytes", self.place.room, text.len());
        // Lines always: whoever reads them hears before it is known here.
        let events = (self.event_members > 0).then_some(ClientFormat::Events);
        let formats = [ClientFormat::Lines].into_iter().chain(events);
        broadcast_line::publish(settings, &self.place, formats, (peer, name), text, effects);
    }

    fn leave(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(member) = self.remove(peer) else { return };
        let change = member.name.as_deref().map_or(Change::Count, Change::Left);
        self.tell(change, peer, effects);
    }

    /// Gives a member its name. If it may have one holder only, who had it is out of the room and
    /// closed; whether somebody was.
    fn take_name(
        &mut self,
        settings: &RoomSettings,
        peer: Peer,
        name: &Arc<str>,
        effects: &mut Effects<'_>,
    ) -> bool {
        let holder = self.roster.holder(name).filter(|_| settings.logins == Logins::One);
        if let Some(holder) = holder {
            log::debug!("room {}: {name} ({holder}) replaced by {peer}", self.place.room);
            self.remove(holder);
            // From here and not by its own loop: nothing that is published after this can reach
            // it before.
            effects.close(holder, CloseCode::REPLACED, REPLACED);
            // It may be granted the name and not be open yet.
            effects.answer(holder.loop_index, Box::new(ToClaimant::Replaced(holder)));
        }
        self.roster.take_name(name, peer);
        if let Some(member) = self.members.get_mut(&peer) {
            member.name = Some(Arc::clone(name));
        }
        holder.is_some()
    }

    fn remove(&mut self, peer: Peer) -> Option<Member> {
        let member = self.members.remove(&peer)?;
        shrink_if_sparse(&mut self.members);
        self.event_members -= usize::from(member.format == ClientFormat::Events);
        if let Some(name) = &member.name {
            self.roster.release_name(name);
        }
        self.roster.subtract();
        Some(member)
    }

    /// Tells the others what `peer` did, those who want to know.
    fn tell(&mut self, change: Change<'_>, peer: Peer, effects: &mut Effects<'_>) {
        let presence_event = self.roster.presence_event(&self.place.room, change);
        if let Some(presence_event) = presence_event.filter(|_| self.event_members > 0) {
            let topic = self.place.topic(ClientFormat::Events);
            effects.publish_except(peer, topic, presence_event.to_frame(), Order::Sender);
        }
    }

    /// Tells a member who is there, if it wants to know.
    fn welcome(&self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(Member { name, format: ClientFormat::Events }) = self.members.get(&peer) else {
            return;
        };
        let welcome = ServerEvent::Accept {
            room: &self.place.room,
            name: name.as_deref(),
            count: self.roster.count(),
            names: self.roster.names(),
        };
        effects.send(peer, welcome.to_frame());
    }
}
