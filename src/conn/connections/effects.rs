//! Carrying out effects: what services and other loops ask for beyond the connection that a
//! callback was about.

use std::sync::Arc;

use super::Connections;
use crate::conn::active::resume_reading;
use crate::conn::fanout::{
    Ahead, Delivered, Encoded, PushResult, Pusher, SharedFrame, Volume, Walk,
};
use crate::conn::flags::Flags;
use crate::conn::inspect::{Inspector, SLICE_WORK, Viewer};
use crate::conn::slot::Conn;
use crate::effects::{Behind, ChannelCounts, CloseReason, Effect, Order, Peer, Publication};
use crate::inspect::{ClosedSlice, ConnectionFilter, Query, SentSlice};
use crate::key::{ConnKey, home_loop};
use crate::mail::{LoopMessage, LoopMessageKind};
use crate::pool::Conflated;
use crate::transport::Transport;
use crate::work::{Phase, prices};
use crate::ws::{CloseCode, CloseRequest, EncodedFrame};

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
        self.settle_work();
        for _ in 0..ROUNDS_MAX {
            if !self.services.has_effects() {
                break;
            }
            // Taken whole: what these lead to is noted in the list for the next round, behind all
            // of this one.
            for effect in std::mem::take(&mut self.services.pending().effects) {
                self.apply(effect);
                self.settle_work();
            }
        }
        self.is_applying_effects = false;
        let ignored = std::mem::take(&mut self.services.pending().ignored);
        if ignored > 0 {
            self.turn.counters.effects_ignored.add(ignored);
        }
    }

    /// Charges the turn with what services have done that is not charged yet.
    #[inline]
    pub(super) fn settle_work(&mut self) {
        let work = std::mem::take(&mut self.services.pending().work);
        self.turn.work.charge(work);
    }

    fn apply(&mut self, effect: Effect) {
        self.turn.work.charge(prices::EFFECT);
        let (to, message) = match effect {
            Effect::Charge(peer, bytes) => return self.charge_for_service(peer.key, bytes),
            Effect::Discharge(bytes) => {
                return self.services.discharge(bytes, &mut self.turn.memory);
            }
            Effect::Count(counts) => return self.count_channels(counts),
            Effect::Pause(peer, pauses) => return self.pause_for_service(peer.key, pauses),
            Effect::Close(peer, request) => {
                (peer.loop_index, LoopMessageKind::Close(peer.key, request))
            }
            Effect::Decide(peer, decision) => {
                (peer.loop_index, LoopMessageKind::Decide(peer.key, decision))
            }
            Effect::Publish(route, publication, Order::Sender) => {
                return self.publish(route, publication);
            }
            Effect::Publish(route, publication, Order::Topic) => {
                let home = home_loop(&publication.topic, self.services.loop_count());
                (home, LoopMessageKind::Publish(route, publication))
            }
            Effect::Refresh(peer, expires_at) => {
                (peer.loop_index, LoopMessageKind::Refresh(peer.key, expires_at))
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

    fn count_channels(&self, counts: ChannelCounts) {
        let ChannelCounts { publications, recoveries, positions_lost, refusals, channels, members } =
            counts;
        let counters = &self.turn.counters;
        counters.channel_publications.add(publications.into());
        counters.channel_recoveries.add(recoveries.into());
        counters.channel_positions_lost.add(positions_lost.into());
        counters.channel_refusals.add(refusals.into());
        counters.channels_now.set(channels.into());
        counters.channel_members_now.set(members.into());
    }

    /// Does what a loop is asked for.
    pub(super) fn do_message(&mut self, message: LoopMessageKind) {
        match message {
            LoopMessageKind::Close(key, request) => self.close_for_service(key, &request),
            LoopMessageKind::Decide(key, decision) => self.decide(key, decision),
            LoopMessageKind::Deliver(route, publication) => self.deliver(route, publication),
            LoopMessageKind::Identify(key, outcome) => self.identified(key, outcome),
            // A large holder goes at the end of the turn.
            LoopMessageKind::MakeRoom => self.turn.memory.want(),
            LoopMessageKind::Publish(route, publication) => self.publish(route, publication),
            LoopMessageKind::Refresh(key, expires_at) => self.refresh_identity(key, expires_at),
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

    /// A service holds memory for a connection; without any left the connection goes.
    fn charge_for_service(&mut self, key: ConnKey, bytes: usize) {
        if self.services.charge(bytes, &mut self.turn.memory) {
            return;
        }
        if self.table.get_mut(key).is_some_and(|conn| conn.state.is_open()) {
            let why = "memory is used up";
            self.fail(key, CloseCode::TRY_AGAIN_LATER, why, CloseReason::Overload);
        }
    }

    /// A service has an open connection not read, or read again. A relayed connection is paused by its
    /// partner in the same way, and has no service that could.
    fn pause_for_service(&mut self, key: ConnKey, pauses: bool) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.state.is_open()) else {
            return;
        };
        if pauses {
            conn.flags.set(Flags::PAUSED_BY_PARTNER);
        } else if conn.flags.take(Flags::PAUSED_BY_PARTNER) {
            // What arrived during the pause gave its edge then.
            self.schedule.run_queue.push(conn, key);
            // The deadline of a message that it has begun no longer stands still.
            self.arm(key);
        }
    }

    /// Makes an open connection a member of a topic, or takes it out.
    fn subscribe(&mut self, key: ConnKey, topic: &Arc<str>, is_member: bool) {
        self.catch_up(key);
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.state.is_open()) else {
            self.turn.counters.effects_ignored.add(1);
            return;
        };
        if is_member {
            if self.membership.subscribe(conn, key, topic) && self.walks.has(conn.route, topic) {
                self.walks.joined(conn.route, topic, key);
            }
        } else {
            self.membership.unsubscribe(conn, topic);
        }
    }

    /// Gives a publication to the members of its topic on all loops: one message per loop.
    fn publish(&mut self, route: u8, publication: Publication) {
        self.turn.counters.publications.add(publication.frame_count() as u64);
        let own = self.services.loop_index();
        for other in (0..self.services.loop_count()).filter(|other| *other != own) {
            let message = LoopMessageKind::Deliver(route, publication.clone());
            self.mail.send(other, LoopMessage(message));
        }
        self.deliver(route, publication);
    }

    /// Gives a publication to the members of its topic on this loop: now, as far as the share lasts.
    fn deliver(&mut self, route: u8, publication: Publication) {
        if self.walks.has(route, &publication.topic) {
            return self.deliver_later(route, publication, None);
        }
        if self.membership.remaining(route, &publication.topic).is_empty() {
            return;
        }
        if self.turn.work.is_share_used() {
            return self.deliver_later(route, publication, None);
        }
        let mut encoded = Encoded::new(&publication, &self.services.route(route).0.options);
        match self.walk(route, &publication, &mut encoded, None) {
            true => encoded.release(self.output.sharing().1, &self.turn.counters),
            false => self.deliver_later(route, publication, Some(encoded)),
        }
    }

    /// Has a publication delivered in later turns, behind those to its topic that are on their way.
    fn deliver_later(&mut self, route: u8, publication: Publication, begun: Option<Encoded>) {
        let bytes = publication.held_bytes();
        if self.turn.memory.charge(bytes).is_ok() {
            return self.walks.add(route, publication, begun, bytes);
        }
        // Nothing may be held for it, so it is delivered at once, behind the others.
        let topic = Arc::clone(&publication.topic);
        self.walks.add(route, publication, begun, 0);
        self.turn.work.begin_share_without_end();
        self.resume_walk(route, &topic);
        self.turn.work.end_share();
    }

    /// Goes on with the publications that are on their way, each topic by one share.
    pub(super) fn run_walks(&mut self) {
        for number in 0..self.walks.len() {
            // One at least, or events could keep it waiting for ever.
            if number > 0 && self.turn.work.is_over(Phase::Leftovers) {
                return;
            }
            let Some((route, topic)) = self.walks.next() else { return };
            self.turn.work.begin_share();
            self.resume_walk(route, &topic);
            self.walks.end_turn(route, topic);
        }
    }

    /// Goes on with a topic until all is delivered or the share is used up.
    fn resume_walk(&mut self, route: u8, topic: &Arc<str>) {
        let Some(mut walk) = self.walks.take(route, topic) else { return };
        loop {
            let options = &self.services.route(route).0.options;
            let Some((publication, encoded, ahead)) = walk.current(options) else { break };
            if !self.walk(route, publication, encoded, Some(ahead)) {
                break;
            }
            if let Some(delivered) = self.walks.delivered(&mut walk) {
                self.after_delivery(delivered);
            }
            if self.turn.work.is_share_used() {
                break;
            }
        }
        self.walks.put_back(route, topic, walk);
    }

    fn after_delivery(&mut self, delivered: Delivered) {
        let Delivered { encoded, publisher, charged_bytes } = delivered;
        self.turn.memory.discharge(charged_bytes);
        if let Some(encoded) = encoded {
            encoded.release(self.output.sharing().1, &self.turn.counters);
        }
        if let Some(key) = publisher
            && let Some(conn) = self.table.get_mut(key)
            && conn.flags.take(Flags::PAUSED_BY_FANOUT)
        {
            // What arrived during the pause gave its edge then.
            self.schedule.run_queue.push(conn, key);
            // The deadline of a message that it has begun no longer stands still.
            self.arm(key);
        }
    }

    /// Pushes a publication to the members that lack it, until all have it or the share is used up.
    /// Whether all have it. `ahead` are members that have it although the walk has not come to them,
    /// if what they have is not older than this serial number.
    fn walk(
        &mut self,
        route: u8,
        publication: &Publication,
        encoded: &mut Encoded,
        ahead: Option<(&Ahead, u64)>,
    ) -> bool {
        if let Encoded::Dismissal(reason) = encoded {
            return self.dismiss_members(route, &publication.topic, *reason, ahead);
        }
        match self.turn.traces.is_on() {
            true => self.walk_members::<true>(route, publication, encoded, ahead),
            false => self.walk_members::<false>(route, publication, encoded, ahead),
        }
    }

    /// Takes the members out of a topic that have not passed their dismissal, as far as the share lasts. Whether
    /// all are out.
    #[cold]
    fn dismiss_members(
        &mut self,
        route: u8,
        topic: &str,
        reason: u8,
        ahead: Option<(&Ahead, u64)>,
    ) -> bool {
        let is_ahead = |key: &ConnKey| {
            ahead.is_some_and(|(ahead, serial)| ahead.get(key).is_some_and(|has| *has >= serial))
        };
        while let Some(member) = self.membership.remaining(route, topic).first().copied() {
            // Behind the cursor before anything else: it may stay there, as one that has come later.
            self.membership.advance(route, topic, 1, false);
            if !is_ahead(&member.key) {
                self.dismiss(member.key, topic, reason);
            }
            if self.turn.work.is_share_used() {
                return false;
            }
        }
        self.membership.advance(route, topic, 0, true);
        true
    }

    /// Takes a member out of a topic, and has its service told.
    fn dismiss(&mut self, key: ConnKey, topic: &str, reason: u8) {
        let Some(conn) = self.table.get_mut(key) else { return };
        self.membership.unsubscribe(conn, topic);
        let (route, peer) = (conn.route, Peer { loop_index: self.services.loop_index(), key });
        // What its service asks for is done later: the most that may be is charged here.
        self.turn.work.charge(prices::EFFECT + prices::WRITE + prices::CLOSE);
        self.services.call(route, |own, effects| {
            own.service.on_dismissed(peer, topic, reason, effects);
        });
    }

    /// `IS_TRACED` has those told who follow members.
    fn walk_members<const IS_TRACED: bool>(
        &mut self,
        route: u8,
        publication: &Publication,
        encoded: &mut Encoded,
        ahead: Option<(&Ahead, u64)>,
    ) -> bool {
        let own = self.services.loop_index();
        let except = publication.except.filter(|peer| peer.loop_index == own).map(|peer| peer.key);
        let own_route = &*self.services.route(route).0;
        let run_queue = &mut self.schedule.run_queue;
        let mut pusher =
            Pusher::new(&mut self.cold, &mut self.output, run_queue, &mut self.turn, own_route);
        let volume = encoded.volume();
        let ahead = ahead.filter(|(ahead, _)| !ahead.is_empty());
        let is_skipped = |key: ConnKey| {
            let mut is_ahead = false;
            if let Some((ahead, serial)) = ahead {
                is_ahead = ahead.get(&key).is_some_and(|has| *has >= serial);
            }
            is_ahead || Some(key) == except
        };
        let skips = ahead.is_some() || except.is_some();
        // Ending a connection takes it out of its topics, and so changes the list that is being
        // walked. Most publications put nothing here, and an empty `Vec` allocates nothing.
        let mut to_follow = Vec::new();
        let table = &mut self.table;
        let remaining = self.membership.remaining(route, &publication.topic);
        let mut walked = 0;
        for part in remaining.chunks(MEMBERS_AT_ONCE) {
            match encoded {
                Encoded::Frame(frame) => {
                    for member in part {
                        let key = member.key;
                        if skips && is_skipped(key) {
                            pusher.skip(volume);
                            continue;
                        }
                        // A member is open: it leaves its topics before it closes.
                        let Some(conn) = table.get_mut(key) else { continue };
                        let pushed = pusher.push(conn, key, frame);
                        if pushed != PushResult::Done {
                            to_follow.push((key, pushed));
                        }
                        if IS_TRACED {
                            let peer = Peer { loop_index: own, key };
                            pusher.trace(peer, std::slice::from_ref(frame));
                        }
                    }
                }
                Encoded::Batch(batch) => {
                    for member in part {
                        let key = member.key;
                        if skips && is_skipped(key) {
                            pusher.skip(volume);
                            continue;
                        }
                        let Some(conn) = table.get_mut(key) else { continue };
                        let pushed = pusher.push_batch(conn, key, batch);
                        if pushed != PushResult::Done {
                            to_follow.push((key, pushed));
                        }
                        if IS_TRACED {
                            pusher.trace(Peer { loop_index: own, key }, &batch.alone);
                        }
                    }
                }
                // `dismiss_members` walks these.
                Encoded::Dismissal(_) => {}
            }
            walked += part.len();
            pusher.count(part.len(), volume);
            if pusher.charge(part.len()) {
                break;
            }
        }
        let is_done = walked == remaining.len();
        self.membership.advance(route, &publication.topic, walked, is_done);
        self.after_pushes(to_follow, encoded);
        is_done
    }

    /// Gives a connection what was published to its topics and is on its way: what happens to it next
    /// must not pass that.
    #[inline]
    pub(super) fn catch_up(&mut self, key: ConnKey) {
        if !self.walks.is_empty() {
            self.catch_up_with_walks(key);
        }
    }

    /// As above, of a connection that is to be read, unless it waits for its turn: then that catches up.
    #[inline]
    pub(super) fn catch_up_unless_queued(&mut self, key: ConnKey) {
        let is_queued = |conn: &Conn<S>| conn.flags.has(Flags::QUEUED);
        if !self.walks.is_empty() && !self.table.get(key).is_some_and(is_queued) {
            self.catch_up_with_walks(key);
        }
    }

    #[inline(never)]
    fn catch_up_with_walks(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key).filter(|conn| conn.state.is_open()) else { return };
        let route = conn.route;
        let walks = &self.walks;
        let topics = self.membership.topics_of(conn).filter(|topic| walks.has(route, topic));
        let topics: Vec<Arc<str>> = topics.map(Arc::from).collect();
        for topic in topics {
            let Some(mut walk) = self.walks.take(route, &topic) else { continue };
            let pushed = self.push_lacking(key, &topic, &mut walk);
            self.walks.put_back(route, &topic, walk);
            self.after_push(key, pushed);
        }
    }

    fn push_lacking(&mut self, key: ConnKey, topic: &str, walk: &mut Walk) -> PushResult {
        let peer = Some(Peer { loop_index: self.services.loop_index(), key });
        let mut result = PushResult::Done;
        for number in 0.. {
            // Looked up each time, as it may have had to leave the topic.
            let Some(conn) = self.table.get(key) else { break };
            let Some(is_remaining) = self.membership.is_remaining(conn, topic) else { break };
            let options = &self.services.route(conn.route).0.options;
            let lacking = walk.lacking(key, is_remaining, number, options);
            let Some((publication, encoded)) = lacking else { break };
            if publication.except == peer {
                continue;
            }
            if let Encoded::Dismissal(reason) = *encoded {
                self.dismiss(key, topic, reason);
                break;
            }
            let pushed = self.push_encoded(key, encoded);
            let pushed = self.make_room_for(key, pushed, encoded);
            if pushed != PushResult::Done {
                result = pushed;
            }
            if matches!(pushed, PushResult::Failed | PushResult::TooSlow(_)) {
                break;
            }
        }
        walk.pass(key);
        result
    }

    /// Pushes a publication to one connection.
    fn push_encoded(&mut self, key: ConnKey, encoded: &mut Encoded) -> PushResult {
        let batch = match encoded {
            Encoded::Frame(frame) => return self.push_frame(key, frame),
            Encoded::Batch(batch) => batch,
            Encoded::Dismissal(_) => return PushResult::Done,
        };
        let loop_index = self.services.loop_index();
        let Some(conn) = self.table.get_mut(key) else { return PushResult::Done };
        let route = &*self.services.route(conn.route).0;
        let run_queue = &mut self.schedule.run_queue;
        let mut pusher =
            Pusher::new(&mut self.cold, &mut self.output, run_queue, &mut self.turn, route);
        let pushed = pusher.push_batch(conn, key, batch);
        pusher.trace(Peer { loop_index, key }, &batch.alone);
        pusher.count(1, batch.volume());
        pusher.charge(1);
        pushed
    }

    /// As above, a frame by itself.
    fn push_frame(&mut self, key: ConnKey, frame: &mut SharedFrame) -> PushResult {
        let loop_index = self.services.loop_index();
        let Some(conn) = self.table.get_mut(key) else { return PushResult::Done };
        let route = &*self.services.route(conn.route).0;
        let run_queue = &mut self.schedule.run_queue;
        let mut pusher =
            Pusher::new(&mut self.cold, &mut self.output, run_queue, &mut self.turn, route);
        let pushed = pusher.push(conn, key, frame);
        pusher.trace(Peer { loop_index, key }, std::slice::from_ref(frame));
        pusher.count(1, Volume::of(frame));
        pusher.charge(1);
        pushed
    }

    /// What a push came to, once it was done again for a connection that was too slow for it and that need
    /// not get all that waits.
    #[inline]
    fn make_room_for(
        &mut self,
        key: ConnKey,
        pushed: PushResult,
        encoded: &mut Encoded,
    ) -> PushResult {
        match pushed {
            PushResult::Done | PushResult::Written | PushResult::Failed => pushed,
            PushResult::TooSlow(done) => self.push_again(key, encoded, done),
        }
    }

    /// Pushes frames for which there was no room, all but the first `done`.
    #[cold]
    fn push_again(&mut self, key: ConnKey, encoded: &mut Encoded, done: usize) -> PushResult {
        for frame in encoded.frames_mut().iter_mut().skip(done) {
            let conflation_key = frame.frame().conflation_key();
            let pushed = match self.push_frame(key, frame) {
                PushResult::TooSlow(_) => match self.make_room(key, conflation_key) {
                    Room::None => return PushResult::TooSlow(0),
                    Room::Made => self.push_frame(key, frame),
                    Room::NotNeeded => PushResult::Written,
                },
                pushed @ (PushResult::Done | PushResult::Written | PushResult::Failed) => pushed,
            };
            if matches!(pushed, PushResult::Failed | PushResult::TooSlow(_)) {
                return pushed;
            }
        }
        PushResult::Written
    }

    /// Drops frames that a connection need not get, where one with this conflation key is to come next.
    fn make_room(&mut self, key: ConnKey, new: u32) -> Room {
        let peer = Peer { loop_index: self.services.loop_index(), key };
        let Some(conn) = self.table.get(key).filter(|conn| conn.state.is_open()) else {
            return Room::None;
        };
        let route = conn.route;
        let mut room = Room::None;
        // What becomes of the frames of each key. They go together, as each search looks at all that waits.
        let (mut keys, mut left) = (Vec::new(), Vec::new());
        for own in self.output.superseded(conn, new, &mut self.turn) {
            let mut behind = Behind::Close;
            self.services.call(route, |route, effects| {
                behind = route.service.on_behind(peer, own, effects);
            });
            let Some(conn) = self.table.get_mut(key) else { return Room::None };
            let (keeps_latest, leaves) = match behind {
                Behind::Close => continue,
                Behind::KeepLatest => (true, None),
                Behind::Drop => (false, None),
                Behind::Leave(topic) => (false, Some(topic)),
            };
            left.push(leaves.is_some());
            if let Some(topic) = leaves {
                // At once: what is published next would be behind a hole.
                self.membership.unsubscribe(conn, &topic);
            }
            keys.push(Conflated { key: own, keeps_last: keeps_latest && own != new, dropped: 0 });
            let is_needed = keeps_latest || own != new;
            room = if room == Room::NotNeeded || !is_needed { Room::NotNeeded } else { Room::Made };
        }
        if let Some(conn) = self.table.get_mut(key) {
            self.output.discard_conflated(conn, &mut keys, &mut self.turn);
            let high_bytes = self.turn.settings.backlog_high_bytes;
            resume_reading(conn, key, &mut self.schedule.run_queue, high_bytes);
        }
        let counters = &self.turn.counters;
        for (own, has_left) in keys.iter().zip(left) {
            match has_left {
                true => counters.channel_members_behind.add(1),
                false => counters.channel_publications_superseded.add(own.dropped as u64),
            }
        }
        room
    }

    /// Does what an operator asks for, or answers: no more of it than a slice.
    pub fn handle_query(&mut self, query: Query) {
        self.turn.counters.mail_in.add(1);
        self.turn.work.begin_share();
        self.turn.work.charge(prices::MAIL);
        match query {
            Query::List { filter, from, count_max, reply } => {
                reply.send(self.inspector().list(&filter, from, count_max));
            }
            Query::Show { key, reply } => reply.send(self.inspector().detail(key)),
            Query::CloseOne { key, request, reply } => {
                reply.send(self.close_for_operator(key, &request));
            }
            Query::Close { filter, from, request, reply } => {
                let close = |own: &mut Self, key| own.close_for_operator(key, &request);
                let (closed, next) = self.each_open(&filter, from, close);
                reply.send(ClosedSlice { closed, next });
            }
            Query::SendOne { key, text, reply } => {
                reply.send(self.send_for_operator(key, &EncodedFrame::text(&text)));
            }
            Query::Send { filter, from, text, reply } => {
                let frame = EncodedFrame::text(&text);
                let send = |own: &mut Self, key| own.send_for_operator(key, &frame);
                let (sent, next) = self.each_open(&filter, from, send);
                reply.send(SentSlice { sent, next });
            }
            Query::Rooms { reply } => {
                // Behind others it goes on when they are complete, one slice in each turn.
                let is_first = self.room_lists.is_empty();
                self.room_lists.add(reply);
                if is_first {
                    self.run_room_lists();
                }
            }
            Query::Publish { route, room, text, reply } => {
                self.turn.work.charge(prices::PUBLICATION + prices::bytes(text.len()));
                reply.send(self.services.publish(&route, &room, &text));
            }
            Query::Channel { item, publishes, reply } => {
                self.turn.work.charge(prices::PUBLICATION + prices::bytes(item.held_bytes()));
                reply.send(self.services.publish_item(&item, publishes));
            }
            Query::Channels { question, reply } => {
                self.turn.work.charge(prices::PUBLICATION + prices::bytes(question.held_bytes()));
                self.services.ask_channels(question, reply);
            }
            Query::Trace { id, filter, payload_bytes_max, sink, reply } => {
                self.turn.traces.add(id, filter, payload_bytes_max, sink, reply);
            }
            Query::Untrace { id } => self.turn.traces.remove(id),
        }
        self.settle_work();
    }

    /// Goes on with the lists of rooms that operators wait for.
    pub(super) fn run_room_lists(&mut self) {
        self.room_lists.run(&self.services, &mut self.turn.work);
    }

    /// Looks through open connections for traces that begin, as far as a slice lasts.
    pub(super) fn begin_traces(&mut self) {
        let Some(from) = self.turn.traces.beginning() else { return };
        let end = self.turn.work.used() + SLICE_WORK;
        let mut traces = self.turn.traces.take();
        let mut next = None;
        for index in from..self.table.slots_end() {
            if self.turn.work.used() >= end {
                next = Some(index);
                break;
            }
            self.turn.work.charge(prices::SLOT);
            let Some(key) = self.table.key_of(index) else { continue };
            let Some(conn) = self.table.get(key) else { continue };
            let mut viewer = Viewer::new(&self.cold, &self.services, &mut self.turn);
            viewer.consider(&mut traces, key, conn);
        }
        traces.begun(next);
        self.turn.traces = traces;
    }

    /// The connections as operators see them.
    fn inspector(&mut self) -> Inspector<'_, S> {
        let Self { table, cold, input, output, services, turn, .. } = self;
        Inspector::new(table, input, output, Viewer::new(cold, services, turn))
    }

    /// Does something for open connections that fit, from slot `from` on, as far as a slice lasts. Gives
    /// for how many it was done, and where to go on.
    fn each_open(
        &mut self,
        filter: &ConnectionFilter,
        from: u32,
        mut act: impl FnMut(&mut Self, ConnKey) -> bool,
    ) -> (usize, Option<u32>) {
        let end = self.turn.work.used() + SLICE_WORK;
        let mut done = 0;
        for index in from..self.table.slots_end() {
            if self.turn.work.used() >= end {
                return (done, Some(index));
            }
            let found = self.inspector().find(filter, index).map(|(key, _)| key);
            if let Some(key) = found {
                done += usize::from(act(self, key));
            }
        }
        (done, None)
    }

    fn close_for_operator(&mut self, key: ConnKey, request: &CloseRequest) -> bool {
        // The end of our half; the write is charged where it is done.
        self.turn.work.charge(prices::CLOSE);
        self.close_open(key, request, CloseReason::Operator(request.code))
    }

    fn send_for_operator(&mut self, key: ConnKey, frame: &EncodedFrame) -> bool {
        self.turn.work.charge(prices::EFFECT + prices::bytes(frame.as_bytes().len()));
        self.push_if_open(key, frame.clone())
    }

    /// Pushes a frame to one connection.
    fn push(&mut self, key: ConnKey, frame: EncodedFrame) {
        if !self.push_if_open(key, frame) {
            self.turn.counters.effects_ignored.add(1);
        }
    }

    /// As above; whether it is there and open.
    fn push_if_open(&mut self, key: ConnKey, frame: EncodedFrame) -> bool {
        self.catch_up(key);
        let takes = |conn: &&Conn<S>| {
            // What a relay passes on is not ours to add to.
            conn.state.is_open() && !conn.protocol.is_relayed()
        };
        let Some(conn) = self.table.get(key).filter(takes) else { return false };
        let options = &self.services.route(conn.route).0.options;
        let mut encoded = Encoded::Frame(SharedFrame::new(frame, options));
        let pushed = self.push_encoded(key, &mut encoded);
        let pushed = self.make_room_for(key, pushed, &mut encoded);
        encoded.release(self.output.sharing().1, &self.turn.counters);
        self.after_push(key, pushed);
        true
    }

    fn after_pushes(&mut self, pushed: Vec<(ConnKey, PushResult)>, encoded: &mut Encoded) {
        for (key, pushed) in pushed {
            let pushed = self.make_room_for(key, pushed, encoded);
            self.after_push(key, pushed);
        }
    }

    fn after_push(&mut self, key: ConnKey, pushed: PushResult) {
        match pushed {
            PushResult::Done => {}
            PushResult::Written => self.arm_if_asked(key),
            PushResult::Failed => self.abort(key, CloseReason::Reset),
            PushResult::TooSlow(_) => {
                let Some(route) = self.table.get(key).map(|conn| conn.route) else { return };
                let code = self.services.route(route).0.options.slow_code;
                self.fail(key, code, "too slow", CloseReason::Slow);
            }
        }
    }
}

/// What came of making room for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    /// It may be pushed again.
    Made,
    /// It is not for the connection any more.
    NotNeeded,
}

/// Members between two looks at the share.
const MEMBERS_AT_ONCE: usize = 64;
/// Effects may lead to further effects. After this many rounds the rest waits a turn, so that a
/// service that answers its own messages does not delay other connections without end.
const ROUNDS_MAX: usize = 16;
