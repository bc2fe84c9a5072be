//! Reading the body of a backend's reply, a part at a time and without the conversation that it belongs to.

use super::action::{Action, ActionParts};
use super::client_event::ClientEvent;
use super::event::{Event, EventError, EventKind, Events, parse_close};
use super::grip::{Control, Grip};
use super::reply::ReplyFacts;
use crate::ws::CloseCode;

/// How the reply to a request is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyTerms {
    /// Whether it says if the client is let in.
    pub(super) is_opening: bool,
    /// How the backend marks what it sends, as far as it has said so before.
    pub(super) grip: Option<Grip>,
}

/// Why a reply is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Its body is none of events.
    #[error(transparent)]
    Body(#[from] EventError),
    /// It neither opens the connection nor refuses it.
    #[error("the first event is not OPEN")]
    NotOpened,
    /// It says OPEN about a connection that is open.
    #[error("an event OPEN about a connection that is open")]
    OpenedTwice,
    /// It has taken more than it was sent, or nothing although no more can wait, or not all at the end.
    #[error("Content-Bytes-Accepted is {accepted} of {offered}")]
    Accepted {
        /// What it has taken.
        accepted: usize,
        /// What it was sent.
        offered: usize,
    },
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// It wants more kept than fits.
    #[error("Set-Meta headers are more than {0} bytes")]
    Meta(usize),
}

/// Reads the body of a reply with events.
#[derive(Debug)]
pub struct ReplyReader<'b> {
    events: Events<'b>,
    grip: Option<Grip>,
    /// Whether the client is yet to be let in, and whether it is by a body without events.
    awaits_open: bool,
    opens_when_empty: bool,
    actions: Vec<Action>,
}

impl<'b> ReplyReader<'b> {
    /// Of a reply with these headers and this body.
    #[must_use]
    pub fn new(terms: &ReplyTerms, facts: &ReplyFacts, body: &'b [u8]) -> Self {
        let ReplyTerms { is_opening, grip } = terms;
        let grip = if *is_opening { &facts.grip } else { grip };
        Self {
            events: Events::of(body),
            grip: grip.clone(),
            awaits_open: *is_opening,
            opens_when_empty: facts.keep_alive_s.is_some(),
            actions: Vec::new(),
        }
    }

    /// Reads up to this number of events. Whether all are read.
    ///
    /// # Errors
    /// [`Broken`] if the reply is of no use. Nothing of it counts then.
    pub fn read(&mut self, events_max: usize) -> Result<bool, Broken> {
        for _ in 0..events_max {
            let event = self.events.next().transpose()?;
            if self.awaits_open {
                match event.map(|own| own.kind) {
                    Some(EventKind::Open) => {}
                    None if self.opens_when_empty => {}
                    Some(_) | None => return Err(Broken::NotOpened),
                }
                self.awaits_open = false;
                self.actions.push(Action::Open);
                continue;
            }
            let Some(event) = event else { return Ok(true) };
            if let Some(action) = self.action(event)? {
                let is_last = action.is_last();
                self.actions.push(action);
                if is_last {
                    self.events = Events::of(&[]);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Reads all that is left, and gives what the reply leads to.
    ///
    /// # Errors
    /// As [`ReplyReader::read`].
    pub fn finish(mut self) -> Result<ActionParts, Broken> {
        while !self.read(usize::MAX)? {}
        Ok(ActionParts::from(self.actions))
    }

    fn action(&self, event: Event<'_>) -> Result<Option<Action>, Broken> {
        let content = event.content.unwrap_or_default();
        Ok(match event.kind {
            EventKind::Open => return Err(Broken::OpenedTwice),
            EventKind::Text => {
                let text = std::str::from_utf8(content).map_err(|_| Broken::NotUtf8)?;
                match &self.grip {
                    None => Some(Action::Send(ClientEvent::Text, content.to_vec())),
                    Some(grip) => match text.strip_prefix(CONTROL_PREFIX) {
                        Some(control) => match Control::parse(control) {
                            Some(Control::Detach) => Some(Action::Detach),
                            Some(control) => Some(Action::Control(control)),
                            None => None,
                        },
                        None => grip.message(content).map(|own| send(ClientEvent::Text, own)),
                    },
                }
            }
            EventKind::Binary => match &self.grip {
                None => Some(send(ClientEvent::Binary, content)),
                Some(grip) => grip.message(content).map(|own| send(ClientEvent::Binary, own)),
            },
            EventKind::Ping | EventKind::Pong => {
                let content = content.get(..CONTROL_BYTES_MAX).unwrap_or(content);
                let is_ping = event.kind == EventKind::Ping;
                let own = if is_ping { ClientEvent::Ping } else { ClientEvent::Pong };
                Some(send(own, content))
            }
            EventKind::Close => {
                let close = parse_close(event.content);
                // Libraries write 0 where there is no code; others must not reach the wire either.
                let code = close.and_then(|(code, reason)| {
                    Some((CloseCode::from_wire(code)?, reason.to_owned()))
                });
                Some(Action::Close(code))
            }
            EventKind::Disconnect => Some(Action::Drop),
        })
    }
}

fn send(event: ClientEvent, content: &[u8]) -> Action {
    Action::Send(event, content.to_vec())
}

/// What messages of a backend with GRIP begin with that are for the gateway.
const CONTROL_PREFIX: &str = "c:";
/// The payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_read_in_parts_says_the_same() {
        let body = b"OPEN\r\nTEXT 1\r\na\r\nUNKNOWN\r\nPING\r\nBINARY 1\r\nb\r\nCLOSE\r\nTEXT 1\r\n\xff\r\n";
        let terms = ReplyTerms { is_opening: true, grip: None };
        let reader = || ReplyReader::new(&terms, &ReplyFacts::default(), body);
        let whole = reader().finish().unwrap().into_actions();
        assert_eq!(whole.len(), 5);
        for events_max in 1..6 {
            let mut own = reader();
            while !own.read(events_max).unwrap() {}
            // What stands behind the last action is not looked at.
            assert_eq!(own.finish().unwrap().into_actions(), whole);
        }
    }

    #[test]
    fn what_is_broken_shows_when_it_is_read() {
        let terms = ReplyTerms::default();
        let facts = ReplyFacts::default();
        let mut own = ReplyReader::new(&terms, &facts, b"PING\r\nTEXT 1\r\n\xff\r\n");
        assert_eq!((own.read(1), own.read(1)), (Ok(false), Err(Broken::NotUtf8)));
    }
}
