//! The channels whose home is this loop: their members, the order of what is published, and who is told what.
//!
//! What the home sends to a loop arrives there in the order of sending, replies and publications alike. So a
//! reply with what a member has missed, then its subscription, then what is published later is all that it
//! must get, without a hole and without a repeat, whatever else the loops do meanwhile.

mod joining;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::channel_ref::ChannelRef;
use super::home_channel::{HomeChannel, Topic};
use super::home_engine::HomeEngine;
use super::listings::Listings;
use super::occupancy::Occupancy;
use super::settings::{ChannelsLimits, ChannelsSettings};
use super::to_home::{
    ChannelAction, Dismissal, HistoryQuestion, LeaveReply, ProxiedPublication, Subscribe, ToHome,
    Told,
};
use crate::centrifugo::{
    Disconnect, Encoded, Encoder, ErrorCode, Format, HistoryPage, Reply, Unsubscribed,
};
use crate::channels::{
    Change, ClientInfo, Conflation, EngineError, EngineEvent, NamedEpoch, Namespace, Page,
    PageRequest, Position, Presence, Publication, PublishRequest, Read, Since, StreamCopy,
    StreamItem,
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
    /// Bytes that were charged to the pool.
    charged_bytes: usize,
    /// What has happened since it was counted.
    counts: ChannelCounts,
    occupancy: Occupancy,
    /// What clients ask for that is long.
    listings: Listings<ToHome>,
    /// By the numbers of their subscriptions those that were told the outcome before it was their turn.
    answered: HashMap<Peer, HashSet<u16>>,
}

/// What a backend asks of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum HomeQuestion<'q> {
    /// To publish, under a key, and perhaps without keeping it.
    Publish(&'q Arc<str>, &'q Publication, Option<&'q str>, bool),
    Presence(&'q str),
    PresenceStats(&'q str),
    /// From where on, of which epoch, and how many at most.
    History(&'q Arc<str>, Since, NamedEpoch, usize),
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
            listings: Listings::new(limits.long_answers_work),
            answered: HashMap::new(),
        }
    }

    /// The settings from now on. What is there stays.
    pub(super) fn set(&mut self, settings: &ChannelsSettings, loop_count: u16) {
        self.limits = settings.limits.of_loop(loop_count);
        self.engine.set_limits(self.limits.history);
        self.listings.set_share(self.limits.long_answers_work);
        self.occupancy.set(settings.occupancy.clone());
    }

    /// Some time has passed.
    pub(super) fn on_tick(&mut self, effects: &mut Effects<'_>) {
        self.listings.begin_turn(effects.now());
        while let Some(message) = self.listings.next() {
            self.act_in_turn(message, effects);
        }
        if !self.listings.is_empty() {
            effects.tick_again();
        }
        self.engine.tick(effects.now());
        let (work, has_more) = self.occupancy.on_tick((effects.now(), effects.wall_now()));
        effects.charge_work(work);
        if has_more {
            effects.tick_again();
        }
        for number in 0.. {
            let Some(item) = self.conflation.next_due(effects.now()) else { break };
            self.deliver(&item, effects);
            if number == DELIVERED_AT_ONCE {
                effects.tick_again();
                break;
            }
        }
        self.encoder.trim();
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
        let is_shared = self.engine.answers_later();
        let listing = message.action.listing(is_shared);
        let Some(id) = listing else { return self.act(message, effects) };
        if self.listings.is_free(effects.now()) {
            return self.act(message, effects);
        }
        let (peer, format) = (message.peer, message.format);
        if self.put_off(message, effects).is_err() {
            self.counts.refusals += 1;
            send(peer, self.encoder.error(format, id, ErrorCode::TooManyRequests), effects);
        }
    }

    /// Has what leads to a long answer wait for its turn. Gives it back if too many do.
    fn put_off(&mut self, message: ToHome, effects: &mut Effects<'_>) -> Result<(), ToHome> {
        // So that no more is read in this turn than can be answered in the next.
        effects.charge_work(LISTING_WORK);
        effects.tick_again();
        let bytes = size_of::<ToHome>() + message.held_bytes();
        self.listings.push(message.peer, message, bytes)?;
        self.charge(effects);
        Ok(())
    }

    /// The engine is asked for something long. How much it is shows when a shared one has answered.
    fn ask_for_long(&mut self) {
        if self.engine.answers_later() {
            self.listings.spend(ASK_WORK);
        }
    }

    /// Does what has waited for its turn.
    fn act_in_turn(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        match message {
            ToHome { channel, peer, format, action: ChannelAction::Subscribe(own) } => {
                self.go_on_joining(&channel, (peer, format), *own, effects);
                self.finish(effects);
            }
            other => self.act(other, effects),
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
                self.ask_for_long();
                let HistoryQuestion { since, epoch, limit } = question;
                let request = PageRequest {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    since,
                    epoch,
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
        self.encoder.trim();
        self.engine.send_questions();
        self.charge(effects);
        let ChannelCounts { channels, members, .. } = self.counts;
        effects.count_channels(self.counts);
        self.counts = ChannelCounts { channels, members, ..ChannelCounts::default() };
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

    fn leave(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        reply: LeaveReply,
        effects: &mut Effects<'_>,
    ) {
        let is_pushed = matches!(reply, LeaveReply::Push(_));
        let expected = is_pushed.then(|| self.expected(channel, peer)).flatten();
        let encoder = &mut self.encoder;
        let told = match (reply, expected) {
            (LeaveReply::Command(id), _) => Some(encoder.reply(format, id, &Reply::Unsubscribed)),
            (LeaveReply::Push(why), None) => Some(encoder.unsubscribed(format, &channel.name, why)),
            (LeaveReply::Push(why), Some((serial, Told::Reply(id)))) => {
                // It is not subscribed yet, so that is the outcome.
                self.answered.entry(peer).or_default().insert(serial);
                Some(encoder.error(format, id, outcome_of(why)))
            }
            // The client knows nothing of it.
            (LeaveReply::Push(_), Some((_, Told::Push | Told::Connect)))
            | (LeaveReply::Nothing, _) => None,
            (LeaveReply::Gone, _) => {
                self.forget_asker(peer);
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
                effects.charge_work(self.occupancy.left(&at_home.channel.name, times));
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

    /// A connection is gone that is a member of no channel here, but has asked for something.
    pub(super) fn on_asker_gone(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.forget_asker(peer);
        self.charge(effects);
    }

    /// What a connection has asked for is answered no more.
    fn forget_asker(&mut self, peer: Peer) {
        self.listings.forget(peer);
        if !self.answered.is_empty() {
            self.answered.remove(&peer);
            self.answered.shrink_if_sparse(0);
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
        self.ask_for_long();
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

    /// A member is given what it has missed.
    fn spend_on(&mut self, missed: &Page, effects: &mut Effects<'_>) {
        self.spend(missed.len() as u64 * PUBLICATION_WORK, effects);
        let bytes: usize = missed.iter().map(|(_, own)| own.data.len()).sum();
        self.listings.spend(bytes as u64 * BYTE_SHARE);
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

    /// Charges the pool with what is held more, and gives back what is held less.
    fn charge(&mut self, effects: &mut Effects<'_>) {
        let kept = self.engine.held_bytes() + self.conflation.held_bytes();
        let held = kept + self.listings.held_bytes();
        match held.checked_sub(self.charged_bytes) {
            Some(0) => {}
            Some(more) => effects.charge_for_all(more),
            None => effects.discharge(self.charged_bytes - held),
        }
        self.charged_bytes = held;
    }
}

/// What a command to subscribe comes to if the subscription has ended for this reason before it had begun.
fn outcome_of(why: Unsubscribed) -> ErrorCode {
    match why {
        Unsubscribed::Server => ErrorCode::PermissionDenied,
        Unsubscribed::InsufficientState => ErrorCode::Internal,
        Unsubscribed::Expired => ErrorCode::TokenExpired,
    }
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
/// What an engine elsewhere is taken to answer with, of the share that long answers have of a turn: 20 are asked for in
/// a turn.
const ASK_WORK: u64 = 100_000;
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
