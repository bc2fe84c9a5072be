//! What reaches a connection from elsewhere: messages pushed to it, publications to its topics,
//! and what other loops ask for.
//!
//! ```text
//!   service ──effects──► this loop ──mail──► home loop of the topic ──mail──► every other loop
//!                            │                       │                             │
//!                            └── Order::Sender ──────┴──► members of the topic ◄───┘
//! ```

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::frame_batch::FrameBatch;
use super::shared_frame::{FrameEncoding, SharedFrame};
use super::{Conn, Connections, Flags, Phase};
use crate::effects::SlowPolicy;
use crate::effects::{CloseReason, Effect, Effects, Order, Peer, Publication, ServiceSender};
use crate::key::ConnKey;
use crate::mail::{LoopMessage, LoopMessageKind, LoopSender};
use crate::pool::{Backlog, OutQueue};
use crate::timer::{Millis, Tick};
use crate::transport::Transport;
use crate::ws::{CloseCode, EncodedFrame};

impl<S: Transport> Connections<S> {
    /// Services begin. Letters to them from other threads go by `post`.
    pub fn start(&mut self, post: &LoopSender) {
        let from = self.loop_index;
        self.router.start(self.now, |route| {
            let post = Arc::clone(post);
            ServiceSender::new(Arc::new(move |message| {
                post(LoopMessage::service(route, from, message))
            }))
        });
    }

    /// When a service wants to be called next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Millis> {
        self.router.next_tick()
    }

    /// Calls the services whose time has come.
    pub fn tick_services(&mut self) {
        while let Some(route) = self.router.take_tick(self.now) {
            let mut effects = Effects::detached(route, &mut self.pending);
            self.router.socket(route).service.on_tick(&mut effects);
        }
    }

    /// Does what services asked for beyond the connection they were called about.
    #[inline]
    pub fn apply_effects(&mut self) {
        // Most messages are answered and nothing else.
        if !self.pending.effects.is_empty() || self.pending.ignored > 0 {
            self.apply_all_effects();
        }
    }

    fn apply_all_effects(&mut self) {
        if self.is_applying_effects {
            // One led here, such as a decision that lets a connection in whose messages wait. Its
            // own effects have their turn after those noted before, and no chain of them can grow
            // the stack.
            return;
        }
        self.is_applying_effects = true;
        for _ in 0..ROUNDS_MAX {
            if self.pending.effects.is_empty() {
                break;
            }
            for effect in std::mem::take(&mut self.pending.effects) {
                self.apply(effect);
            }
        }
        self.is_applying_effects = false;
        if self.pending.ignored > 0 {
            self.counters.effects_ignored.add(std::mem::take(&mut self.pending.ignored));
        }
    }

    /// Does what another loop asked for.
    pub fn deliver(&mut self, mail: LoopMessage) {
        self.counters.mail_in.add(1);
        self.run_message(mail.0);
    }

    fn apply(&mut self, effect: Effect) {
        let home = |peer: Peer| peer.loop_index;
        match effect {
            Effect::Answer(route, to, message) => {
                let from = self.loop_index;
                self.post(to, LoopMessageKind::Answer { route, from, message });
            }
            Effect::Close(peer, request) => {
                self.post(home(peer), LoopMessageKind::Close(peer.key, request));
            }
            Effect::Decide(peer, decision) => {
                self.post(home(peer), LoopMessageKind::Decide(peer.key, decision));
            }
            Effect::Publish(route, publication, Order::Sender) => {
                self.publish(route, &publication);
            }
            Effect::Publish(route, publication, Order::Topic) => {
                let home = self.home_of(&publication.topic);
                self.post(home, LoopMessageKind::Publish(route, publication));
            }
            Effect::Send(peer, frame) => {
                self.post(home(peer), LoopMessageKind::Send(peer.key, frame))
            }
            Effect::Subscribe(peer, topic) => {
                self.post(home(peer), LoopMessageKind::Subscribe(peer.key, topic));
            }
            Effect::Tell(route, to, message) => {
                let from = self.loop_index;
                self.post(to, LoopMessageKind::Service { route, from, message });
            }
            Effect::Unsubscribe(peer, topic) => {
                self.post(home(peer), LoopMessageKind::Unsubscribe(peer.key, topic));
            }
        }
    }

    fn post(&mut self, loop_index: u16, message: LoopMessageKind) {
        if loop_index == self.loop_index {
            self.run_message(message);
        } else {
            self.mail_out.push((loop_index, LoopMessage(message)));
        }
    }

    fn run_message(&mut self, message: LoopMessageKind) {
        match message {
            LoopMessageKind::Close(key, request) => self.close_for_service(key, &request),
            LoopMessageKind::Decide(key, decision) => self.decide(key, decision),
            LoopMessageKind::Deliver(route, publication) => {
                self.push_to_members(route, &publication)
            }
            LoopMessageKind::Answer { route, from, message }
            | LoopMessageKind::Service { route, from, message } => {
                let mut effects = Effects::detached(route, &mut self.pending);
                self.router.socket(route).service.on_service_message(from, message, &mut effects);
            }
            LoopMessageKind::Publish(route, publication) => self.publish(route, &publication),
            LoopMessageKind::Send(key, frame) => self.push(key, frame),
            LoopMessageKind::Subscribe(key, topic) => self.subscribe(key, &topic),
            LoopMessageKind::Unsubscribe(key, topic) => self.unsubscribe(key, &topic),
        }
    }

    /// The loop that puts a topic's publications into one order, the same on every loop.
    fn home_of(&self, topic: &str) -> u16 {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        let home = hasher.finish() % u64::from(self.loop_count.max(1));
        u16::try_from(home).unwrap_or(0)
    }

    fn subscribe(&mut self, key: ConnKey, topic: &str) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.phase == Phase::Open) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        self.hubs[usize::from(conn.route)].subscribe(topic, key, &mut conn.subscriptions);
    }

    fn unsubscribe(&mut self, key: ConnKey, topic: &str) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.phase == Phase::Open) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        self.hubs[usize::from(conn.route)].unsubscribe(topic, &mut conn.subscriptions);
    }

    /// Gives a publication to the members of its topic on all loops: one letter per loop.
    fn publish(&mut self, route: u8, publication: &Publication) {
        self.counters.publications.add(1 + publication.more.len() as u64);
        for other in (0..self.loop_count).filter(|other| *other != self.loop_index) {
            self.mail_out
                .push((other, LoopMessage(LoopMessageKind::Deliver(route, publication.clone()))));
        }
        self.push_to_members(route, publication);
    }

    fn push_to_members(&mut self, route: u8, publication: &Publication) {
        let hub = &mut self.hubs[usize::from(route)];
        let Some((topic, members)) = hub.borrow_members(&publication.topic) else { return };
        let except = publication
            .except
            .filter(|peer| peer.loop_index == self.loop_index)
            .map(|peer| peer.key);
        let recipients = members.iter().map(|member| member.key).filter(|key| Some(*key) != except);
        let options = &self.router.socket(route).options;
        self.is_walking_members = true;
        if publication.more.is_empty() {
            let mut shared_frame = SharedFrame::new(publication.frame.clone(), options);
            recipients.for_each(|key| self.push_shared(key, &mut shared_frame));
            self.release_unused(&shared_frame);
        } else {
            let mut batch = FrameBatch::new(publication.frames(), options);
            recipients.for_each(|key| self.push_batch(key, &mut batch));
            batch.alone.iter().for_each(|shared_frame| self.release_unused(shared_frame));
            batch.encodings().for_each(|encoding| self.backlog.release(encoding.id));
        }
        self.is_walking_members = false;
        let hub = &mut self.hubs[usize::from(route)];
        hub.restore_members(topic, members);
        for mut subscriptions in self.left_while_walking.drain(..) {
            hub.unsubscribe_all(&mut subscriptions);
        }
    }

    /// Puts several publications into a connection's queue: as one piece where nothing stands in the
    /// way, else one by one.
    fn push_batch(&mut self, key: ConnKey, batch: &mut FrameBatch) {
        let bytes_max = self.settings.backlog_hard_bytes;
        if let Some(conn) = self.table.get_mut(key).filter(|conn| conn.phase == Phase::Open)
            && let Some(encoding) = batch.encoding(conn.flags, &mut self.backlog)
            && batch.has_room(&conn.queue, encoding, bytes_max, &self.backlog)
        {
            return enqueue(conn, key, encoding, &mut self.backlog, &mut self.dirty, self.tick);
        }
        for shared_frame in &mut batch.alone {
            self.push_shared(key, shared_frame);
        }
    }

    /// Pushes a frame to one connection.
    fn push(&mut self, key: ConnKey, frame: EncodedFrame) {
        let Some(route) = self.table.get(key).map(|conn| conn.route) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        let mut shared_frame = SharedFrame::new(frame, &self.router.socket(route).options);
        self.push_shared(key, &mut shared_frame);
        self.release_unused(&shared_frame);
    }

    /// Forgets those forms of a frame that found no recipient.
    fn release_unused(&mut self, shared_frame: &SharedFrame) {
        if shared_frame.shared > 0 {
            self.counters.deflated_shared.add(shared_frame.shared);
        }
        for encoding in shared_frame.encodings() {
            self.backlog.release(encoding.id);
        }
    }

    /// Puts a shared frame into a connection's queue. It goes out at the end of the turn, together
    /// with whatever else is pushed until then.
    fn push_shared(&mut self, key: ConnKey, shared_frame: &mut SharedFrame) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.phase == Phase::Open) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        let compressor = self.outgoing.compressor_mut();
        let encoding = shared_frame.plain_encoding(conn.flags).or_else(|| {
            shared_frame.encoding(conn.flags, key.index, compressor, &mut self.backlog)
        });
        let Some(encoding) = encoding else {
            // Binary has no form for lines.
            self.counters.pushes_dropped.add(1);
            return;
        };
        let mark =
            Mark { bytes: self.settings.backlog_hard_bytes, messages: shared_frame.messages_max };
        if mark.is_reached(&conn.queue, encoding, &self.backlog) {
            return self.push_to_full(key, encoding, mark);
        }
        enqueue(conn, key, encoding, &mut self.backlog, &mut self.dirty, self.tick);
    }

    /// As [`Connections::push_shared`], for a connection whose backlog is at its mark.
    fn push_to_full(&mut self, key: ConnKey, encoding: FrameEncoding, mark: Mark) {
        let is_blocked = |conn: &Conn<S>| conn.flags.has(Flags::WRITE_BLOCKED);
        if self.table.get(key).is_some_and(|conn| !is_blocked(conn)) {
            // The mark is judged after the socket had its chance.
            self.flush_queue(key);
        }
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.phase == Phase::Open) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        let is_full = mark.is_reached(&conn.queue, encoding, &self.backlog);
        if is_full {
            match self.router.socket(conn.route).options.slow_policy {
                SlowPolicy::Disconnect => {
                    self.fail(key, CloseCode::TOO_SLOW, "too slow", CloseReason::Slow);
                    return;
                }
                SlowPolicy::DropNewest => {
                    self.counters.pushes_dropped.add(1);
                    return;
                }
                SlowPolicy::KeepLatest => {
                    self.counters.pushes_dropped.add(1);
                    self.backlog.discard_unstarted_frames(&mut conn.queue, &mut self.buffers);
                }
            }
        }
        enqueue(conn, key, encoding, &mut self.backlog, &mut self.dirty, self.tick);
        if is_full {
            // What made room for the frame may have made enough to read on.
            self.resume_reading(key);
        }
    }

    /// Takes a connection out of its topics; out of one that is being walked when that is done.
    pub(super) fn leave_topics(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let mut subscriptions = std::mem::take(&mut conn.subscriptions);
        if self.is_walking_members {
            self.left_while_walking.push(subscriptions);
        } else {
            self.hubs[usize::from(conn.route)].unsubscribe_all(&mut subscriptions);
        }
    }
}

/// Puts a form of a frame into a connection's queue, and the connection among those that are written
/// at the end of the turn.
#[inline]
fn enqueue<S>(
    conn: &mut Conn<S>,
    key: ConnKey,
    encoding: FrameEncoding,
    backlog: &mut Backlog,
    dirty: &mut VecDeque<ConnKey>,
    tick: Tick,
) {
    backlog.push_frame(&mut conn.queue, encoding.id, tick);
    if !conn.flags.has(Flags::WRITE_BLOCKED) && conn.flags.raise(Flags::DIRTY) {
        dirty.push_back(key);
    }
}

/// What may wait for one connection before its slow policy decides about more.
#[derive(Clone, Copy)]
struct Mark {
    bytes: usize,
    messages: Option<usize>,
}

impl Mark {
    /// Whether a further frame would be too much. An empty queue takes any.
    #[inline]
    fn is_reached(self, queue: &OutQueue, encoding: FrameEncoding, backlog: &Backlog) -> bool {
        !queue.is_empty()
            && (queue.bytes() + encoding.frame_bytes > self.bytes
                || self.messages.is_some_and(|max| backlog.holds(queue, max)))
    }
}

/// Effects may lead to further effects. After so many rounds the rest waits a turn, so that a
/// service that answers its own letters keeps nobody else waiting.
const ROUNDS_MAX: usize = 16;
