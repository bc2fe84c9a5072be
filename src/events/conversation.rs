//! What goes on between the gateway and a backend about one connection.

use std::collections::VecDeque;

use super::action::{Action, ActionParts};
use super::client_event::ClientEvent;
use super::event::{EventKind, close_content, encode_event, encoded_bytes};
use super::grip::Grip;
use super::reply::ReplyFacts;
use super::reply_reader::{Broken, ReplyReader, ReplyTerms};

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
/// [`Conversation::take_reply`] or [`Conversation::failed`] ends it.
#[derive(Debug)]
pub struct Conversation {
    limits: ConversationLimits,
    /// Whether each request tells one event.
    is_single: bool,
    phase: Phase,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether the client is read no more for now.
    is_paused: bool,
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
    /// How its reply is read.
    pub terms: ReplyTerms,
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
            is_paused: false,
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

    /// To be asked with each message: whether the client is to be read no more for now, as too much of it waits.
    pub fn pauses(&mut self) -> bool {
        // Also where a request has taken meanwhile what waited: it is read again when that has ended.
        self.is_paused |= self.is_full();
        self.is_paused
    }

    /// To be asked when a request has ended: whether a client that was to be read no more is read again.
    pub fn resumes(&mut self) -> bool {
        let resumes = self.is_paused && !self.is_full();
        self.is_paused &= !resumes;
        resumes
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

    /// Bytes that are kept as long as the connection is there, because the backend has asked for that.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        let pair = |own: &(Box<str>, Box<str>)| size_of_val(own) + own.0.len() + own.1.len();
        self.meta.iter().map(pair).sum()
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
            terms: self.terms(),
        })
    }

    fn terms(&self) -> ReplyTerms {
        ReplyTerms { is_opening: self.phase == Phase::Opening, grip: self.grip.clone() }
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

    /// The backend has answered the request under way with 200 and this body of events: reads it, and takes what
    /// it says.
    ///
    /// # Errors
    /// As [`Conversation::take_reply`].
    pub fn replied(&mut self, facts: ReplyFacts, body: &[u8]) -> Result<Vec<Action>, Broken> {
        let tells_end = self.under_way.as_ref().is_none_or(|own| own.tells_end);
        let read = match tells_end {
            true => Ok(ActionParts::default()),
            false => ReplyReader::new(&self.terms(), &facts, body).finish(),
        };
        self.take_reply(facts, read).map(ActionParts::into_actions)
    }

    /// The backend has answered the request under way with 200 and a body of events, which a [`ReplyReader`]
    /// has read by the terms of the request. It may be long, so others can read it where none waits for them.
    ///
    /// # Errors
    /// [`Broken`] if the reply is of no use; then the client is to be dropped, or refused if it was not
    /// let in. The backend is still told of the end.
    pub fn take_reply(
        &mut self,
        facts: ReplyFacts,
        read: Result<ActionParts, Broken>,
    ) -> Result<ActionParts, Broken> {
        let Some(under_way) = self.under_way.take() else { return Ok(ActionParts::default()) };
        if under_way.tells_end {
            // Whatever it says, there is no client to say it to.
            self.finish();
            return check_all_taken(&facts, &under_way).map(|()| ActionParts::default());
        }
        let result = self.take_read(facts, under_way, read);
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn take_read(
        &mut self,
        facts: ReplyFacts,
        under_way: UnderWay,
        read: Result<ActionParts, Broken>,
    ) -> Result<ActionParts, Broken> {
        if let Some(accepted) = facts.accepted_bytes {
            self.keep_rest(under_way, accepted)?;
        }
        let actions = read?;
        if self.phase == Phase::Opening {
            self.phase = Phase::Open;
            self.grip = facts.grip;
        }
        self.keep_alive_s = facts.keep_alive_s;
        self.keep_meta(facts.set_meta)?;
        if actions.ends() {
            self.finish();
        }
        Ok(actions)
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
        self.end.get_or_insert(End::Gone);
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

fn check_all_taken(facts: &ReplyFacts, under_way: &UnderWay) -> Result<(), Broken> {
    let offered = under_way.message_bytes;
    match facts.accepted_bytes {
        Some(accepted) if accepted != offered => Err(Broken::Accepted { accepted, offered }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
