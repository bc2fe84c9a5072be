//! What a service may do, written down while its callback runs.
//!
//! Replies to the peer whose message is being handled go straight into that connection's output:
//! small ones are copied behind each other, so that one write takes them all, large ones are sent
//! from where they were read. What concerns other connections is noted and done afterwards, so a
//! callback never meets a table that changes under its hands.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::{Accept, Message, Order, Peer, Publication, ServiceMessage};
use crate::http::Rejection;
use crate::output::Outgoing;
use crate::timer::Millis;
use crate::ws::{CloseCode, CloseRequest, EncodedFrame, MessageKind};

/// Something to be done after the callback. A route is meant by its number.
#[derive(Debug)]
pub(crate) enum Effect {
    Answer(u8, u16, ServiceMessage),
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

    /// Answers this service's instance on a loop, which has told this one something. Answers, and
    /// what is sent to connections of that loop, arrive in the order of sending. Unlike messages by
    /// [`Effects::tell`] they are never held up, so there must be a bounded number of them for each
    /// message that came, and two instances must not answer each other without end.
    pub fn answer(&mut self, loop_index: u16, message: impl Into<ServiceMessage>) {
        self.pending.effects.push(Effect::Answer(self.route, loop_index, message.into()));
    }

    /// Sends a message to this service's instance on a loop. Messages arrive in the order of sending.
    /// While that loop is behind they are held up, and what is sent to its connections passes them.
    pub fn tell(&mut self, loop_index: u16, message: impl Into<ServiceMessage>) {
        self.pending.effects.push(Effect::Tell(self.route, loop_index, message.into()));
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
