//! Carrying out effects: what services and other loops ask for beyond the connection that a
//! callback was about.

use std::sync::Arc;

use super::Connections;
use crate::conn::fanout::{FrameBatch, PushResult, Pusher, SharedFrame};
use crate::effects::{CloseReason, Effect, Order, Publication};
use crate::key::{ConnKey, home_loop};
use crate::mail::{LoopMessage, LoopMessageKind};
use crate::transport::Transport;
use crate::ws::{CloseCode, EncodedFrame};

impl<S: Transport> Connections<S> {
    /// Does what services asked for beyond the connection they were called about.
    #[inline]
    pub fn apply_effects(&mut self) {
        // Most messages are answered and nothing else.
        if !self.services.is_quiet() {
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
            if !self.services.has_effects() {
                break;
            }
            // Taken whole: what these lead to is noted in the list for the next round, behind all
            // of this one.
            for effect in std::mem::take(&mut self.services.pending().effects) {
                self.apply(effect);
            }
        }
        self.is_applying_effects = false;
        let ignored = std::mem::take(&mut self.services.pending().ignored);
        if ignored > 0 {
            self.turn.counters.effects_ignored.add(ignored);
        }
    }

    fn apply(&mut self, effect: Effect) {
        let (to, message) = match effect {
            Effect::Close(peer, request) => {
                (peer.loop_index, LoopMessageKind::Close(peer.key, request))
            }
            Effect::Decide(peer, decision) => {
                (peer.loop_index, LoopMessageKind::Decide(peer.key, decision))
            }
            Effect::Publish(route, publication, Order::Sender) => {
                return self.publish(route, &publication);
            }
            Effect::Publish(route, publication, Order::Topic) => {
                let home = home_loop(&publication.topic, self.services.loop_count());
                (home, LoopMessageKind::Publish(route, publication))
            }
            Effect::Answer(route, to, message) => {
                let from = self.services.loop_index();
                (to, LoopMessageKind::Answer { route, from, message })
            }
            Effect::Send(peer, frame) => (peer.loop_index, LoopMessageKind::Send(peer.key, frame)),
            Effect::Subscribe(peer, topic) => {
                (peer.loop_index, LoopMessageKind::Subscribe(peer.key, topic))
            }
            Effect::Tell(route, to, message) => {
                let from = self.services.loop_index();
                (to, LoopMessageKind::Service { route, from, message })
            }
            Effect::Unsubscribe(peer, topic) => {
                (peer.loop_index, LoopMessageKind::Unsubscribe(peer.key, topic))
            }
        };
        // An effect for this loop is done here and not mailed, so that it keeps its place among the
        // others.
        if to == self.services.loop_index() {
            self.do_message(message);
        } else {
            self.mail.send(to, LoopMessage(message));
        }
    }

    /// Does what a loop is asked for.
    pub(super) fn do_message(&mut self, message: LoopMessageKind) {
        match message {
            LoopMessageKind::Close(key, request) => self.close_for_service(key, &request),
            LoopMessageKind::Decide(key, decision) => self.decide(key, decision),
            LoopMessageKind::Deliver(route, publication) => {
                self.push_to_members(route, &publication);
            }
            LoopMessageKind::Publish(route, publication) => self.publish(route, &publication),
            LoopMessageKind::Send(key, frame) => self.push(key, frame),
            LoopMessageKind::Answer { route, from, message }
            | LoopMessageKind::Service { route, from, message } => {
                self.services.call(route, |own, effects| {
                    own.service.on_service_message(from, message, effects);
                });
            }
            LoopMessageKind::Subscribe(key, topic) => self.subscribe(key, &topic, true),
            LoopMessageKind::Unsubscribe(key, topic) => self.subscribe(key, &topic, false),
        }
    }

    /// Makes an open connection a member of a topic, or takes it out.
    fn subscribe(&mut self, key: ConnKey, topic: &Arc<str>, is_member: bool) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.state.is_open()) else {
            self.turn.counters.effects_ignored.add(1);
            return;
        };
        if is_member {
            self.membership.subscribe(conn, key, topic);
        } else {
            self.membership.unsubscribe(conn, topic);
        }
    }

    /// Gives a publication to the members of its topic on all loops: one message per loop.
    fn publish(&mut self, route: u8, publication: &Publication) {
        self.turn.counters.publications.add(1 + publication.more.len() as u64);
        let own = self.services.loop_index();
        for other in (0..self.services.loop_count()).filter(|other| *other != own) {
            let message = LoopMessageKind::Deliver(route, publication.clone());
            self.mail.send(other, LoopMessage(message));
        }
        self.push_to_members(route, publication);
    }

    fn push_to_members(&mut self, route: u8, publication: &Publication) {
        let own = self.services.loop_index();
        let except = publication.except.filter(|peer| peer.loop_index == own).map(|peer| peer.key);
        let members = self.membership.members(route, &publication.topic).iter();
        let recipients = members.map(|member| member.key).filter(|key| Some(*key) != except);
        let options = &self.services.route(route).0.options;
        let run_queue = &mut self.schedule.run_queue;
        let mut pusher =
            Pusher::new(&mut self.cold, &mut self.output, run_queue, &mut self.turn, options);
        // Ending a connection takes it out of its topics, and so changes the list that is being
        // walked. Most publications put nothing here, and an empty `Vec` allocates nothing.
        let mut to_follow = Vec::new();
        let table = &mut self.table;
        if publication.more.is_empty() {
            let mut frame = SharedFrame::new(publication.frame.clone(), options);
            for key in recipients {
                // A member is open: it leaves its topics before it closes.
                let Some(conn) = table.get_mut(key) else { continue };
                let pushed = pusher.push(conn, key, &mut frame);
                if pushed != PushResult::Done {
                    to_follow.push((key, pushed));
                }
            }
            pusher.release_unused(&frame);
        } else {
            let mut batch = FrameBatch::new(publication.frames(), options);
            for key in recipients {
                let Some(conn) = table.get_mut(key) else { continue };
                let pushed = pusher.push_batch(conn, key, &mut batch);
                if pushed != PushResult::Done {
                    to_follow.push((key, pushed));
                }
            }
            pusher.release_unused_batch(&batch);
        }
        for (key, pushed) in to_follow {
            self.after_push(key, pushed);
        }
    }

    /// Pushes a frame to one connection.
    fn push(&mut self, key: ConnKey, frame: EncodedFrame) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.state.is_open()) else {
            self.turn.counters.effects_ignored.add(1);
            return;
        };
        let options = &self.services.route(conn.route).0.options;
        let run_queue = &mut self.schedule.run_queue;
        let mut pusher =
            Pusher::new(&mut self.cold, &mut self.output, run_queue, &mut self.turn, options);
        let mut frame = SharedFrame::new(frame, options);
        let pushed = pusher.push(conn, key, &mut frame);
        pusher.release_unused(&frame);
        self.after_push(key, pushed);
    }

    fn after_push(&mut self, key: ConnKey, pushed: PushResult) {
        match pushed {
            PushResult::Done => {}
            PushResult::Written => self.arm_if_asked(key),
            PushResult::Failed => self.abort(key, CloseReason::Reset),
            PushResult::TooSlow => {
                self.fail(key, CloseCode::TOO_SLOW, "too slow", CloseReason::Slow);
            }
        }
    }
}

/// Effects may lead to further effects. After this many rounds the rest waits a turn, so that a
/// service that answers its own messages does not delay other connections without end.
const ROUNDS_MAX: usize = 16;
