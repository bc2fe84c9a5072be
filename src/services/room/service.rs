//! The service of a loop: it admits the members connected to the loop and forwards what they do.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::broadcast_line;
use super::event::{ServerEvent, parse_client_event};
use super::home::{Announcement, ClaimReply, Home, REPLACED, RoomAction, ToHome};
use super::join_request::{JoinRequest, Refusal, RequestedName, read_join_request, refused_name};
use super::local_members::{JoinState, LocalMember, LocalMembers, NewMember};
use super::name::check_name;
use super::room_ref::{ClientFormat, ENTRIES_KEPT, RoomRef};
use super::settings::{Logins, NameSource, RoomSettings, Tokens, is_token_right};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::services::{
    Accept, Admission, CloseReason, ConnectRequest, Description, Effects, LoopSite, Message, Order,
    Peer, Service, ServiceMessage, ServiceSender, TokenAnswer, TokenInquiry, TokenVerdict,
};
use crate::shrink::Shrink as _;
use crate::ws::CloseCode;

/// Chat rooms, as [`RoomSettings`] describes them.
#[derive(Debug)]
pub struct Room {
    settings: Arc<RoomSettings>,
    site: LoopSite,
    service_sender: Option<ServiceSender>,
    /// The members on this loop, with those that are not admitted yet.
    members: LocalMembers,
    /// Connections that are accepted only to be closed with this reason.
    refused: HashMap<ConnKey, String>,
    /// What looks up the tokens of those that wait for that: the settings may name another meanwhile.
    asked: HashMap<ConnKey, Tokens>,
    /// The rooms whose home is this loop.
    home: Home,
}

impl Room {
    /// Makes the instance for the loop at `site`.
    #[must_use]
    pub fn new(settings: impl Into<Arc<RoomSettings>>, site: LoopSite) -> Self {
        let settings = settings.into();
        Self {
            members: LocalMembers::new(site.count),
            home: Home::new(Arc::clone(&settings)),
            service_sender: None,
            refused: HashMap::new(),
            asked: HashMap::new(),
            settings,
            site,
        }
    }

    /// Refuses a connection: with an HTTP status, or after the upgrade with a close frame where the
    /// client is a page (see [`Refusal::format`]).
    fn refuse(&mut self, peer: Peer, refusal: Refusal) -> Result<Admission, Rejection> {
        let Refusal { reason, format } = refusal;
        log::debug!(connection:% = peer; "room: {reason}");
        match format {
            ClientFormat::Lines => Err(Rejection::bad_request(reason)),
            ClientFormat::Events => {
                self.refused.insert(peer.key, reason);
                Ok(Admission::Now(Accept::default()))
            }
        }
    }

    /// Checks a token, or starts its look-up.
    fn check_token(
        &mut self,
        peer: Peer,
        name: &str,
        given: Option<String>,
    ) -> Result<Admission, Rejection> {
        let NameSource::Token { tokens, .. } = &self.settings.name else {
            return Ok(Admission::Now(Accept::default()));
        };
        let given = given.ok_or_else(token_wrong)?;
        match tokens {
            Tokens::Configured(tokens) => match is_token_right(tokens, name, &given) {
                true => Ok(Admission::Now(Accept::default())),
                false => Err(token_wrong()),
            },
            Tokens::Looked(lookup) => {
                let answer_to = self.service_sender.clone().ok_or_else(logins_unavailable)?;
                let name = name.to_owned();
                let inquiry = TokenInquiry { peer, name, token: given, answer_to };
                match lookup.ask(inquiry) {
                    Ok(()) => {
                        self.asked.insert(peer.key, Tokens::Looked(Arc::clone(lookup)));
                        Ok(Admission::Later)
                    }
                    Err(too_many) => {
                        Err(Rejection::unavailable(LOOKUP_RETRY_S, too_many.to_string()))
                    }
                }
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

    fn on_token_answer(&mut self, answer: TokenAnswer, effects: &mut Effects<'_>) {
        let TokenAnswer { peer, verdict } = answer;
        let member = self
            .members
            .get_mut(peer.key)
            .filter(|member| member.join_state == JoinState::AwaitsToken);
        // A peer that left in the meantime needs no answer. Its key names no later connection.
        let Some(member) = member.filter(|_| peer.loop_index == self.site.index) else { return };
        self.asked.remove(&peer.key);
        self.asked.shrink_if_sparse(ENTRIES_KEPT);
        let rejection = match verdict {
            TokenVerdict::Right => {
                if let Admission::Now(accept) =
                    claim_or_accept(&self.settings, member, peer, effects)
                {
                    effects.decide(peer, Ok(accept));
                }
                return;
            }
            TokenVerdict::Wrong => token_wrong(),
            TokenVerdict::Unavailable => logins_unavailable(),
        };
        self.members.remove(peer.key);
        effects.decide(peer, Err(rejection));
    }
}

impl Service for Room {
    fn on_start(&mut self, service_sender: ServiceSender) {
        self.service_sender = Some(service_sender);
    }

    fn wants_addresses(&self) -> bool {
        matches!(self.settings.name, NameSource::Address)
    }

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let JoinRequest { room, name, format } = match read_join_request(&self.settings, connect) {
            Ok(join_request) => join_request,
            Err(refusal) => return self.refuse(peer, refusal),
        };
        let (name, admission) = match name {
            RequestedName::Later => (None, Admission::Now(Accept::default())),
            RequestedName::Now(name) => (Some(name), Admission::Now(Accept::default())),
            RequestedName::WithToken(name, token) => {
                let admission = self.check_token(peer, &name, token)?;
                (Some(name), admission)
            }
        };
        let room = room.as_deref().unwrap_or(&self.settings.default_room);
        let awaits_token = matches!(admission, Admission::Later);
        let join_state = if awaits_token { JoinState::AwaitsToken } else { JoinState::Accepted };
        self.members.add(peer.key, NewMember { room, name, format, join_state });
        match self.members.get_mut(peer.key).filter(|_| !awaits_token) {
            Some(member) => Ok(claim_or_accept(&self.settings, member, peer, effects)),
            None => Ok(admission),
        }
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(member) = self.members.remove(peer.key) else { return };
        match member.join_state {
            JoinState::AwaitsToken => {
                if let Some(Tokens::Looked(lookup)) = self.asked.remove(&peer.key) {
                    self.asked.shrink_if_sparse(ENTRIES_KEPT);
                    lookup.cancel(peer);
                }
            }
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
        let subscribes =
            self.settings.order == Order::Sender || member.format == ClientFormat::Lines;
        if subscribes {
            // The subscription precedes the reply to the upgrade, so a client misses nothing that
            // is said after it sees the reply. With events and `Order::Topic` the home subscribes
            // the member, behind the snapshot.
            effects.subscribe(peer, member.room.topic(member.format));
        }
        let action = match member.join_state {
            JoinState::NameGranted => RoomAction::Open { subscribes },
            JoinState::AwaitsToken
            | JoinState::AwaitsName
            | JoinState::Accepted
            | JoinState::Replaced => {
                RoomAction::Enter { name: member.name.clone(), format: member.format, subscribes }
            }
        };
        send_to_home(member, peer, action, effects);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let Some(text) = message.text() else {
            return effects.close(peer, CloseCode::UNSUPPORTED, "text only");
        };
        let Some(member) = self.members.get_mut(peer.key) else { return };
        let text = match member.format {
            ClientFormat::Lines => Cow::Borrowed(text),
            ClientFormat::Events => match parse_client_event(text) {
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
                let (room, formats) = (&member.room, ClientFormat::ALL.into_iter());
                broadcast_line::publish(
                    &self.settings,
                    room,
                    formats,
                    (peer, name),
                    &text,
                    effects,
                );
            }
            _ => send_to_home(member, peer, RoomAction::Say(text.into()), effects),
        }
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        // Members stay as they came in; the settings are for what they do and who comes next.
        if let Ok(next) = next.downcast::<Self>() {
            self.home.set_settings(&next.settings);
            self.settings = next.settings;
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
        let LocalMember { room, name, join_state, .. } = self.members.get(peer.key)?;
        let is_checked = *join_state != JoinState::AwaitsToken;
        let user = name.as_deref().filter(|_| is_checked);
        Some(Description { user, room: Some(&room.name) })
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
        match self.settings.order {
            Order::Sender => {
                let formats = ClientFormat::ALL.into_iter();
                broadcast_line::announce(&self.settings, &room, formats, &text, effects);
            }
            Order::Topic => {
                let (home, held_bytes) = (room.home, name.len() + text.len());
                let announcement = Announcement { room, text: text.into() };
                effects.tell(home, ServiceMessage::holding(announcement, held_bytes));
            }
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
        match message.downcast::<ClaimReply>() {
            Ok(message) => self.on_claim_reply(*message, effects),
            Err(message) => {
                if let Ok(answer) = message.downcast::<TokenAnswer>() {
                    self.on_token_answer(*answer, effects);
                }
            }
        }
    }
}

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

fn token_wrong() -> Rejection {
    Rejection::forbidden("token wrong.")
}

fn logins_unavailable() -> Rejection {
    Rejection::internal_error("logins cannot be checked now")
}

/// The name of a member in the log.
fn label(member: &LocalMember) -> &str {
    member.name.as_deref().unwrap_or("unnamed")
}

/// `Retry-After` of a refusal because too many look-ups are under way.
const LOOKUP_RETRY_S: u32 = 1;
