//! Effects: what a service asks for while its callback runs.
//!
//! Replies to the peer whose message is being handled go straight into that connection's output:
//! small ones are copied behind each other, so that one write takes them all, large ones are sent
//! from where they were read. Effects on other connections are recorded and applied after the
//! callback, so the table of connections and the topics do not change while a callback runs.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::{Message, Order, Peer, Publication, ServiceMessage};
use crate::http::{Rejection, ResponseHeader, Subprotocol};
use crate::key::ConnKey;
use crate::output::Outgoing;
use crate::timer::{Millis, WallTime};
use crate::work::prices;
use crate::ws::{CloseCode, CloseRequest, EncodedFrame, MessageKind};

/// The parts of the reply 101 that a service chooses. The default leaves them to the gateway.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// The subprotocol to name in the reply, instead of the first of the route's that the client
    /// offers. It must be one that the client offers (RFC 6455 §4.2.2).
    pub subprotocol: Option<Subprotocol>,
    /// Further headers of the reply, such as `Set-Cookie`.
    pub headers: Vec<ResponseHeader>,
}

/// An effect that is applied after the callback. The `u8` is the number of a route.
#[derive(Debug)]
pub(crate) enum Effect {
    Answer(u8, u16, ServiceMessage),
    Charge(Peer, usize),
    Close(Peer, CloseRequest),
    Count(ChannelCounts),
    Decide(Peer, Result<Accept, Rejection>),
    Discharge(usize),
    Pause(Peer, bool),
    Publish(u8, Publication, Order),
    Refresh(Peer, WallTime),
    Send(Peer, EncodedFrame),
    Subscribe(Peer, Arc<str>),
    Tell(u8, u16, ServiceMessage),
    Unsubscribe(Peer, Arc<str>),
}

/// What has happened in the channels whose home is a loop, and what they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelCounts {
    /// Publications since the last count.
    pub(crate) publications: u32,
    /// Clients since then that got what they had missed.
    pub(crate) recoveries: u32,
    /// Clients since then that did not.
    pub(crate) positions_lost: u32,
    /// Subscriptions since then that a limit has refused.
    pub(crate) refusals: u32,
    /// Channels with members.
    pub(crate) channels: u32,
    /// Members of all of them.
    pub(crate) members: u32,
}

/// The effects that the services of a loop have asked for and that are not applied yet.
#[derive(Debug, Default)]
pub(crate) struct PendingEffects {
    /// The time of this turn.
    pub(crate) now: Millis,
    /// What the clock on the wall said last, and when that was.
    pub(crate) dated: (WallTime, Millis),
    pub(crate) effects: Vec<Effect>,
    /// Effects on connections that do not exist, to be counted.
    pub(crate) ignored: u64,
    /// What it cost to make them, as far as it is not charged yet.
    pub(crate) work: u64,
    /// The numbers of routes whose services are to be called in the next turn.
    pub(crate) ticks: Vec<u8>,
}

/// How far [`Effects::publish_each`] looks back for a publication to the same topic.
const LOOKED_BACK_MAX: usize = 8;

/// Collects the effects of one callback.
#[derive(Debug)]
pub struct Effects<'e> {
    /// The number of the route whose service is called.
    route: u8,
    current: Option<Current<'e>>,
    pending: &'e mut PendingEffects,
}

/// The connection that the callback is about, while it is open.
#[derive(Debug)]
struct Current<'e> {
    peer: Peer,
    outgoing: &'e mut Outgoing,
    /// The range of the read buffer that holds the message being handled; `None` if there is no
    /// message, or if its payload is elsewhere because it was inflated.
    message: Option<Range<usize>>,
}

impl<'e> Effects<'e> {
    /// The effects of a callback about an open connection.
    pub(crate) fn on(
        route: u8,
        peer: Peer,
        message: Option<Range<usize>>,
        outgoing: &'e mut Outgoing,
        pending: &'e mut PendingEffects,
    ) -> Self {
        Self { route, current: Some(Current { peer, outgoing, message }), pending }
    }

    /// The effects of a callback that is not about an open connection.
    pub(crate) fn detached(route: u8, pending: &'e mut PendingEffects) -> Self {
        Self { route, current: None, pending }
    }

    /// The time of this turn, the same for all callbacks in it.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.pending.now
    }

    /// The date, to compare with those that others have written down.
    #[must_use]
    pub fn wall_now(&self) -> WallTime {
        let (WallTime(date), dated) = self.pending.dated;
        WallTime(date.saturating_add(self.pending.now.since(dated)))
    }

    /// Charges the turn with work that a callback has done, in units of [`crate::work`].
    pub fn charge_work(&mut self, units: u64) {
        self.pending.work += units;
    }

    /// What was charged so far, in the same units: a callback that puts work off compares it with what it was at the
    /// beginning.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.pending.work
    }

    /// Has [`Service::on_tick`](crate::services::Service::on_tick) called in the next turn, for work that was
    /// put off: a turn has time for a part of it.
    pub fn tick_again(&mut self) {
        if !self.pending.ticks.contains(&self.route) {
            self.pending.ticks.push(self.route);
        }
    }

    /// Sends a copy of `payload` to the current peer, the one that this callback is about. Text must
    /// be UTF-8. In a callback that is not about an open connection it is counted and ignored.
    pub fn reply(&mut self, kind: MessageKind, payload: &[u8]) {
        match &mut self.current {
            Some(Current { outgoing, .. }) => {
                outgoing.note_message(payload.len());
                outgoing.frame(kind.opcode(), payload);
            }
            None => self.pending.ignored += 1,
        }
    }

    /// As [`Effects::reply`], with text.
    pub fn reply_text(&mut self, text: &str) {
        self.reply(MessageKind::Text, text.as_bytes());
    }

    /// Sends the current peer its own message back, with the changes that were made in place. A large
    /// one that came uncompressed is not copied.
    pub fn reply_in_place(&mut self, message: Message<'_>) {
        let Message { kind, payload } = message;
        match &mut self.current {
            Some(Current { outgoing, message: Some(range), .. }) => {
                // The payload is this range of the read buffer, and the write takes it from there.
                // It does not change before that: later messages are unmasked in ranges of their
                // own, and the output is written or copied before the next read.
                debug_assert_eq!(payload.len(), range.len());
                outgoing.note_message(payload.len());
                outgoing.frame_in_place(kind.opcode(), payload, range.clone());
            }
            Some(Current { outgoing, .. }) => {
                outgoing.note_message(payload.len());
                outgoing.frame(kind.opcode(), payload);
            }
            None => self.pending.ignored += 1,
        }
    }

    /// Sends a frame to any peer, on any loop. If the backlog of that peer is full, its route's
    /// [`SlowPolicy`](super::SlowPolicy) applies; if the peer is gone, the effect is ignored.
    pub fn send(&mut self, peer: Peer, frame: EncodedFrame) {
        match &mut self.current {
            // Behind the replies so far, so that the peer sees the order of the calls.
            Some(Current { peer: own, outgoing, .. }) if *own == peer => {
                outgoing.note_message(frame.payload().len());
                outgoing.encoded(&frame);
            }
            _ => {
                self.pending.work += prices::EFFECT + prices::bytes(frame.as_bytes().len());
                self.pending.effects.push(Effect::Send(peer, frame));
            }
        }
    }

    /// Admits or rejects a peer for which the service has returned
    /// [`Admission::Later`](crate::services::Admission::Later). If the peer has left meanwhile, the
    /// effect is ignored.
    pub fn decide(&mut self, peer: Peer, decision: Result<Accept, Rejection>) {
        self.pending.effects.push(Effect::Decide(peer, decision));
    }

    /// Moves the date at which the [identity](crate::services::Identity) of a peer expires, and the peer is
    /// closed, such as when it has shown a fresh credential in a message. Without an identity, or if the
    /// peer is gone, the effect is ignored.
    pub fn refresh_identity(&mut self, peer: Peer, expires_at: WallTime) {
        self.pending.effects.push(Effect::Refresh(peer, expires_at));
    }

    /// Charges the pool with memory that is held for a peer on this loop, until [`Effects::discharge`]. If
    /// there is none left, the peer is closed with code 1013; the bytes count as charged in any case.
    pub fn charge(&mut self, peer: Peer, bytes: usize) {
        self.pending.effects.push(Effect::Charge(peer, bytes));
    }

    /// As [`Effects::charge`], with memory that is held for no one peer: none is closed for it.
    pub fn charge_for_all(&mut self, bytes: usize) {
        let key = ConnKey { index: u32::MAX, generation: ConnKey::NOT_A_CONNECTION };
        self.pending.effects.push(Effect::Charge(Peer { loop_index: 0, key }, bytes));
    }

    /// Counts what has happened in channels.
    pub(crate) fn count_channels(&mut self, counts: ChannelCounts) {
        self.pending.effects.push(Effect::Count(counts));
    }

    /// Gives the pool back what was charged.
    pub fn discharge(&mut self, bytes: usize) {
        self.pending.effects.push(Effect::Discharge(bytes));
    }

    /// Replies to the peer if it is the one whose message is being handled, as [`Effects::reply`] does, and
    /// sends to it otherwise.
    pub fn reply_to(&mut self, peer: Peer, kind: MessageKind, payload: &[u8]) {
        match &self.current {
            Some(current) if current.peer == peer => self.reply(kind, payload),
            Some(_) | None => self.send(peer, EncodedFrame::new(kind, payload)),
        }
    }

    /// Has a peer on this loop not read from now on, until [`Effects::resume`]. What has been read before
    /// still comes.
    pub fn pause(&mut self, peer: Peer) {
        self.pending.effects.push(Effect::Pause(peer, true));
    }

    /// Has a peer on this loop read again.
    pub fn resume(&mut self, peer: Peer) {
        self.pending.effects.push(Effect::Pause(peer, false));
    }

    /// Makes a peer a member of a topic of this service.
    pub fn subscribe(&mut self, peer: Peer, topic: &Arc<str>) {
        self.pending.effects.push(Effect::Subscribe(peer, Arc::clone(topic)));
    }

    /// Ends a peer's membership of a topic. A connection that closes leaves all its topics by itself.
    pub fn unsubscribe(&mut self, peer: Peer, topic: &Arc<str>) {
        self.pending.effects.push(Effect::Unsubscribe(peer, Arc::clone(topic)));
    }

    /// Ends the membership of every member of a topic, on all loops, and has
    /// [`Service::on_dismissed`](crate::services::Service::on_dismissed) called for each, with this reason. It
    /// is a publication: they get what this loop has published before, and nothing that it publishes later.
    pub fn dismiss(&mut self, topic: &Arc<str>, reason: u8) {
        let dismissal = Publication::dismissal(topic, reason);
        self.charge_publication(&dismissal);
        self.pending.effects.push(Effect::Publish(self.route, dismissal, Order::Sender));
    }

    /// Sends a frame to every member of a topic, on all loops.
    pub fn publish(&mut self, topic: &Arc<str>, frame: EncodedFrame, order: Order) {
        self.request_publication(Publication::new(topic, frame, None), order);
    }

    /// As [`Effects::publish`], to all members but `except`.
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
        self.charge_publication(&publication);
        let effects = &mut self.pending.effects;
        // Only the last effect may take another frame along: a subscription or a close in between
        // has to be applied between the two frames.
        let publication = match effects.last_mut() {
            Some(Effect::Publish(route, last, last_order))
                if (*route, *last_order) == (self.route, order) =>
            {
                match last.absorb(publication) {
                    Ok(()) => return,
                    Err(publication) => publication,
                }
            }
            _ => publication,
        };
        effects.push(Effect::Publish(self.route, publication, order));
    }

    /// Publishes a message in several encodings, each to its own topic. No connection may be a member of
    /// two: between them there is no order.
    pub(crate) fn publish_each<const N: usize>(
        &mut self,
        parts: [(&Arc<str>, EncodedFrame); N],
        except: Option<Peer>,
        order: Order,
    ) {
        let topics = parts.each_ref().map(|(topic, _)| *topic);
        'parts: for (topic, frame) in parts {
            let mut publication = Publication::new(topic, frame, except);
            self.charge_publication(&publication);
            // Past those to the other topics, or a flood would travel one message at a time.
            for effect in self.pending.effects.iter_mut().rev().take(LOOKED_BACK_MAX) {
                let Effect::Publish(route, own, own_order) = effect else { break };
                let is_alike = (*route, *own_order) == (self.route, order);
                if !is_alike || !topics.iter().any(|topic| Arc::ptr_eq(topic, &own.topic)) {
                    break;
                }
                if Arc::ptr_eq(topic, &own.topic) {
                    match own.absorb(publication) {
                        Ok(()) => continue 'parts,
                        Err(back) => publication = back,
                    }
                    break;
                }
            }
            self.pending.effects.push(Effect::Publish(self.route, publication, order));
        }
    }

    fn charge_publication(&mut self, publication: &Publication) {
        let bytes = publication.frames().map(|frame| frame.as_bytes().len()).sum();
        self.pending.work += prices::PUBLICATION + prices::bytes(bytes);
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

    /// Sends a close frame behind all that was sent to the connection before, and closes it. `reason`
    /// is cut to the 123 bytes that a close frame has room for (RFC 6455 §5.5).
    pub fn close(&mut self, peer: Peer, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let request = CloseRequest { code, reason: reason.into() };
        match &mut self.current {
            Some(current) if current.peer == peer => current.outgoing.request_close(request),
            _ => self.pending.effects.push(Effect::Close(peer, request)),
        }
    }
}
