//! The service: what a loop does for the members that are connected to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::event::{ServerEvent, parse_client_event};
use super::home::{Home, REPLACED};
use super::home_message::{RoomAction, ToClaimant, ToHome};
use super::join_request::{JoinRequest, NameGiven, Refusal, read_join_request, refused_name};
use super::local_members::{JoinState, LocalMember, LocalMembers, NewMember};
use super::name::check_name;
use super::room_ref::ClientFormat;
use super::settings::{Logins, NameSource, RoomSettings, Tokens};
use super::{broadcast_line, token};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::services::{
    Accept, Admission, CloseReason, ConnectRequest, Effects, LoopSite, Message, Order, Peer,
    Service, ServiceMessage, ServiceSender, TokenAnswer, TokenInquiry, TokenVerdict,
};
use crate::ws::CloseCode;

/// Chat rooms. What the route's settings leave open, [`RoomSettings`] says.
#[derive(Debug)]
pub struct Room {
    settings: Arc<RoomSettings>,
    site: LoopSite,
    service_sender: Option<ServiceSender>,
    /// The members whose connections are on this loop, and who waits for its token to be judged.
    members: LocalMembers,
    /// Those let in to be told at once that they cannot stay, and why.
    turned_away: HashMap<ConnKey, String>,
    /// The rooms that are at home on this loop.
    home: Home,
}

impl Room {
    /// The instance for one loop.
    #[must_use]
    pub fn new(settings: impl Into<Arc<RoomSettings>>, site: LoopSite) -> Self {
        let settings = settings.into();
        Self {
            members: LocalMembers::new(site.count),
            home: Home::new(Arc::clone(&settings)),
            service_sender: None,
            turned_away: HashMap::new(),
            settings,
            site,
        }
    }

    fn turn_away(&mut self, peer: Peer, refusal: Refusal) -> Result<Admission, Rejection> {
        let Refusal { reason, format } = refusal;
        log::debug!("room: {peer}: {reason}");
        match format {
            ClientFormat::Lines => Err(Rejection::bad_request(reason)),
            ClientFormat::Events => {
                self.turned_away.insert(peer.key, reason);
                Ok(Admission::Now(Accept::default()))
            }
        }
    }

    /// Judges a token, or has it judged.
    fn check_token(
        &self,
        peer: Peer,
        name: &str,
        given: Option<String>,
    ) -> Result<Admission, Rejection> {
        let NameSource::Token { tokens, .. } = &self.settings.name else {
            return Ok(Admission::Now(Accept::default()));
        };
        let given = given.ok_or_else(token_wrong)?;
        match tokens {
            Tokens::Configured(tokens) => match token::is_right(tokens, name, &given) {
                true => Ok(Admission::Now(Accept::default())),
                false => Err(token_wrong()),
            },
            Tokens::Looked(lookup) => {
                let answer_to = self.service_sender.clone().ok_or_else(logins_unavailable)?;
                let name = name.to_owned();
                let inquiry = TokenInquiry { peer, name, token: given, answer_to };
                match lookup.ask(inquiry) {
                    Ok(()) => Ok(Admission::Later),
                    Err(too_many) => {
                        Err(Rejection::unavailable(LOOKUP_RETRY_S, too_many.to_string()))
                    }
                }
            }
        }
    }

    /// The home of a room answered a claim. Whoever left meanwhile has said so there.
    fn on_claim_judged(&mut self, message: ToClaimant, effects: &mut Effects<'_>) {
        let (ToClaimant::Granted(peer) | ToClaimant::Replaced(peer)) = message;
        let Some(member) = self.members.get_mut(peer.key) else { return };
        match message {
            ToClaimant::Granted(_) => {
                member.join_state = JoinState::Granted;
                effects.decide(peer, Ok(Accept::default()));
            }
            ToClaimant::Replaced(_) => {
                // If it is not open yet, this does nothing, and it is closed when it opens.
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
            .filter(|member| member.join_state == JoinState::AskedAbout);
        // Whoever left meanwhile needs no answer, and its key will never be anybody else's.
        let Some(member) = member.filter(|_| peer.loop_index == self.site.index) else { return };
        let rejection = match verdict {
            TokenVerdict::Right => {
                if let Admission::Now(welcome) = seek_entry(&self.settings, member, peer, effects) {
                    effects.decide(peer, Ok(welcome));
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

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let JoinRequest { room, name, format } = match read_join_request(&self.settings, connect) {
            Ok(join_request) => join_request,
            Err(refusal) => return self.turn_away(peer, refusal),
        };
        let (name, admission) = match name {
            NameGiven::Later => (None, Admission::Now(Accept::default())),
            NameGiven::Now(name) => (Some(name), Admission::Now(Accept::default())),
            NameGiven::WithToken(name, token) => {
                let admission = self.check_token(peer, &name, token)?;
                (Some(name), admission)
            }
        };
        let room = room.as_deref().unwrap_or(&self.settings.default_room);
        let is_asked_about = matches!(admission, Admission::Later);
        let join_state = if is_asked_about { JoinState::AskedAbout } else { JoinState::Free };
        self.members.add(peer.key, NewMember { room, name, format, join_state });
        match self.members.get_mut(peer.key).filter(|_| !is_asked_about) {
            Some(member) => Ok(seek_entry(&self.settings, member, peer, effects)),
            None => Ok(admission),
        }
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(member) = self.members.remove(peer.key) else { return };
        match (member.join_state, &self.settings.name) {
            (JoinState::AskedAbout, NameSource::Token { tokens: Tokens::Looked(lookup), .. }) => {
                lookup.cancel(peer);
            }
            (JoinState::Claims | JoinState::Granted, _) => {
                tell_home(&member, peer, RoomAction::Leave, effects);
            }
            (JoinState::AskedAbout | JoinState::Free | JoinState::Replaced, _) => {}
        }
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        if let Some(reason) = self.turned_away.remove(&peer.key) {
            return effects.close(peer, CloseCode::NAME_REFUSED, reason);
        }
        let Some(member) = self.members.get_mut(peer.key) else { return };
        if member.join_state == JoinState::Replaced {
            return effects.close(peer, CloseCode::REPLACED, REPLACED);
        }
        log::debug!("room {}: {} joined", member.place.room, Shown(member, peer));
        if self.settings.order == Order::Sender || member.format == ClientFormat::Lines {
            // It hears from now on, before its client knows that it is open. Those with events are
            // told when they are in the room: first who is there, then what happens.
            effects.subscribe(peer, member.place.topic(member.format));
        }
        let action = match member.join_state {
            JoinState::Granted => RoomAction::Open,
            JoinState::AskedAbout | JoinState::Claims | JoinState::Free | JoinState::Replaced => {
                RoomAction::Enter { name: member.name.clone(), format: member.format }
            }
        };
        tell_home(member, peer, action, effects);
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
                Err(bad) => {
                    let why = bad.to_string();
                    return effects.reply_text(&ServerEvent::Error { text: &why }.to_json());
                }
            },
        };
        if member.name.is_none() {
            return take_name(member, peer, &text, effects);
        }
        let text = broadcast_line::tidy(&text, self.settings.newlines, member.is_named_by_text);
        let Some(text) = text else { return };
        match (self.settings.order, &member.name) {
            (Order::Sender, Some(name)) => {
                log::trace!("room {}: {name} said {} bytes", member.place.room, text.len());
                let (place, formats) = (&member.place, ClientFormat::ALL.into_iter());
                broadcast_line::publish(
                    &self.settings,
                    place,
                    formats,
                    (peer, name),
                    &text,
                    effects,
                );
            }
            _ => tell_home(member, peer, RoomAction::Say(text.into()), effects),
        }
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let Some(member) = self.members.remove(peer.key) else { return };
        log::debug!("room {}: {} left: {reason}", member.place.room, Shown(&member, peer));
        tell_home(&member, peer, RoomAction::Leave, effects);
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        let message = match message.downcast::<ToHome>() {
            Ok(message) => return self.home.on_action(*message, effects),
            Err(message) => message,
        };
        match message.downcast::<ToClaimant>() {
            Ok(message) => self.on_claim_judged(*message, effects),
            Err(message) => {
                if let Ok(answer) = message.downcast::<TokenAnswer>() {
                    self.on_token_answer(*answer, effects);
                }
            }
        }
    }
}

/// Asks the room's home for the name if only one may have it. A client that is let in after that
/// knows that from then on no earlier login is in its place.
fn seek_entry(
    settings: &RoomSettings,
    member: &mut LocalMember,
    peer: Peer,
    effects: &mut Effects<'_>,
) -> Admission {
    match &member.name {
        Some(name) if settings.logins == Logins::One => {
            let action = RoomAction::Claim { name: Arc::clone(name), format: member.format };
            member.join_state = JoinState::Claims;
            tell_home(member, peer, action, effects);
            Admission::Later
        }
        _ => {
            member.join_state = JoinState::Free;
            Admission::Now(Accept::default())
        }
    }
}

/// The first text that is not blank is the name of whoever came without one.
fn take_name(member: &mut LocalMember, peer: Peer, text: &str, effects: &mut Effects<'_>) {
    if text.trim().is_empty() {
        return;
    }
    match check_name(text) {
        Ok(name) => {
            log::debug!("room {}: {peer} is {name}", member.place.room);
            member.name = Some(Arc::clone(&name));
            tell_home(member, peer, RoomAction::Name(name), effects);
        }
        Err(error) => effects.close(peer, CloseCode::NAME_REFUSED, refused_name(error)),
    }
}

fn tell_home(member: &LocalMember, peer: Peer, action: RoomAction, effects: &mut Effects<'_>) {
    let place = Arc::clone(&member.place);
    let home = place.home;
    // Names are shared with the member itself.
    let held_bytes = if let RoomAction::Say(text) = &action { text.len() } else { 0 };
    effects.tell(home, ServiceMessage::holding(ToHome { place, peer, action }, held_bytes));
}

fn token_wrong() -> Rejection {
    Rejection::forbidden("token wrong.")
}

fn logins_unavailable() -> Rejection {
    Rejection::internal_error("logins cannot be checked now")
}

/// Somebody in the log.
struct Shown<'a>(&'a LocalMember, Peer);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0.name.as_deref().unwrap_or("somebody");
        write!(formatter, "{name} ({})", self.1)
    }
}

const LOOKUP_RETRY_S: u32 = 1;
