//! The channels whose home is this loop: their members, the order of what is published, and who is told what.
//!
//! What the home sends to a loop arrives there in the order of sending, replies and publications alike. So a
//! reply with what a member has missed, then its subscription, then what is published later is all that it
//! must get, without a hole and without a repeat, whatever else the loops do meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::awaiting::Waited;
use super::channel_ref::ChannelRef;
use super::home_channel::{HomeChannel, Topic};
use super::home_engine::HomeEngine;
use super::listings::Listings;
use super::occupancy::Occupancy;
use super::settings::{ChannelsLimits, ChannelsSettings};
use super::to_home::{
    ChannelAction, Dismissal, Gathered, HistoryQuestion, LeaveReply, ProxiedPublication, Refused,
    Subscribe, ToHome, Told,
};
use crate::centrifugo::{
    Disconnect, Encoded, Encoder, ErrorCode, Format, HistoryPage, Reply, Subscribed,
};
use crate::channels::{
    Change, ClientInfo, Conflation, EngineError, EngineEvent, JoinRequest, Namespace, Page,
    PageRequest, Position, Presence, Publication, PublishRequest, Read, Recovery, Since,
    StreamCopy, StreamItem,
};
use crate::effects::ChannelCounts;
use crate::inspect::ChannelAnswer;
use crate::mail;
use crate::services::{Effects, EngineDelivery, LoopSite, Peer, ServiceSender};
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// All channels whose home is this loop. A channel exists as long as it has a member; what is kept of it is
/// the engine's.
#[derive(Debug)]
pub(super) struct Home {
    limits: ChannelsLimits,
    channels: HashMap<Arc<str>, HomeChannel>,
    engine: HomeEngine<Context>,
    /// Publications that are held back for channels with an interval.
    conflation: Conflation,
    encoder: Encoder,
    /// Empty between two calls; here so that its memory is used again.
    events: Vec<EngineEvent<Context>>,
    /// Bytes that were charged to the pool for the engine.
    charged_bytes: usize,
    /// What has happened since it was counted.
    counts: ChannelCounts,
    occupancy: Occupancy,
    /// What clients ask for that is long.
    listings: Listings<ToHome>,
}

/// What a backend asks of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum HomeQuestion<'q> {
    /// To publish, under a key, and perhaps without keeping it.
    Publish(&'q Arc<str>, &'q Publication, Option<&'q str>, bool),
    Presence(&'q str),
    PresenceStats(&'q str),
    /// From where on, of which epoch, and how many at most.
    History(&'q Arc<str>, Since, Option<&'q str>, usize),
    Forget(&'q Arc<str>),
    /// To take all members out.
    Close(&'q str),
}

/// Why the engine was asked.
#[derive(Debug)]
enum Context {
    Subscribe(Arc<ChannelRef>, Peer, Format, Box<Subscribe>),
    Publish(Asker),
    History(Asker),
    /// Whether only their number is asked for.
    Presence(Asker, bool),
    Forget(mail::Reply<ChannelAnswer>),
}

/// Who is answered.
#[derive(Debug)]
enum Asker {
    /// A client, under the ID of its command, in the format that it speaks.
    Client(Peer, u32, Format),
    /// A backend.
    Backend(mail::Reply<ChannelAnswer>),
}

impl Home {
    /// No channels, and an engine whose first stream has this epoch.
    pub(super) fn new(settings: &ChannelsSettings, site: LoopSite, first_epoch: u32) -> Self {
        let limits = settings.limits.of_loop(site.count);
        let mut occupancy = Occupancy::default();
        occupancy.set(settings.occupancy.clone());
        Self {
            limits,
            channels: HashMap::new(),
            engine: HomeEngine::new(settings.engine.as_ref(), limits.history, first_epoch),
            conflation: Conflation::default(),
            encoder: Encoder::default(),
            events: Vec::new(),
            charged_bytes: 0,
            counts: ChannelCounts::default(),
            occupancy,
            listings: Listings::default(),
        }
    }

    /// The settings from now on. What is there stays.
    pub(super) fn set(&mut self, settings: &ChannelsSettings, loop_count: u16) {
        self.limits = settings.limits.of_loop(loop_count);
        self.engine.set_limits(self.limits.history);
        self.occupancy.set(settings.occupancy.clone());
    }

    /// Some time has passed.
    pub(super) fn on_tick(&mut self, effects: &mut Effects<'_>) {
        self.listings.begin_turn(effects.now());
        while let Some(message) = self.listings.next() {
            self.act(message, effects);
        }
        if !self.listings.is_empty() {
            effects.tick_again();
        }
        self.engine.tick(effects.now());
        self.occupancy.on_tick((effects.now(), effects.wall_now()));
        for number in 0.. {
            let Some(item) = self.conflation.next_due(effects.now()) else { break };
            self.deliver(&item, effects);
            if number == DELIVERED_AT_ONCE {
                effects.tick_again();
                break;
            }
        }
        self.charge(effects);
    }

    /// Answers can be taken from now on.
    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        self.engine.on_start(sender);
    }

    /// Takes what a shared engine says.
    pub(super) fn on_delivery(&mut self, delivery: EngineDelivery, effects: &mut Effects<'_>) {
        for event in delivery.events {
            self.engine.on_event(event, &mut self.events);
        }
        self.finish(effects);
    }

    /// Whether nothing is kept that time changes.
    pub(super) fn is_at_rest(&self) -> bool {
        let has_work =
            self.occupancy.waits() || !self.conflation.is_empty() || !self.listings.is_empty();
        self.channels.is_empty() && self.engine.is_at_rest() && !has_work
    }

    /// Takes over the stream of another process, as [`HomeEngine::restore`].
    pub(super) fn restore(&mut self, stream: StreamCopy, now: Millis) -> bool {
        self.engine.restore(stream, now)
    }

    /// As [`HomeEngine::freeze`].
    pub(super) fn freeze(&mut self) {
        self.engine.freeze();
    }

    /// As [`HomeEngine::thaw`].
    pub(super) fn thaw(&mut self, are_new: bool) {
        self.engine.thaw(are_new);
    }

    /// As [`HomeEngine::copies`], as many as a turn has time for.
    pub(super) fn copies(&self, cursor: usize, now: Millis) -> (Vec<StreamCopy>, Option<usize>) {
        self.engine.copies(cursor, COPIED_AT_ONCE, now)
    }

    /// Does what a connection does in a channel, at once or when it is its turn.
    pub(super) fn on_action(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        let Some(id) = message.action.listing() else { return self.act(message, effects) };
        if self.listings.is_free(effects.now()) {
            return self.act(message, effects);
        }
        // So that no more is read in this turn than can be answered in the next.
        effects.charge_work(LISTING_WORK);
        effects.tick_again();
        let (peer, format) = (message.peer, message.format);
        if self.listings.push(peer, message).is_err() {
            self.counts.refusals += 1;
            send(peer, self.encoder.error(format, id, ErrorCode::TooManyRequests), effects);
        }
    }

    fn act(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        let ToHome { channel, peer, format, action } = message;
        match action {
            ChannelAction::Subscribe(own) => self.subscribe(&channel, (peer, format), own, effects),
            ChannelAction::Confirm => self.confirm(&channel, (peer, format), effects),
            ChannelAction::Leave(reply) => self.leave(&channel, (peer, format), reply, effects),
            ChannelAction::Publish(id, publication) => {
                let request = PublishRequest {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    publication: &publication,
                    idempotency_key: None,
                    skips_history: false,
                };
                let context = Context::Publish(Asker::Client(peer, id, format));
                self.engine.publish(request, context, effects.now(), &mut self.events);
            }
            ChannelAction::PublishAs(id, own) => {
                let ProxiedPublication { publication, idempotency_key, skips_history } = *own;
                let request = PublishRequest {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    publication: &publication,
                    idempotency_key: idempotency_key.as_deref(),
                    skips_history,
                };
                let context = Context::Publish(Asker::Client(peer, id, format));
                self.engine.publish(request, context, effects.now(), &mut self.events);
            }
            ChannelAction::Presence(id) => {
                self.ask_presence(&channel.name, Asker::Client(peer, id, format), false, effects);
            }
            ChannelAction::PresenceStats(id) => {
                self.ask_presence(&channel.name, Asker::Client(peer, id, format), true, effects);
            }
            ChannelAction::History(id, question) => {
                let HistoryQuestion { since, epoch, limit } = question;
                let request = PageRequest {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    since,
                    epoch: epoch.as_deref(),
                    limit,
                };
                let context = Context::History(Asker::Client(peer, id, format));
                self.engine.page(request, context, effects.now(), &mut self.events);
            }
        }
        self.finish(effects);
    }

    /// Does what a backend asks for in a channel with this namespace.
    pub(super) fn on_question(
        &mut self,
        question: HomeQuestion<'_>,
        namespace: &Namespace,
        reply: mail::Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) {
        let asker = Asker::Backend(reply);
        match question {
            HomeQuestion::Publish(channel, publication, idempotency_key, skips_history) => {
                let request = PublishRequest {
                    channel,
                    namespace,
                    publication,
                    idempotency_key,
                    skips_history,
                };
                let context = Context::Publish(asker);
                self.engine.publish(request, context, effects.now(), &mut self.events);
            }
            HomeQuestion::Presence(channel) => self.presence(channel, asker, effects),
            HomeQuestion::PresenceStats(channel) => self.presence_stats(channel, asker, effects),
            HomeQuestion::History(channel, since, epoch, limit) => {
                let request = PageRequest { channel, namespace, since, epoch, limit };
                let context = Context::History(asker);
                self.engine.page(request, context, effects.now(), &mut self.events);
            }
            HomeQuestion::Forget(channel) => {
                if let Asker::Backend(reply) = asker {
                    let context = Context::Forget(reply);
                    self.engine.remove(channel, context, &mut self.events);
                }
            }
            HomeQuestion::Close(channel) => {
                if let Some(at_home) = self.channels.get_mut(channel) {
                    at_home.dismiss_all(Dismissal::Closed, effects);
                }
                if let Asker::Backend(reply) = asker {
                    reply.send(ChannelAnswer::Done);
                }
            }
        }
        self.finish(effects);
    }

    /// Channels with members, up to this number, and how many each has.
    pub(super) fn list(&self, count_max: usize) -> Vec<(Arc<str>, u32)> {
        let all = self.channels.iter().take(count_max);
        all.map(|(name, own)| (Arc::clone(name), own.members())).collect()
    }

    /// Channels with members, and members of all.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.counts.members as usize)
    }

    fn finish(&mut self, effects: &mut Effects<'_>) {
        self.take_events(effects);
        self.engine.send_questions();
        self.charge(effects);
        let ChannelCounts { channels, members, .. } = self.counts;
        effects.count_channels(self.counts);
        self.counts = ChannelCounts { channels, members, ..ChannelCounts::default() };
    }

    fn subscribe(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Box<Subscribe>,
        effects: &mut Effects<'_>,
    ) {
        self.counts.members += 1;
        let is_full = self.channels.len() >= self.limits.channels_max;
        let entry = self.channels.entry(Arc::clone(&channel.name));
        let is_new = matches!(entry, std::collections::hash_map::Entry::Vacant(_));
        let at_home = entry.or_insert_with(|| HomeChannel::new(channel));
        // Also one that is refused: its `Leave` follows.
        at_home.add(format);
        let is_closed = at_home.is_closed_to(format);
        self.counts.channels += u32::from(is_new);
        if !Arc::ptr_eq(&at_home.channel.namespace, &channel.namespace) {
            at_home.channel = Arc::clone(channel);
        }
        if is_full && is_new {
            return self.refuse((peer, format), &own, ErrorCode::LimitExceeded, effects);
        }
        if is_closed {
            // Those who have to go are still there; the client tries again by itself.
            return self.refuse((peer, format), &own, ErrorCode::Internal, effects);
        }
        let is_heard = at_home.is_heard || !self.engine.answers_later();
        if !own.is_positioned && is_heard {
            return self.admit(channel, (peer, format), *own, None, effects);
        }
        if self.engine.answers_later() {
            at_home.rare.get_or_insert_default().expect(peer, format, own.serial);
        }
        let recover = own.recover.clone();
        let request = JoinRequest {
            channel: &channel.name,
            namespace: &channel.namespace,
            is_positioned: own.is_positioned,
            position: recover.as_ref().map(|(offset, epoch)| (*offset, &**epoch)),
        };
        let context = Context::Subscribe(Arc::clone(channel), peer, format, own);
        self.engine.join(request, context, effects.now(), &mut self.events);
    }

    /// Does what the engine's events lead to, which may be further ones.
    fn take_events(&mut self, effects: &mut Effects<'_>) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                EngineEvent::Stream(item) => self.on_stream(item, effects),
                EngineEvent::Published(Context::Publish(asker), result) => {
                    let position = result.map(|own| own.position);
                    let reply = position.map_err(code).map(|position| (Reply::Published, position));
                    self.answer(asker, reply, effects);
                }
                EngineEvent::Joined(Context::Subscribe(channel, peer, format, own), result) => {
                    self.on_joined(&channel, (peer, format), *own, result, effects);
                }
                EngineEvent::Page(Context::History(asker), result) => {
                    self.answer_history(asker, result, effects);
                }
                EngineEvent::Removed(Context::Forget(reply), result) => {
                    reply.send(match result {
                        Ok(()) => ChannelAnswer::Done,
                        Err(error) => ChannelAnswer::Failed(code(error)),
                    });
                }
                EngineEvent::Present(Context::Presence(asker, is_counted), result) => {
                    self.answer_presence(asker, is_counted, &result, effects);
                }
                EngineEvent::Lost(channel) => self.on_lost(&channel, effects),
                EngineEvent::Member(channel, change, info) => {
                    self.publish_member(&channel, change, &info, effects);
                }
                // No other question has these answers.
                EngineEvent::Published(..)
                | EngineEvent::Joined(..)
                | EngineEvent::Page(..)
                | EngineEvent::Present(..)
                | EngineEvent::Removed(..) => {}
            }
        }
        self.events = events;
    }

    /// The engine has said where the stream is for one who becomes a member.
    fn on_joined(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Subscribe,
        result: Result<Option<Read>, EngineError>,
        effects: &mut Effects<'_>,
    ) {
        if self.engine.answers_later() {
            let at_home = self.channels.get_mut(&channel.name);
            let rare = at_home.and_then(|own| own.rare.as_mut());
            let Some(outcome) = rare.and_then(|rare| rare.take_expected(peer, own.serial)) else {
                return self.answer_late((peer, format), &own, effects);
            };
            if let Some(at_home) = self.channels.get_mut(&channel.name) {
                at_home.is_heard |= result.is_ok();
                at_home.forget_rare();
            }
            if let Err(why) = outcome {
                return self.refuse_dismissed((peer, format), &own, why, effects);
            }
        }
        match result {
            Ok(read) => self.admit(channel, (peer, format), own, read, effects),
            Err(error) => self.refuse((peer, format), &own, code(error), effects),
        }
    }

    /// All members were taken out of the channel while the engine was asked about this one.
    fn refuse_dismissed(
        &mut self,
        (peer, format): (Peer, Format),
        own: &Subscribe,
        why: Dismissal,
        effects: &mut Effects<'_>,
    ) {
        match (why, own.told) {
            // The client tries again by itself.
            (Dismissal::PositionLost | Dismissal::Closed, Told::Reply(_) | Told::Connect) => {
                self.refuse((peer, format), own, ErrorCode::Internal, effects);
            }
            (Dismissal::PositionLost | Dismissal::Closed, Told::Push)
            | (Dismissal::Inappropriate, _) => {
                disconnect(peer, why.disconnect(), effects);
            }
        }
    }

    /// Answers one who has left again before it was a member.
    fn answer_late(
        &mut self,
        (peer, format): (Peer, Format),
        own: &Subscribe,
        effects: &mut Effects<'_>,
    ) {
        let error = ErrorCode::Internal;
        match own.told {
            Told::Reply(id) => send(peer, self.encoder.error(format, id, error), effects),
            Told::Push => {}
            Told::Connect => {
                let gathered = Gathered { peer, serial: own.serial, outcome: Err(error) };
                effects.answer(peer.loop_index, Box::new(gathered));
            }
        }
    }

    /// Members of a channel with a history cannot be given all that is published there.
    fn on_lost(&mut self, channel: &Arc<str>, effects: &mut Effects<'_>) {
        let Some(at_home) = self.channels.get_mut(channel) else { return };
        if !at_home.channel.namespace.has_history() {
            return;
        }
        self.counts.positions_lost += at_home.members();
        // With what is published next they would take themselves for whole up to there.
        at_home.dismiss_all(Dismissal::PositionLost, effects);
        // They recover it when they come again.
        drop(self.conflation.flush(channel, effects.now()));
    }

    /// Gives a publication to the members, or holds it back until its time comes.
    fn on_stream(&mut self, item: StreamItem, effects: &mut Effects<'_>) {
        self.counts.publications += 1;
        // Without members it would go through the mailboxes of all loops for nothing.
        let Some(at_home) = self.channels.get(&item.channel) else { return };
        match at_home.channel.namespace.conflate_ms {
            0 => self.deliver(&item, effects),
            interval_ms => {
                if let Some(item) = self.conflation.take(item, interval_ms, effects.now()) {
                    self.deliver(&item, effects);
                }
            }
        }
    }

    /// Gives out what is held back for a channel: who becomes a member has read it already, and must not get
    /// it again.
    fn flush(&mut self, channel: &ChannelRef, effects: &mut Effects<'_>) {
        let item = self.conflation.flush(&channel.name, effects.now());
        if let Some(item) = item {
            self.deliver(&item, effects);
        }
    }

    /// Gives a publication to the members.
    fn deliver(&mut self, item: &StreamItem, effects: &mut Effects<'_>) {
        let StreamItem { channel, publication, position } = item;
        // All may have left while it was held back.
        let Some(at_home) = self.channels.get_mut(channel) else { return };
        if publication.is_binary() && at_home.close_to_json() {
            at_home.dismiss(Format::Json, Dismissal::Inappropriate, effects);
        }
        let offset = position.map(|own| own.offset);
        let encoder = &mut self.encoder;
        let own = Arc::clone(&at_home.channel);
        at_home.publish(&own, Topic::Publications, effects, |format| {
            let frame = encoder.publication(format, channel, offset, publication).frame();
            frame.conflated_by(own.conflation_key)
        });
    }

    /// Answers with a part of a history.
    fn answer_history(
        &mut self,
        asker: Asker,
        result: Result<Read, EngineError>,
        effects: &mut Effects<'_>,
    ) {
        let page = result.map(|read| {
            let position = read.position;
            HistoryPage { publications: read.page(), position }
        });
        let publications = page.as_ref().map_or(0, |own| own.publications.len());
        self.spend(LISTING_WORK + publications as u64 * PUBLICATION_WORK, effects);
        if let (Asker::Client(peer, _, format), Ok(page)) = (&asker, &page)
            && is_unspeakable(*format, &page.publications)
        {
            return disconnect(*peer, Disconnect::InappropriateProtocol, effects);
        }
        let reply = page.as_ref().map(|page| (Reply::History(page), None));
        self.answer(asker, reply.map_err(|error| code(*error)), effects);
    }

    /// Tells the one who asked what came of it.
    fn answer(
        &mut self,
        asker: Asker,
        result: Result<(Reply<'_>, Option<Position>), ErrorCode>,
        effects: &mut Effects<'_>,
    ) {
        match (asker, result) {
            (Asker::Client(peer, id, format), Ok((reply, _))) => {
                let frame = self.encoder.reply(format, id, &reply).frame();
                self.listings.spend(frame.as_bytes().len() as u64 * BYTE_SHARE);
                effects.send(peer, frame);
            }
            (Asker::Client(peer, id, format), Err(error)) => {
                send(peer, self.encoder.error(format, id, error), effects);
            }
            (Asker::Backend(to), Ok((reply, position))) => {
                to.send(ChannelAnswer::Json(self.encoder.result(&reply, position).to_vec()));
            }
            (Asker::Backend(to), Err(error)) => to.send(ChannelAnswer::Failed(error)),
        }
    }

    /// Makes a connection a member: the reply first, then the subscription, then the others learn of it.
    fn admit(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Subscribe,
        read: Option<Read>,
        effects: &mut Effects<'_>,
    ) {
        let is_lost = read.as_ref().is_some_and(|read| read.recovery == Recovery::Lost);
        if is_lost && own.rejects_unrecovered {
            return self.refuse((peer, format), &own, ErrorCode::UnrecoverablePosition, effects);
        }
        let top = read.as_ref().map(|read| read.position);
        let subscribed = subscribed(&own, read);
        if is_unspeakable(format, &subscribed.publications) {
            return disconnect(peer, Disconnect::InappropriateProtocol, effects);
        }
        if subscribed.was_recovering {
            match subscribed.is_recovered {
                true => self.counts.recoveries += 1,
                false => self.counts.positions_lost += 1,
            }
        }
        if channel.namespace.conflate_ms > 0 {
            self.flush(channel, effects);
        }
        self.tell_member(channel, (peer, format), (&own, subscribed, top), effects);
        let Some(at_home) = self.channels.get_mut(&channel.name) else { return };
        if channel.namespace.occupancy && !std::mem::replace(&mut at_home.is_occupied, true) {
            self.occupancy.occupied(&channel.name, effects.wall_now());
        }
        let Some(info) = own.info else { return };
        match channel.namespace.presence {
            true => at_home.presence.get_or_insert_default().add(peer, info.clone()),
            false => at_home.rare.get_or_insert_default().unlisted.add(peer, info.clone()),
        }
        if channel.namespace.join_leave {
            self.tell_of_member(channel, Change::Joined, info, effects);
        }
    }

    /// Tells members everywhere that one of them has come or gone.
    fn tell_of_member(
        &mut self,
        channel: &ChannelRef,
        change: Change,
        info: ClientInfo,
        effects: &mut Effects<'_>,
    ) {
        match self.engine.shared() {
            // It comes back to this node as to the others.
            Some(shared) => shared.tell_of_member(&channel.name, change, info),
            None => self.publish_member(&channel.name, change, &info, effects),
        }
    }

    /// Tells the members of this node.
    fn publish_member(
        &mut self,
        channel: &Arc<str>,
        change: Change,
        info: &ClientInfo,
        effects: &mut Effects<'_>,
    ) {
        let Some(at_home) = self.channels.get_mut(channel) else { return };
        let (encoder, own) = (&mut self.encoder, Arc::clone(&at_home.channel));
        at_home.publish(&own, Topic::Joins, effects, |format| match change {
            Change::Joined => encoder.join(format, channel, info).frame(),
            Change::Left => encoder.leave(format, channel, info).frame(),
        });
    }

    /// Tells a member that it is one, and has it hear of the channel from then on.
    fn tell_member(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        (own, mut subscribed, top): (&Subscribe, Subscribed, Option<Position>),
        effects: &mut Effects<'_>,
    ) {
        match own.told {
            Told::Reply(id) => {
                let reply = self.encoder.reply(format, id, &Reply::Subscribed(&subscribed));
                send(peer, reply, effects);
            }
            Told::Push => {
                // Such a push has no list of publications, so they come behind it, one by one.
                let missed = std::mem::take(&mut subscribed.publications);
                let encoder = &mut self.encoder;
                send(peer, encoder.server_subscribed(format, &channel.name, &subscribed), effects);
                for (offset, publication) in &missed {
                    let offset = Some(*offset);
                    let push = encoder.publication(format, &channel.name, offset, publication);
                    send(peer, push, effects);
                }
            }
            Told::Connect => {
                if let Some(at_home) = self.channels.get_mut(&channel.name) {
                    let rare = at_home.rare.get_or_insert_default();
                    rare.await_confirmation(peer, format, own.hears_joins);
                }
                let outcome = Ok((subscribed, top));
                let gathered = Gathered { peer, serial: own.serial, outcome };
                return effects.answer(peer.loop_index, Box::new(gathered));
            }
        }
        if let Some(at_home) = self.channels.get(&channel.name) {
            at_home.subscribe(channel, peer, format, own.hears_joins, effects);
        }
    }

    /// The reply is out that tells a member of this channel.
    fn confirm(
        &mut self,
        channel: &ChannelRef,
        (peer, format): (Peer, Format),
        effects: &mut Effects<'_>,
    ) {
        let Some(at_home) = self.channels.get_mut(&channel.name) else { return };
        let waited = at_home.rare.as_mut().and_then(|rare| rare.confirm(peer));
        at_home.forget_rare();
        let Some(Waited { frames, hears_joins }) = waited else { return };
        let frames = match frames {
            Ok(frames) => frames,
            Err(why) => return disconnect(peer, why.disconnect(), effects),
        };
        for frame in frames {
            effects.send(peer, frame);
        }
        at_home.subscribe(channel, peer, format, hears_joins, effects);
    }

    /// Tells a connection, and its loop, that it is no member.
    fn refuse(
        &mut self,
        (peer, format): (Peer, Format),
        own: &Subscribe,
        error: ErrorCode,
        effects: &mut Effects<'_>,
    ) {
        self.counts.refusals += u32::from(error == ErrorCode::LimitExceeded);
        self.counts.positions_lost += u32::from(error == ErrorCode::UnrecoverablePosition);
        let serial = own.serial;
        match own.told {
            Told::Reply(id) => send(peer, self.encoder.error(format, id, error), effects),
            Told::Push => {
                log::debug!(connection:% = peer; "channels: not subscribed: {}", error.text());
            }
            Told::Connect => {
                let gathered = Gathered { peer, serial, outcome: Err(error) };
                return effects.answer(peer.loop_index, Box::new(gathered));
            }
        }
        effects.answer(peer.loop_index, Box::new(Refused { peer, serial }));
    }

    fn leave(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        reply: LeaveReply,
        effects: &mut Effects<'_>,
    ) {
        let encoder = &mut self.encoder;
        let told = match reply {
            LeaveReply::Command(id) => Some(encoder.reply(format, id, &Reply::Unsubscribed)),
            LeaveReply::Push(why) => Some(encoder.unsubscribed(format, &channel.name, why)),
            LeaveReply::Nothing => None,
            LeaveReply::Gone => {
                self.listings.forget(peer);
                None
            }
        };
        let at_home = self.channels.get_mut(&channel.name);
        if let (Some(at_home), Some(_)) = (&at_home, &told) {
            at_home.unsubscribe(channel, peer, format, effects);
        }
        if let Some(told) = told {
            send(peer, told, effects);
        }
        let Some(at_home) = at_home else { return };
        at_home.remove(format);
        self.counts.members = self.counts.members.saturating_sub(1);
        let info = at_home.presence.as_mut().and_then(|own| own.remove(peer));
        let unlisted = at_home.rare.as_mut().and_then(|own| own.remove(peer));
        at_home.forget_rare();
        let info = info.or(unlisted);
        if at_home.members() == 0 {
            if at_home.is_occupied {
                let times = (effects.now(), effects.wall_now());
                self.occupancy.left(&at_home.channel.name, times);
            }
            self.channels.remove(&channel.name);
            self.counts.channels = self.counts.channels.saturating_sub(1);
            self.channels.shrink_if_sparse(CHANNELS_KEPT);
            self.engine.leave(&channel.name);
            if self.engine.shared().is_none() {
                return;
            }
        }
        if let Some(info) = info.filter(|_| channel.namespace.join_leave) {
            self.tell_of_member(channel, Change::Left, info, effects);
        }
    }

    /// Says who is in a channel, on all nodes, or how many.
    fn ask_presence(
        &mut self,
        channel: &Arc<str>,
        asker: Asker,
        is_counted: bool,
        effects: &mut Effects<'_>,
    ) {
        match (self.engine.shared(), is_counted) {
            (Some(shared), _) => {
                let context = Context::Presence(asker, is_counted);
                shared.ask_for_members(channel, context, &mut self.events);
            }
            (None, false) => self.presence(channel, asker, effects),
            (None, true) => self.presence_stats(channel, asker, effects),
        }
    }

    /// All nodes have said who is in a channel.
    fn answer_presence(
        &mut self,
        asker: Asker,
        is_counted: bool,
        result: &Result<Vec<ClientInfo>, EngineError>,
        effects: &mut Effects<'_>,
    ) {
        let reply = match result {
            Err(error) => Err(code(*error)),
            Ok(members) if is_counted => {
                let users: HashSet<&str> = members.iter().map(|own| &*own.user).collect();
                Ok((Reply::PresenceStats(members.len(), users.len()), None))
            }
            Ok(members) if members.len() > LISTED_MAX => Err(ErrorCode::LimitExceeded),
            Ok(members) => Ok((Reply::Presence(members), None)),
        };
        let members = result.as_ref().map_or(0, Vec::len);
        self.spend(LISTING_WORK + members as u64 * MEMBER_WORK, effects);
        self.answer(asker, reply, effects);
    }

    /// A long answer costs this much.
    fn spend(&mut self, units: u64, effects: &mut Effects<'_>) {
        self.listings.spend(units);
        effects.charge_work(units);
    }

    fn presence(&mut self, channel: &str, asker: Asker, effects: &mut Effects<'_>) {
        let presence = self.channels.get(channel);
        let presence = presence.and_then(|own| own.presence.as_deref());
        if presence.is_some_and(|own| own.client_count() > LISTED_MAX) {
            // A part would be taken for the whole. How many there are is known in any case.
            return self.answer(asker, Err(ErrorCode::LimitExceeded), effects);
        }
        let members = presence.into_iter().flat_map(Presence::iter);
        let members: Vec<ClientInfo> = members.cloned().collect();
        self.spend(LISTING_WORK + members.len() as u64 * MEMBER_WORK, effects);
        self.answer(asker, Ok((Reply::Presence(&members), None)), effects);
    }

    fn presence_stats(&mut self, channel: &str, asker: Asker, effects: &mut Effects<'_>) {
        let presence = self.channels.get(channel);
        let presence = presence.and_then(|own| own.presence.as_deref());
        let (clients, users) =
            presence.map_or((0, 0), |own| (own.client_count(), own.user_count()));
        self.answer(asker, Ok((Reply::PresenceStats(clients, users), None)), effects);
    }

    /// Charges the pool with what the engine holds more, and gives back what it holds less.
    fn charge(&mut self, effects: &mut Effects<'_>) {
        let held = self.engine.held_bytes() + self.conflation.held_bytes();
        match held.checked_sub(self.charged_bytes) {
            Some(0) => {}
            Some(more) => effects.charge_for_all(more),
            None => effects.discharge(self.charged_bytes - held),
        }
        self.charged_bytes = held;
    }
}

/// What a new member is told.
fn subscribed(own: &Subscribe, read: Option<Read>) -> Subscribed {
    let was_recovering = own.recover.is_some() && own.is_recoverable;
    let mut subscribed = Subscribed {
        ttl: own.ttl,
        is_recoverable: own.is_recoverable,
        is_positioned: own.is_positioned,
        was_recovering,
        data: own.data.clone(),
        ..Subscribed::default()
    };
    let Some(read) = read else { return subscribed };
    let mut position = read.position;
    if let (true, Recovery::Recovered(page)) = (was_recovering, read.recovery) {
        // The client moves on from where it was with each publication that it takes.
        let requested = own.recover.as_ref().map_or(0, |(offset, _)| *offset);
        position.offset = requested.min(position.offset);
        (subscribed.is_recovered, subscribed.publications) = (true, page);
    }
    subscribed.position = Some(position);
    subscribed
}

fn code(error: EngineError) -> ErrorCode {
    match error {
        EngineError::TooManyChannels => ErrorCode::LimitExceeded,
        EngineError::OtherEpoch => ErrorCode::UnrecoverablePosition,
        EngineError::Unavailable => ErrorCode::Internal,
    }
}

fn send(peer: Peer, encoded: Encoded<'_>, effects: &mut Effects<'_>) {
    effects.send(peer, encoded.frame());
}

/// Whether a client that speaks this cannot be given some of these.
fn is_unspeakable(format: Format, page: &Page) -> bool {
    format == Format::Json && page.iter().any(|(_, own)| own.is_binary())
}

fn disconnect(peer: Peer, why: Disconnect, effects: &mut Effects<'_>) {
    effects.close(peer, why.close_code(), why.text());
}

/// What a byte of an answer takes of the share that long answers have of a turn, which is a quarter of a
/// megabyte of them then: a connection that reads is not to be too slow for what it asked for.
const BYTE_SHARE: u64 = 8;
/// A question for a long answer costs this much, whatever comes of it, and then each that it tells of.
const LISTING_WORK: u64 = 5_000;
const MEMBER_WORK: u64 = 600;
const PUBLICATION_WORK: u64 = 150;
/// Publications that were held back and are given out in a turn: about a millisecond.
const DELIVERED_AT_ONCE: usize = 500;
/// Members that are named to one who asks.
const LISTED_MAX: usize = 10_000;
/// Publications and streams that are copied in a turn: about a millisecond.
const COPIED_AT_ONCE: usize = 10_000;
/// Entries for which the map of channels keeps room.
const CHANNELS_KEPT: usize = 64;
