//! What a service may do, written down while its callback runs.
//!
//! Replies to the peer whose message is being handled go straight into that connection's output:
//! small ones are copied behind each other, so that one write takes them all, large ones are sent
//! from where they were read. What concerns other connections is noted and done afterwards, so a
//! callback never meets a table that changes under its hands.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Accept, Peer, ServiceMessage};
use crate::conn::Outgoing;
use crate::http::Rejection;
use crate::timer::Millis;
use crate::ws::{CloseCode, EncodedFrame, MessageKind};

/// A whole message, unmasked and checked, where it lies in the loop's buffer.
#[derive(Debug)]
pub struct Message<'m> {
    kind: MessageKind,
    payload: &'m mut [u8],
}

impl<'m> Message<'m> {
    pub(crate) fn new(kind: MessageKind, payload: &'m mut [u8]) -> Self {
        Self { kind, payload }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The payload; UTF-8 if the message is text.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload
    }

    /// The payload, to be changed in place before it is sent back. Text must stay UTF-8.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// The text of a text message.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => std::str::from_utf8(self.payload).ok(),
            MessageKind::Binary => None,
        }
    }
}

/// Something to be done after the callback. A route is meant by its number.
#[derive(Debug)]
pub(crate) enum Effect {
    Close(Peer, CloseRequest),
    Decide(Peer, Result<Accept, Rejection>),
    Publish(u8, Publication, Order),
    Send(Peer, EncodedFrame),
    Subscribe(Peer, Arc<str>),
    Tell(u8, u16, ServiceMessage),
    Unsubscribe(Peer, Arc<str>),
}

/// What the services of a loop asked for and what is yet to be done.
#[derive(Debug, Default)]
pub(crate) struct PendingEffects {
    /// The time of this turn.
    pub(crate) now: Millis,
    pub(crate) effects: Vec<Effect>,
    /// Effects on connections that are not there.
    pub(crate) ignored: u64,
}

/// A frame for all members of a topic but one, and those that were published right behind it.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Arc<str>,
    pub(crate) frame: EncodedFrame,
    /// They travel together, so that each member is looked at once for all of them.
    pub(crate) more: Vec<EncodedFrame>,
    pub(crate) except: Option<Peer>,
}

impl Publication {
    fn new(topic: &Arc<str>, frame: EncodedFrame, except: Option<Peer>) -> Self {
        Self { topic: Arc::clone(topic), frame, more: Vec::new(), except }
    }

    /// All its frames, in their order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &EncodedFrame> + Clone {
        std::iter::once(&self.frame).chain(&self.more)
    }

    /// Takes another one along, if it is for the same members and both are short.
    fn takes(&mut self, next: &Self) -> bool {
        let is_short = |frame: &EncodedFrame| {
            frame.as_bytes().len() <= TOGETHER_FRAME_BYTES_MAX && !frame.is_joinable()
        };
        let fits = self.more.len() < TOGETHER_FRAMES_MAX - 1
            && is_short(&self.frame)
            && is_short(&next.frame)
            && self.except == next.except
            && (Arc::ptr_eq(&self.topic, &next.topic) || self.topic == next.topic);
        if fits {
            self.more.push(next.frame.clone());
        }
        fits
    }
}

/// In which order the members of a topic see what is published to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What one loop publishes arrives in its order; between loops there is none.
    Sender,
    /// All members see one order: every publication goes through the topic's home loop.
    #[default]
    #[serde(rename = "room")]
    Topic,
}

/// A close that a service asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseRequest {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

/// Collects the effects of one callback.
#[derive(Debug)]
pub struct Effects<'e> {
    /// Number of the route whose service is called.
    route: u8,
    current: Option<Current<'e>>,
    pending: &'e mut PendingEffects,
}

/// The connection that the callback is about, while it is open.
#[derive(Debug)]
struct Current<'e> {
    peer: Peer,
    outgoing: &'e mut Outgoing,
    /// Where the message being handled lies in the read buffer, if it does.
    message: Option<Range<usize>>,
}

impl<'e> Effects<'e> {
    /// Effects of a callback about an open connection.
    pub(crate) fn on(
        route: u8,
        peer: Peer,
        message: Option<Range<usize>>,
        outgoing: &'e mut Outgoing,
        pending: &'e mut PendingEffects,
    ) -> Self {
        Self { route, current: Some(Current { peer, outgoing, message }), pending }
    }

    /// Effects of a callback that is not about an open connection.
    pub(crate) fn detached(route: u8, pending: &'e mut PendingEffects) -> Self {
        Self { route, current: None, pending }
    }

    /// The time of this turn, the same for all callbacks in it.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.pending.now
    }

    /// Answers the current peer with a copy of `payload`. Text must be UTF-8.
    pub fn reply(&mut self, kind: MessageKind, payload: &[u8]) {
        match &mut self.current {
            Some(current) => current.outgoing.frame(kind.opcode(), payload),
            None => self.pending.ignored += 1,
        }
    }

    /// Answers the current peer with text.
    pub fn reply_text(&mut self, text: &str) {
        self.reply(MessageKind::Text, text.as_bytes());
    }

    /// Answers the current peer with its own message, as it is now, without copying a large one that came
    /// uncompressed.
    pub fn reply_in_place(&mut self, message: Message<'_>) {
        let Message { kind, payload } = message;
        match &mut self.current {
            Some(Current { outgoing, message: Some(range), .. }) => {
                debug_assert_eq!(payload.len(), range.len());
                outgoing.frame_in_place(kind.opcode(), payload, range.clone());
            }
            Some(current) => current.outgoing.frame(kind.opcode(), payload),
            None => self.pending.ignored += 1,
        }
    }

    /// Sends a frame to any peer, on any loop. If that peer is slow, its route's policy decides
    /// what becomes of it; if it is gone, nothing.
    pub fn send(&mut self, peer: Peer, frame: EncodedFrame) {
        match &mut self.current {
            Some(current) if current.peer == peer => current.outgoing.encoded(&frame),
            _ => self.pending.effects.push(Effect::Send(peer, frame)),
        }
    }

    /// Lets a peer in, or not, for which [`Admission::Later`](super::Admission::Later) was the
    /// answer so far. If it has left meanwhile, nothing happens.
    pub fn decide(&mut self, peer: Peer, decision: Result<Accept, Rejection>) {
        self.pending.effects.push(Effect::Decide(peer, decision));
    }

    /// Makes a peer a member of a topic of this service.
    pub fn subscribe(&mut self, peer: Peer, topic: &Arc<str>) {
        self.pending.effects.push(Effect::Subscribe(peer, Arc::clone(topic)));
    }

    /// Takes a peer out of a topic. It leaves all of them by itself when it closes.
    pub fn unsubscribe(&mut self, peer: Peer, topic: &Arc<str>) {
        self.pending.effects.push(Effect::Unsubscribe(peer, Arc::clone(topic)));
    }

    /// Sends a frame to every member of a topic, on all loops.
    pub fn publish(&mut self, topic: &Arc<str>, frame: EncodedFrame, order: Order) {
        self.request_publication(Publication::new(topic, frame, None), order);
    }

    /// As [`Effects::publish`], to all but one.
    pub fn publish_except(
        &mut self,
        except: Peer,
        topic: &Arc<str>,
        frame: EncodedFrame,
        order: Order,
    ) {
        self.request_publication(Publication::new(topic, frame, Some(except)), order);
    }

    fn request_publication(&mut self, publication: Publication, order: Order) {
        let effects = &mut self.pending.effects;
        if let Some(Effect::Publish(route, last, last_order)) = effects.last_mut()
            && (*route, *last_order) == (self.route, order)
            && last.takes(&publication)
        {
            return;
        }
        effects.push(Effect::Publish(self.route, publication, order));
    }

    /// Sends a letter to this service's instance on a loop, in the order of sending.
    pub fn tell(&mut self, loop_index: u16, message: ServiceMessage) {
        self.pending.effects.push(Effect::Tell(self.route, loop_index, message));
    }

    /// Closes a connection, after what was sent to it before. `reason` is cut to 123 bytes.
    pub fn close(&mut self, peer: Peer, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let request = CloseRequest { code, reason: reason.into() };
        match &mut self.current {
            Some(current) if current.peer == peer => current.outgoing.request_close(request),
            _ => self.pending.effects.push(Effect::Close(peer, request)),
        }
    }
}

/// Publications that travel together at most, and the longest that do: beyond that there is little
/// to save, and marks and policies are to judge messages rather than heaps of them.
const TOGETHER_FRAMES_MAX: usize = 16;
const TOGETHER_FRAME_BYTES_MAX: usize = 1024;
