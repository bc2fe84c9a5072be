//! What goes on between the gateway and a backend about one connection.

use std::collections::VecDeque;

use super::client_event::ClientEvent;
use super::event::{
    Event, EventError, EventKind, Events, close_content, encode_event, encoded_bytes, parse_close,
};
use super::grip::{Control, Grip};
use super::reply::ReplyFacts;
use crate::ws::CloseCode;

/// How much a conversation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationLimits {
    /// Bytes of messages that wait, from which on the client is not read.
    pub waiting_bytes_max: usize,
    /// Messages that wait, from which on the client is not read.
    pub waiting_messages_max: usize,
    /// Bytes of the names and values that a backend has kept with [`ReplyFacts::set_meta`].
    pub meta_bytes_max: usize,
}

/// How a client has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a close frame, with this code if it gave one.
    Closed(Option<u16>),
    /// Without one, or the gateway has ended it.
    Gone,
}

/// The events about one connection: those that wait, those under way, and what the backend has said so
/// far. While it waits for nothing it holds nothing but what the backend has asked it to keep.
///
/// One request is under way at a time. [`Conversation::next_request`] gives it,
/// [`Conversation::replied`] or [`Conversation::failed`] ends it.
#[derive(Debug)]
pub struct Conversation {
    limits: ConversationLimits,
    /// Whether each request tells one event.
    is_single: bool,
    phase: Phase,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether a message has come since the last request.
    has_news: bool,
    under_way: Option<UnderWay>,
    /// Bytes at the front of `waiting` that the backend was sent and did not take.
    replayed_bytes: usize,
    /// What the client has ended with, as long as the backend was not told.
    end: Option<End>,
    /// What the client has said in its close frame beside the code.
    close_reason: Box<str>,
    meta: Vec<(Box<str>, Box<str>)>,
    grip: Option<Grip>,
    keep_alive_s: Option<u32>,
    requests: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The backend was not asked yet, or has not answered.
    Opening,
    Open,
    /// Nothing more is told to the backend.
    Ended,
}

#[derive(Debug)]
struct Waiting {
    kind: EventKind,
    content: Box<[u8]>,
}

/// What the request under way tells.
#[derive(Debug)]
struct UnderWay {
    messages: VecDeque<Waiting>,
    message_bytes: usize,
    tells_end: bool,
}

/// A request to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    /// The events.
    pub body: Vec<u8>,
    /// The number of the request among those of the connection, from 1. One that is sent again has the
    /// same.
    pub sequence: u64,
    /// Bytes of messages in front that the backend was sent before; 0 for none.
    pub replayed_bytes: usize,
    /// Names and values that the backend has asked to get back.
    pub meta: Vec<(Box<str>, Box<str>)>,
    /// What it is about, which decides whether it may be sent again.
    pub about: About,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether the client is let in.
    Opening,
    /// Messages, or nothing.
    Messages,
    /// The end, perhaps behind messages.
    End,
}

/// What a reply leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The client is let in. Always the first.
    Open,
    /// The client is sent a message, a ping or a pong.
    Send(ClientEvent, Vec<u8>),
    /// The connection is closed with this code and reason, or with neither. Always the last.
    Close(Option<(CloseCode, String)>),
    /// What a backend with GRIP wants of the gateway.
    Control(Control),
    /// The backend is no longer told anything. Always the last.
    Detach,
    /// The client is dropped. Always the last.
    Drop,
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

impl Conversation {
    /// About a client that wants to connect.
    #[must_use]
    pub fn new(limits: ConversationLimits) -> Self {
        Self {
            limits,
            is_single: false,
            phase: Phase::Opening,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            has_news: false,
            under_way: None,
            replayed_bytes: 0,
            end: None,
            close_reason: Box::default(),
            meta: Vec::new(),
            grip: None,
            keep_alive_s: None,
            requests: 0,
        }
    }

    /// As [`Conversation::new`], with a request for each event.
    #[must_use]
    pub fn of_single_events(limits: ConversationLimits) -> Self {
        Self { is_single: true, ..Self::new(limits) }
    }

    /// The client has sent a message. Nothing is refused: who holds to [`Conversation::is_full`] stays
    /// within the limits and one message.
    pub fn message(&mut self, event: ClientEvent, content: &[u8]) {
        if !self.is_told() {
            return;
        }
        let kind = match event {
            ClientEvent::Text => EventKind::Text,
            ClientEvent::Binary => EventKind::Binary,
            ClientEvent::Ping => EventKind::Ping,
            ClientEvent::Pong => EventKind::Pong,
        };
        self.has_news = true;
        self.waiting_bytes += content.len();
        self.waiting.push_back(Waiting { kind, content: content.into() });
    }

    /// Whether so much waits that the client is not to be read for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting_bytes >= self.limits.waiting_bytes_max
            || self.waiting.len() >= self.limits.waiting_messages_max
    }

    /// What the client has said in its close frame beside the code. To be called before
    /// [`Conversation::end`].
    pub fn close_reason(&mut self, reason: &str) {
        if self.is_told() {
            self.close_reason = reason.into();
        }
    }

    /// The client has ended the connection. The first end counts.
    pub fn end(&mut self, end: End) {
        if self.phase == Phase::Opening && self.requests == 0 {
            // The backend has never heard of it.
            self.phase = Phase::Ended;
        } else if self.phase != Phase::Ended && self.end.is_none() {
            self.end = Some(end);
        }
    }

    /// Whether there is nothing more to tell, and nothing under way.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended && self.under_way.is_none()
    }

    /// How long the backend wants to be left without a request, in seconds, while there is nothing to
    /// tell it.
    #[must_use]
    pub fn keep_alive_s(&self) -> Option<u32> {
        self.keep_alive_s.filter(|_| self.phase == Phase::Open)
    }

    /// Whether the backend speaks GRIP.
    #[must_use]
    pub fn has_grip(&self) -> bool {
        self.grip.is_some()
    }

    /// Bytes of messages that wait or are under way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.under_way.as_ref().map_or(0, |own| own.message_bytes)
    }

    /// Whether the backend is still told of what the client does.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.phase != Phase::Ended && self.end.is_none()
    }

    /// Whether [`Conversation::next_request`] would give one.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.under_way.is_none()
            && match self.phase {
                Phase::Opening => self.requests == 0,
                // What was not taken is sent again with what comes after it.
                Phase::Open => {
                    let waits = self.is_single && !self.waiting.is_empty();
                    self.has_news || waits || self.end.is_some()
                }
                Phase::Ended => false,
            }
    }

    /// The request to be made next; `None` while one is under way, and where there is nothing to tell.
    pub fn next_request(&mut self) -> Option<EventRequest> {
        self.has_request().then(|| self.begin()).flatten()
    }

    /// A request although there is nothing to tell; `None` while one is under way, or if the connection is
    /// not open.
    pub fn keep_alive_request(&mut self) -> Option<EventRequest> {
        (self.phase == Phase::Open).then(|| self.begin()).flatten()
    }

    fn begin(&mut self) -> Option<EventRequest> {
        if self.under_way.is_some() {
            return None;
        }
        let mut body = Vec::new();
        let is_opening = self.phase == Phase::Opening;
        let (messages, message_bytes) = if is_opening {
            encode_event(&mut body, EventKind::Open, None);
            (VecDeque::new(), 0)
        } else {
            self.has_news = false;
            self.take_waiting()
        };
        body.reserve(messages.iter().map(|own| encoded_bytes(own.content.len())).sum());
        for Waiting { kind, content } in &messages {
            encode_event(&mut body, *kind, Some(content));
        }
        let is_alone = !self.is_single || messages.is_empty();
        let is_last = is_alone && self.waiting.is_empty();
        let end = self.end.filter(|_| !is_opening && is_last);
        match end {
            Some(End::Closed(code)) => {
                let content = close_content(code, &self.close_reason);
                encode_event(&mut body, EventKind::Close, content.as_deref());
            }
            Some(End::Gone) => encode_event(&mut body, EventKind::Disconnect, None),
            None => {}
        }
        let tells_end = end.is_some();
        self.under_way = Some(UnderWay { messages, message_bytes, tells_end });
        self.requests += 1;
        Some(EventRequest {
            body,
            sequence: self.requests,
            replayed_bytes: std::mem::take(&mut self.replayed_bytes),
            meta: self.meta.clone(),
            about: match (is_opening, tells_end) {
                (true, _) => About::Opening,
                (false, true) => About::End,
                (false, false) => About::Messages,
            },
        })
    }

    /// The messages of the next request, and their bytes.
    fn take_waiting(&mut self) -> (VecDeque<Waiting>, usize) {
        if !self.is_single {
            return (std::mem::take(&mut self.waiting), std::mem::take(&mut self.waiting_bytes));
        }
        let first = self.waiting.pop_front();
        let bytes = first.as_ref().map_or(0, |own| own.content.len());
        self.waiting_bytes -= bytes;
        if self.waiting.is_empty() {
            // A queue keeps its peak otherwise.
            self.waiting = VecDeque::new();
        }
        (first.into_iter().collect(), bytes)
    }

    /// The backend has answered the request under way otherwise than by events, which leads to this. If it
    /// asked whether the client is let in, the client is.
    pub fn answered(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let Some(under_way) = self.under_way.take() else { return Vec::new() };
        if under_way.tells_end {
            self.finish();
            return Vec::new();
        }
        let opened = (self.phase == Phase::Opening).then_some(Action::Open);
        if opened.is_some() {
            self.phase = Phase::Open;
        }
        opened.into_iter().chain(actions).collect()
    }

    /// The backend has answered the request under way with 200 and a body of events.
    ///
    /// # Errors
    /// [`Broken`] if the reply is of no use; then the client is to be dropped, or refused if it was not
    /// let in. The backend is still told of the end.
    pub fn replied(&mut self, facts: ReplyFacts, body: &[u8]) -> Result<Vec<Action>, Broken> {
        let Some(under_way) = self.under_way.take() else { return Ok(Vec::new()) };
        if under_way.tells_end {
            // Whatever it says, there is no client to say it to.
            self.finish();
            return check_all_taken(&facts, &under_way).map(|()| Vec::new());
        }
        let result = self.take_reply(facts, under_way, body);
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn take_reply(
        &mut self,
        facts: ReplyFacts,
        under_way: UnderWay,
        body: &[u8],
    ) -> Result<Vec<Action>, Broken> {
        if let Some(accepted) = facts.accepted_bytes {
            self.keep_rest(under_way, accepted)?;
        }
        let mut events = Events::of(body);
        let mut actions = Vec::new();
        if self.phase == Phase::Opening {
            match events.next().transpose()? {
                Some(Event { kind: EventKind::Open, .. }) => {}
                None if facts.keep_alive_s.is_some() => {}
                Some(_) | None => return Err(Broken::NotOpened),
            }
            self.phase = Phase::Open;
            self.grip = facts.grip;
            actions.push(Action::Open);
        }
        self.keep_alive_s = facts.keep_alive_s;
        self.keep_meta(facts.set_meta)?;
        for event in events {
            if let Some(action) = self.action(event?)? {
                let is_last = matches!(action, Action::Close(_) | Action::Detach | Action::Drop);
                actions.push(action);
                if is_last {
                    self.finish();
                    break;
                }
            }
        }
        Ok(actions)
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

    /// The backend has taken only a part: the rest waits in front.
    fn keep_rest(&mut self, mut under_way: UnderWay, accepted: usize) -> Result<(), Broken> {
        let offered = under_way.message_bytes;
        let broken = Err(Broken::Accepted { accepted, offered });
        if accepted > offered {
            return broken;
        }
        let rest = offered - accepted;
        let holds = rest + self.waiting_bytes;
        if rest > 0 && accepted == 0 && holds >= self.limits.waiting_bytes_max {
            return broken;
        }
        let mut taken = accepted;
        while let Some(mut first) = under_way.messages.pop_front() {
            if first.content.len() <= taken {
                taken -= first.content.len();
                continue;
            }
            // The rest of a message is a message, as the protocol knows no parts.
            first.content = first.content[taken..].into();
            under_way.messages.push_front(first);
            break;
        }
        self.waiting_bytes = holds;
        self.replayed_bytes = rest;
        under_way.messages.append(&mut self.waiting);
        self.waiting = under_way.messages;
        Ok(())
    }

    fn keep_meta(&mut self, set: Vec<(Box<str>, Box<str>)>) -> Result<(), Broken> {
        for (name, value) in set {
            self.meta.retain(|(own, _)| *own != name);
            if !value.is_empty() {
                self.meta.push((name, value));
            }
        }
        self.meta.shrink_to_fit();
        let bytes: usize = self.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes_max = self.limits.meta_bytes_max;
        if bytes > bytes_max { Err(Broken::Meta(bytes_max)) } else { Ok(()) }
    }

    /// The request under way has no reply that counts. What it told is lost: the client is to be dropped,
    /// or refused if it was not let in. The backend is told of the end unless `is_over`: it has said
    /// itself that the connection is no more, or the end could not be told.
    pub fn failed(&mut self, is_over: bool) {
        let tells_end = self.under_way.take().is_some_and(|own| own.tells_end);
        if is_over || tells_end { self.finish() } else { self.abandon() }
    }

    /// The client is dropped or refused, and the backend told that it is gone.
    fn abandon(&mut self) {
        // To a backend that has not let it in there is nothing to say, but that it may think it has.
        self.phase = Phase::Open;
        self.forget_waiting();
        self.end = Some(End::Gone);
    }

    fn finish(&mut self) {
        self.phase = Phase::Ended;
        self.forget_waiting();
        self.end = None;
        self.close_reason = Box::default();
    }

    fn forget_waiting(&mut self) {
        self.waiting = VecDeque::new();
        (self.waiting_bytes, self.replayed_bytes, self.has_news) = (0, 0, false);
    }
}

fn send(event: ClientEvent, content: &[u8]) -> Action {
    Action::Send(event, content.to_vec())
}

fn check_all_taken(facts: &ReplyFacts, under_way: &UnderWay) -> Result<(), Broken> {
    let offered = under_way.message_bytes;
    match facts.accepted_bytes {
        Some(accepted) if accepted != offered => Err(Broken::Accepted { accepted, offered }),
        Some(_) | None => Ok(()),
    }
}

/// What messages of a backend with GRIP begin with that are for the gateway.
const CONTROL_PREFIX: &str = "c:";
/// The payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests;
