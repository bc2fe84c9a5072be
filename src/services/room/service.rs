//! The service of a loop: it admits the members connected to the loop and forwards what they do.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::across::Across;
use super::broadcast_line;
use super::event::{ServerEvent, parse_client_event};
use super::home::{Announcement, ClaimReply, Home, REPLACED, RoomAction, SubscribedBy, ToHome};
use super::join_request::{JoinRequest, Refusal, RequestedName, read_join_request, refused_name};
use super::local_members::{JoinState, LocalMember, LocalMembers, NewMember};
use super::room_ref::{ClientFormat, RoomRef};
use super::settings::{Logins, NameSource, RoomSettings};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::services::name::check_name;
use crate::services::{
    Accept, Admission, CloseReason, ConnectRequest, Description, Effects, EngineDelivery, LoopSite,
    Message, Order, Peer, Rights, RouteId, Service, ServiceMessage, ServiceSender,
    SharedEngineLink,
};
use crate::ws::CloseCode;

/// Chat rooms, as [`RoomSettings`] describes them.
#[derive(Debug)]
pub struct Room {
    settings: Arc<RoomSettings>,
    site: LoopSite,
    /// The members on this loop, with those that are not admitted yet.
    members: LocalMembers,
    /// Connections that are accepted only to be closed with this reason.
    refused: HashMap<ConnKey, String>,
    /// The rooms whose home is this loop.
    home: Home,
}

impl Room {
    /// Makes the instance for the loop at `site`.
    #[must_use]
    pub fn new(settings: impl Into<Arc<RoomSettings>>, site: LoopSite) -> Self {
        Self::with_others(settings.into(), site, None)
    }

    /// As [`Room::new`], for a route whose rooms are on all gateways that share an engine.
    #[must_use]
    pub fn shared(
        settings: impl Into<Arc<RoomSettings>>,
        site: LoopSite,
        route: &RouteId,
        link: &SharedEngineLink,
    ) -> Self {
        let settings = settings.into();
        let across = Across::new(link, route, settings.order == Order::Topic);
        Self::with_others(settings, site, Some(Box::new(across)))
    }

    fn with_others(
        settings: Arc<RoomSettings>,
        site: LoopSite,
        across: Option<Box<Across>>,
    ) -> Self {
        Self {
            members: LocalMembers::new(site.count),
            home: Home::new(Arc::clone(&settings), across),
            refused: HashMap::new(),
            settings,
            site,
        }
    }

    /// Refuses a connection: with an HTTP status, or after the upgrade with a close frame where the
    /// client is a page (see [`Refusal::format`]).
    fn refuse(&mut self, peer: Peer, refusal: Refusal) -> Result<Accept, Rejection> {
        let Refusal { reason, format } = refusal;
        log::debug!(connection:% = peer; "room: {reason}");
        match format {
            ClientFormat::Lines => Err(Rejection::bad_request(reason)),
            ClientFormat::Events | ClientFormat::Messages => {
                self.refused.insert(peer.key, reason);
                Ok(Accept::default())
            }
        }
    }

    /// Refuses a connection whose identity does not let it into the room.
    fn refuse_entry(&mut self, peer: Peer, format: ClientFormat) -> Result<Accept, Rejection> {
        let reason = "room refused: you may not enter it";
        match format {
            ClientFormat::Lines => Err(Rejection::forbidden(reason)),
            ClientFormat::Events | ClientFormat::Messages => {
                self.refuse(peer, Refusal { reason: reason.to_owned(), format })
            }
        }
    }

    /// The home of a room answered a claim. A connection that left in the meantime has sent `Leave`
    /// to the home, which releases the name.
    fn on_claim_reply(&mut self, reply: ClaimReply, effects: &mut Effects<'_>) {
        let (ClaimReply::Granted(peer) | ClaimReply::Replaced(peer)) = reply;
        let Some(member) = self.members.get_mut(peer.key) else { return };
        match reply {
            ClaimReply::Granted(_) => {
                member.join_state = JoinState::NameGranted;
                effects.decide(peer, Ok(Accept::default()));
            }
            ClaimReply::Replaced(_) => {
                // The close does nothing if the connection is not open yet; `on_open` closes it
                // then.
                member.join_state = JoinState::Replaced;
                effects.close(peer, CloseCode::REPLACED, REPLACED);
            }
        }
    }
}

impl Service for Room {
    fn on_start(&mut self, service_sender: ServiceSender) {
        self.home.on_start(&service_sender);
    }

    fn tick_ms(&self) -> Option<u64> {
        self.home.is_shared().then_some(TICK_MS)
    }

    fn is_at_rest(&self) -> bool {
        self.home.is_at_rest()
    }

    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        self.home.on_tick(effects);
    }

    fn wants_addresses(&self) -> bool {
        matches!(self.settings.name, NameSource::Address)
    }

    fn screen(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        _: &mut Effects<'_>,
    ) -> Option<Result<Accept, Rejection>> {
        let refusal = read_join_request(&self.settings, connect).err()?;
        Some(self.refuse(peer, refusal))
    }

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let JoinRequest { room, name, format } = match read_join_request(&self.settings, connect) {
            Ok(join_request) => join_request,
            Err(refusal) => return self.refuse(peer, refusal).map(Admission::Now),
        };
        let room = room.as_deref().unwrap_or(&self.settings.default_room);
        let Some(rights) = self.settings.rights.of(connect.identity(), room) else {
            return self.refuse_entry(peer, format).map(Admission::Now);
        };
        let (name, is_named_by_text, rights) = match name {
            RequestedName::Later => (None, true, rights),
            RequestedName::Now(name) => (Some(name), false, rights),
            // What it says would have no author.
            RequestedName::Unnamed => {
                (None, false, rights.within(Rights::READ.and(Rights::SEE_MEMBERS)))
            }
        };
        let format = match format {
            ClientFormat::Events if !rights.allows(Rights::SEE_MEMBERS) => ClientFormat::Messages,
            ClientFormat::Events | ClientFormat::Lines | ClientFormat::Messages => format,
        };
        let new_member = NewMember { room, name, format, is_named_by_text, rights };
        self.members.add(peer.key, new_member);
        Ok(match self.members.get_mut(peer.key) {
            Some(member) => claim_or_accept(&self.settings, member, peer, effects),
            None => Admission::Now(Accept::default()),
        })
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(member) = self.members.remove(peer.key) else { return };
        match member.join_state {
            JoinState::AwaitsName | JoinState::NameGranted => {
                send_to_home(&member, peer, RoomAction::Leave, effects);
            }
            JoinState::Accepted | JoinState::Replaced => {}
        }
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        if let Some(reason) = self.refused.remove(&peer.key) {
            return effects.close(peer, CloseCode::NAME_REFUSED, reason);
        }
        self.members.open(peer.key);
        let Some(member) = self.members.get_mut(peer.key) else { return };
        if member.join_state == JoinState::Replaced {
            return effects.close(peer, CloseCode::REPLACED, REPLACED);
        }
        log::debug!(connection:% = peer; "room {}: {} joined", member.room.name, label(member));
        let is_early = self.settings.order == Order::Sender || member.format == ClientFormat::Lines;
        let subscribed_by = match member.rights.allows(Rights::READ) {
            true if is_early => SubscribedBy::Own,
            true => SubscribedBy::Home,
            false => SubscribedBy::Neither,
        };
        if subscribed_by == SubscribedBy::Own {
            // The subscription precedes the reply to the upgrade, so a client misses nothing that
            // is said after it sees the reply. With events and `Order::Topic` the home subscribes
            // the member, behind the snapshot.
            effects.subscribe(peer, member.room.topic(member.format));
        }
        let action = match member.join_state {
            JoinState::NameGranted => RoomAction::Open { subscribed_by },
            JoinState::AwaitsName | JoinState::Accepted | JoinState::Replaced => {
                let (name, format) = (member.name.clone(), member.format);
                RoomAction::Enter { name, format, subscribed_by }
            }
        };
        send_to_home(member, peer, action, effects);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let Some(text) = message.text() else {
            return effects.close(peer, CloseCode::UNSUPPORTED, "text only");
        };
        let Some(member) = self.members.get_mut(peer.key) else { return };
        let gives_its_name = member.name.is_none() && member.is_named_by_text;
        if !gives_its_name && !member.rights.allows(Rights::WRITE) {
            return refuse_message(member, peer, effects);
        }
        let text = match member.format {
            ClientFormat::Lines => Cow::Borrowed(text),
            ClientFormat::Events | ClientFormat::Messages => match parse_client_event(text) {
                Ok(text) => Cow::Owned(text),
                Err(error) => {
                    let why = error.to_string();
                    return effects.reply_text(&ServerEvent::Error { text: &why }.to_json());
                }
            },
        };
        if member.name.is_none() {
            return take_name(member, peer, &text, effects);
        }
        let text =
            broadcast_line::normalize(&text, self.settings.newlines, member.is_named_by_text);
        let Some(text) = text else { return };
        match (self.settings.order, &member.name) {
            (Order::Sender, Some(name)) => {
                log::trace!(
                    connection:% = peer; "room {}: {name} said {} bytes", member.room.name, text.len()
                );
                let may_hide_members = self.settings.rights.may_hide_members;
                let formats = ClientFormat::with_hidden(may_hide_members);
                let room = &member.room;
                broadcast_line::publish(
                    &self.settings,
                    room,
                    formats,
                    (Some(peer), name),
                    &text,
                    effects,
                );
                if self.home.is_shared() {
                    // Its own have it; the home tells the others.
                    send_to_home(member, peer, RoomAction::Say(text.into()), effects);
                }
            }
            _ => send_to_home(member, peer, RoomAction::Say(text.into()), effects),
        }
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        // Members stay as they came in; the settings are for what they do and who comes next.
        if let Ok(next) = next.downcast::<Self>() {
            let mut settings = next.settings;
            if self.settings.rights.may_hide_members && !settings.rights.may_hide_members {
                // Those who came in so are still there.
                Arc::make_mut(&mut settings).rights.may_hide_members = true;
            }
            if self.home.is_shared() {
                // The rooms are heard as they were.
                Arc::make_mut(&mut settings).order = self.settings.order;
            }
            self.home.set_settings(&settings);
            self.settings = settings;
        }
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let Some(member) = self.members.remove(peer.key) else { return };
        log::debug!(
            connection:% = peer; "room {}: {} left: {reason}", member.room.name, label(&member)
        );
        send_to_home(&member, peer, RoomAction::Leave, effects);
    }

    fn describe(&self, peer: Peer) -> Option<Description<'_>> {
        let LocalMember { room, name, .. } = self.members.get(peer.key)?;
        Some(Description { user: name.as_deref(), room: Some(&room.name) })
    }

    fn rooms_end(&self) -> usize {
        self.members.rooms().end()
    }

    fn room(&self, position: usize) -> Option<(&str, usize)> {
        self.members.rooms().at(position)
    }

    fn publish(&mut self, room: &str, text: &str, effects: &mut Effects<'_>) -> bool {
        let Ok(name) = check_name(room) else { return false };
        let Some(text) = broadcast_line::normalize(text, self.settings.newlines, true) else {
            return false;
        };
        let room = Arc::new(RoomRef::new(&name, self.site.count));
        if self.settings.order == Order::Sender {
            let formats = ClientFormat::with_hidden(self.settings.rights.may_hide_members);
            broadcast_line::announce(&self.settings, &room, formats, &text, effects);
        }
        if self.settings.order == Order::Topic || self.home.is_shared() {
            let (home, held_bytes) = (room.home, name.len() + text.len());
            let announcement = Announcement { room, text: text.into() };
            effects.tell(home, ServiceMessage::holding(announcement, held_bytes));
        }
        true
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        let message = match message.downcast::<ToHome>() {
            Ok(message) => return self.home.on_action(*message, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<Announcement>() {
            Ok(message) => return self.home.on_announcement(&message, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<EngineDelivery>() {
            Ok(message) => return self.home.on_delivery(*message, effects),
            Err(message) => message,
        };
        if let Ok(message) = message.downcast::<ClaimReply>() {
            self.on_claim_reply(*message, effects);
        }
    }
}

/// How often what the engine has refused is tried again.
const TICK_MS: u64 = 250;

/// Claims the name at the room's home if it may have one holder only, or accepts at once. The
/// connection is accepted behind the claim: when the client sees the reply to its upgrade, earlier
/// logins with its name are replaced.
fn claim_or_accept(
    settings: &RoomSettings,
    member: &mut LocalMember,
    peer: Peer,
    effects: &mut Effects<'_>,
) -> Admission {
    match &member.name {
        Some(name) if settings.logins == Logins::One => {
            let action = RoomAction::Claim { name: Arc::clone(name), format: member.format };
            member.join_state = JoinState::AwaitsName;
            send_to_home(member, peer, action, effects);
            Admission::Later
        }
        _ => {
            member.join_state = JoinState::Accepted;
            Admission::Now(Accept::default())
        }
    }
}

/// Takes the first text that is not blank as the name of a member without one.
fn take_name(member: &mut LocalMember, peer: Peer, text: &str, effects: &mut Effects<'_>) {
    if text.trim().is_empty() {
        return;
    }
    match check_name(text) {
        Ok(name) => {
            log::debug!(connection:% = peer; "room {}: is {name}", member.room.name);
            member.name = Some(Arc::clone(&name));
            send_to_home(member, peer, RoomAction::SetName(name), effects);
        }
        Err(error) => effects.close(peer, CloseCode::NAME_REFUSED, refused_name(error)),
    }
}

fn send_to_home(member: &LocalMember, peer: Peer, action: RoomAction, effects: &mut Effects<'_>) {
    // The home loop sends itself a service message too, so that actions of its own members are
    // applied after the callback, like those of others.
    let room = Arc::clone(&member.room);
    let home = room.home;
    // The member shares its name, so only what it says counts.
    let held_bytes = if let RoomAction::Say(text) = &action { text.len() } else { 0 };
    effects.tell(home, ServiceMessage::holding(ToHome { room, peer, action }, held_bytes));
}

/// Tells a member that may not write so. Lines have no way to say it but the last one.
fn refuse_message(member: &LocalMember, peer: Peer, effects: &mut Effects<'_>) {
    let text = "you may not write in this room";
    match member.format.is_json() {
        true => effects.reply_text(&ServerEvent::Error { text }.to_json()),
        false => effects.close(peer, CloseCode::POLICY, text),
    }
}

/// The name of a member in the log.
fn label(member: &LocalMember) -> &str {
    member.name.as_deref().unwrap_or("unnamed")
}
