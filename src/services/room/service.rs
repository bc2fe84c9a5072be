//! The service: what a loop does for the members that are connected to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::door::{Introduction, NameGiven, Refusal, introduce, refused_name};
use super::event::{ServerEvent, parse_client_event};
use super::home::{Home, REPLACED};
use super::letter::{Deed, ToClaimant, ToHome};
use super::name::check_name;
use super::people::{Newcomer, People, Person, Standing};
use super::place::Form;
use super::settings::{Logins, NameSource, RoomSettings, Tokens};
use super::{speech, token};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::services::{
    Admission, Arrival, CloseReason, Effects, Letter, Letterbox, LoopSite, Message, Order, Peer,
    Service, TokenAnswer, TokenInquiry, TokenVerdict, Welcome,
};
use crate::ws::CloseCode;

/// Chat rooms. What the route's settings leave open, [`RoomSettings`] says.
#[derive(Debug)]
pub struct Room {
    settings: Arc<RoomSettings>,
    site: LoopSite,
    letterbox: Option<Letterbox>,
    /// The members whose connections are on this loop, and who waits for its token to be judged.
    people: People,
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
            people: People::new(site.count),
            home: Home::new(Arc::clone(&settings)),
            letterbox: None,
            turned_away: HashMap::new(),
            settings,
            site,
        }
    }

    fn turn_away(&mut self, peer: Peer, refusal: Refusal) -> Result<Admission, Rejection> {
        let Refusal { reason, form } = refusal;
        log::debug!("room: {peer}: {reason}");
        match form {
            Form::Lines => Err(Rejection::bad_request(reason)),
            Form::Events => {
                self.turned_away.insert(peer.key, reason);
                Ok(Admission::Now(Welcome::default()))
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
            return Ok(Admission::Now(Welcome::default()));
        };
        let given = given.ok_or_else(token_wrong)?;
        match tokens {
            Tokens::Configured(tokens) => match token::is_right(tokens, name, &given) {
                true => Ok(Admission::Now(Welcome::default())),
                false => Err(token_wrong()),
            },
            Tokens::Looked(lookup) => {
                let answer_to = self.letterbox.clone().ok_or_else(logins_unavailable)?;
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
    fn on_claim_judged(&mut self, letter: ToClaimant, effects: &mut Effects<'_>) {
        let (ToClaimant::Granted(peer) | ToClaimant::Replaced(peer)) = letter;
        let Some(person) = self.people.get_mut(peer.key) else { return };
        match letter {
            ToClaimant::Granted(_) => {
                person.standing = Standing::Granted;
                effects.decide(peer, Ok(Welcome::default()));
            }
            ToClaimant::Replaced(_) => {
                // If it is not open yet, this does nothing, and it is closed when it opens.
                person.standing = Standing::Replaced;
                effects.close(peer, CloseCode::REPLACED, REPLACED);
            }
        }
    }

    fn on_token_answer(&mut self, answer: TokenAnswer, effects: &mut Effects<'_>) {
        let TokenAnswer { peer, verdict } = answer;
        let person =
            self.people.get_mut(peer.key).filter(|person| person.standing == Standing::AskedAbout);
        // Whoever left meanwhile needs no answer, and its key will never be anybody else's.
        let Some(person) = person.filter(|_| peer.loop_index == self.site.index) else { return };
        let rejection = match verdict {
            TokenVerdict::Right => {
                if let Admission::Now(welcome) = seek_entry(&self.settings, person, peer, effects) {
                    effects.decide(peer, Ok(welcome));
                }
                return;
            }
            TokenVerdict::Wrong => token_wrong(),
            TokenVerdict::Unavailable => logins_unavailable(),
        };
        self.people.remove(peer.key);
        effects.decide(peer, Err(rejection));
    }
}

impl Service for Room {
    fn on_start(&mut self, letterbox: Letterbox) {
        self.letterbox = Some(letterbox);
    }

    fn admit(
        &mut self,
        arrival: &Arrival<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let Introduction { room, name, form } = match introduce(&self.settings, arrival) {
            Ok(introduction) => introduction,
            Err(refusal) => return self.turn_away(peer, refusal),
        };
        let (name, admission) = match name {
            NameGiven::Later => (None, Admission::Now(Welcome::default())),
            NameGiven::Now(name) => (Some(name), Admission::Now(Welcome::default())),
            NameGiven::WithToken(name, token) => {
                let admission = self.check_token(peer, &name, token)?;
                (Some(name), admission)
            }
        };
        let room = room.as_deref().unwrap_or(&self.settings.default_room);
        let is_asked_about = matches!(admission, Admission::Later);
        let standing = if is_asked_about { Standing::AskedAbout } else { Standing::Free };
        self.people.add(peer.key, Newcomer { room, name, form, standing });
        match self.people.get_mut(peer.key).filter(|_| !is_asked_about) {
            Some(person) => Ok(seek_entry(&self.settings, person, peer, effects)),
            None => Ok(admission),
        }
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(person) = self.people.remove(peer.key) else { return };
        match (person.standing, &self.settings.name) {
            (Standing::AskedAbout, NameSource::Token { tokens: Tokens::Looked(lookup), .. }) => {
                lookup.cancel(peer);
            }
            (Standing::Claims | Standing::Granted, _) => {
                tell_home(&person, peer, Deed::Leave, effects);
            }
            (Standing::AskedAbout | Standing::Free | Standing::Replaced, _) => {}
        }
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        if let Some(reason) = self.turned_away.remove(&peer.key) {
            return effects.close(peer, CloseCode::NAME_REFUSED, reason);
        }
        let Some(person) = self.people.get_mut(peer.key) else { return };
        if person.standing == Standing::Replaced {
            return effects.close(peer, CloseCode::REPLACED, REPLACED);
        }
        log::debug!("room {}: {} joined", person.place.room, Shown(person, peer));
        if self.settings.order == Order::Sender || person.form == Form::Lines {
            // It hears from now on, before its client knows that it is open. Those with events are
            // told when they are in the room: first who is there, then what happens.
            effects.subscribe(peer, person.place.topic(person.form));
        }
        let deed = match person.standing {
            Standing::Granted => Deed::Open,
            Standing::AskedAbout | Standing::Claims | Standing::Free | Standing::Replaced => {
                Deed::Enter { name: person.name.clone(), form: person.form }
            }
        };
        tell_home(person, peer, deed, effects);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let Some(text) = message.text() else {
            return effects.close(peer, CloseCode::UNSUPPORTED, "text only");
        };
        let Some(person) = self.people.get_mut(peer.key) else { return };
        let text = match person.form {
            Form::Lines => Cow::Borrowed(text),
            Form::Events => match parse_client_event(text) {
                Ok(text) => Cow::Owned(text),
                Err(bad) => {
                    let why = bad.to_string();
                    return effects.reply_text(&ServerEvent::Error { text: &why }.to_json());
                }
            },
        };
        if person.name.is_none() {
            return take_name(person, peer, &text, effects);
        }
        let text = speech::tidy(&text, self.settings.newlines, person.is_named_by_text);
        let Some(text) = text else { return };
        match (self.settings.order, &person.name) {
            (Order::Sender, Some(name)) => {
                log::trace!("room {}: {name} said {} bytes", person.place.room, text.len());
                let (place, forms) = (&person.place, Form::ALL.into_iter());
                speech::publish(&self.settings, place, forms, (peer, name), &text, effects);
            }
            _ => tell_home(person, peer, Deed::Say(text.into()), effects),
        }
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let Some(person) = self.people.remove(peer.key) else { return };
        log::debug!("room {}: {} left: {reason}", person.place.room, Shown(&person, peer));
        tell_home(&person, peer, Deed::Leave, effects);
    }

    fn on_letter(&mut self, _: u16, letter: Letter, effects: &mut Effects<'_>) {
        let letter = match letter.downcast::<ToHome>() {
            Ok(letter) => return self.home.on_deed(*letter, effects),
            Err(letter) => letter,
        };
        match letter.downcast::<ToClaimant>() {
            Ok(letter) => self.on_claim_judged(*letter, effects),
            Err(letter) => {
                if let Ok(answer) = letter.downcast::<TokenAnswer>() {
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
    person: &mut Person,
    peer: Peer,
    effects: &mut Effects<'_>,
) -> Admission {
    match &person.name {
        Some(name) if settings.logins == Logins::One => {
            let deed = Deed::Claim { name: Arc::clone(name), form: person.form };
            person.standing = Standing::Claims;
            tell_home(person, peer, deed, effects);
            Admission::Later
        }
        _ => {
            person.standing = Standing::Free;
            Admission::Now(Welcome::default())
        }
    }
}

/// The first text that is not blank is the name of whoever came without one.
fn take_name(person: &mut Person, peer: Peer, text: &str, effects: &mut Effects<'_>) {
    if text.trim().is_empty() {
        return;
    }
    match check_name(text) {
        Ok(name) => {
            log::debug!("room {}: {peer} is {name}", person.place.room);
            person.name = Some(Arc::clone(&name));
            tell_home(person, peer, Deed::Name(name), effects);
        }
        Err(error) => effects.close(peer, CloseCode::NAME_REFUSED, refused_name(error)),
    }
}

fn tell_home(person: &Person, peer: Peer, deed: Deed, effects: &mut Effects<'_>) {
    let place = Arc::clone(&person.place);
    let home = place.home;
    effects.tell(home, Box::new(ToHome { place, peer, deed }));
}

fn token_wrong() -> Rejection {
    Rejection::forbidden("token wrong.")
}

fn logins_unavailable() -> Rejection {
    Rejection::internal_error("logins cannot be checked now")
}

/// Somebody in the log.
struct Shown<'a>(&'a Person, Peer);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0.name.as_deref().unwrap_or("somebody");
        write!(formatter, "{name} ({})", self.1)
    }
}

const LOOKUP_RETRY_S: u32 = 1;
