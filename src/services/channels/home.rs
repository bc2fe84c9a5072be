//! The channels whose home is this loop: their members, the order of what is published, and who is told what.
//!
//! What the home sends to a loop arrives there in the order of sending, replies and publications alike. So a
//! reply with what a member has missed, then its subscription, then what is published later is all that it
//! must get, without a hole and without a repeat, whatever else the loops do meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use super::awaiting::{RareMembers, Waited};
use super::channel_ref::ChannelRef;
use super::occupancy::Occupancy;
use super::settings::{ChannelsLimits, ChannelsSettings};
use super::to_home::{
    ChannelAction, Gathered, HistoryQuestion, LeaveReply, ProxiedPublication, Refused, Subscribe,
    ToHome, Told,
};
use crate::centrifugo::{Disconnect, Encoder, ErrorCode, HistoryPage, Reply, Subscribed};
use crate::channels::{
    ClientInfo, Conflation, Engine, EngineError, EngineEvent, MemoryEngine, Namespace, Position,
    Presence, Publication, PublishRequest, Read, ReadRequest, Recovery, Since, StreamCopy,
    StreamItem,
};
use crate::effects::ChannelCounts;
use crate::inspect::ChannelAnswer;
use crate::mail;
use crate::services::{Effects, Order, Peer};
use crate::shrink::Shrink as _;
use crate::timer::Millis;
use crate::ws::{EncodedFrame, MessageKind};

/// All channels whose home is this loop. A channel exists as long as it has a member; what is kept of it is
/// the engine's.
#[derive(Debug)]
pub(super) struct Home {
    limits: ChannelsLimits,
    channels: HashMap<Arc<str>, HomeChannel>,
    engine: MemoryEngine,
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
}

#[derive(Debug)]
struct HomeChannel {
    channel: Arc<ChannelRef>,
    members: u32,
    /// Whether a member was let in since there is one, and that is told.
    is_occupied: bool,
    /// `None` where nothing is told of members.
    presence: Option<Box<Presence<Peer>>>,
    /// What few channels have.
    rare: Option<Box<RareMembers>>,
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
    Forget(&'q str),
}

/// Why the engine was asked.
#[derive(Debug)]
enum Context {
    Subscribe(Arc<ChannelRef>, Peer, Box<Subscribe>),
    Publish(Asker),
    History(Asker),
    Forget(mail::Reply<ChannelAnswer>),
}

/// Who is answered.
#[derive(Debug)]
enum Asker {
    /// A client, under the ID of its command.
    Client(Peer, u32),
    /// A backend.
    Backend(mail::Reply<ChannelAnswer>),
}

impl Home {
    /// No channels, and an engine whose first stream has this epoch.
    pub(super) fn new(settings: &ChannelsSettings, loop_count: u16, first_epoch: u32) -> Self {
        let limits = settings.limits.of_loop(loop_count);
        let mut occupancy = Occupancy::default();
        occupancy.set(settings.occupancy.clone());
        Self {
            limits,
            channels: HashMap::new(),
            engine: MemoryEngine::new(limits.history, first_epoch),
            conflation: Conflation::default(),
            encoder: Encoder::default(),
            events: Vec::new(),
            charged_bytes: 0,
            counts: ChannelCounts::default(),
            occupancy,
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
        Engine::<Context>::tick(&mut self.engine, effects.now());
        self.occupancy.on_tick((effects.now(), effects.wall_now()));
        while let Some(item) = self.conflation.next_due(effects.now()) {
            self.deliver(&item, effects);
        }
        self.charge(effects);
    }

    /// Takes over the stream of another process, as [`MemoryEngine::restore`].
    pub(super) fn restore(&mut self, stream: StreamCopy, now: Millis) -> bool {
        self.engine.restore(stream, now)
    }

    /// As [`MemoryEngine::freeze`].
    pub(super) fn freeze(&mut self) {
        self.engine.freeze();
    }

    /// As [`MemoryEngine::thaw`].
    pub(super) fn thaw(&mut self, are_new: bool) {
        self.engine.thaw(are_new);
    }

    /// As [`MemoryEngine::copies`], as many as a turn has time for.
    pub(super) fn copies(&self, cursor: usize, now: Millis) -> (Vec<StreamCopy>, Option<usize>) {
        self.engine.copies(cursor, COPIED_AT_ONCE, now)
    }

    /// Does what a connection does in a channel.
    pub(super) fn on_action(&mut self, message: ToHome, effects: &mut Effects<'_>) {
        let ToHome { channel, peer, action } = message;
        match action {
            ChannelAction::Subscribe(own) => self.subscribe(&channel, peer, own, effects),
            ChannelAction::Confirm => self.confirm(&channel, peer, effects),
            ChannelAction::Leave(reply) => self.leave(&channel, peer, reply, effects),
            ChannelAction::Publish(id, publication) => {
                let request = PublishRequest {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    publication: &publication,
                    idempotency_key: None,
                    skips_history: false,
                };
                let context = Context::Publish(Asker::Client(peer, id));
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
                let context = Context::Publish(Asker::Client(peer, id));
                self.engine.publish(request, context, effects.now(), &mut self.events);
            }
            ChannelAction::Presence(id) => {
                self.presence(&channel.name, Asker::Client(peer, id), effects);
            }
            ChannelAction::PresenceStats(id) => {
                self.presence_stats(&channel.name, Asker::Client(peer, id), effects);
            }
            ChannelAction::History(id, question) => {
                let HistoryQuestion { since, epoch, limit } = question;
                let request = ReadRequest::Page {
                    channel: &channel.name,
                    namespace: &channel.namespace,
                    since,
                    epoch: epoch.as_deref(),
                    limit,
                };
                let context = Context::History(Asker::Client(peer, id));
                self.engine.fetch(request, context, effects.now(), &mut self.events);
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
                let request = ReadRequest::Page { channel, namespace, since, epoch, limit };
                let context = Context::History(asker);
                self.engine.fetch(request, context, effects.now(), &mut self.events);
            }
            HomeQuestion::Forget(channel) => {
                if let Asker::Backend(reply) = asker {
                    self.engine.remove(channel, Context::Forget(reply), &mut self.events);
                }
            }
        }
        self.finish(effects);
    }

    /// Channels with members, up to this number, and how many each has.
    pub(super) fn list(&self, count_max: usize) -> Vec<(Arc<str>, u32)> {
        let all = self.channels.iter().take(count_max);
        all.map(|(name, own)| (Arc::clone(name), own.members)).collect()
    }

    /// Channels with members, and members of all.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.counts.members as usize)
    }

    fn finish(&mut self, effects: &mut Effects<'_>) {
        self.take_events(effects);
        self.charge(effects);
        let ChannelCounts { channels, members, .. } = self.counts;
        effects.count_channels(self.counts);
        self.counts = ChannelCounts { channels, members, ..ChannelCounts::default() };
    }

    fn subscribe(
        &mut self,
        channel: &Arc<ChannelRef>,
        peer: Peer,
        own: Box<Subscribe>,
        effects: &mut Effects<'_>,
    ) {
        self.counts.members += 1;
        let is_full = self.channels.len() >= self.limits.channels_max;
        let entry = self.channels.entry(Arc::clone(&channel.name));
        let is_new = matches!(entry, std::collections::hash_map::Entry::Vacant(_));
        let at_home = entry.or_insert_with(|| HomeChannel {
            channel: Arc::clone(channel),
            members: 0,
            is_occupied: false,
            presence: None,
            rare: None,
        });
        // Also one that is refused: its `Leave` follows.
        at_home.members += 1;
        self.counts.channels += u32::from(is_new);
        if !Arc::ptr_eq(&at_home.channel.namespace, &channel.namespace) {
            at_home.channel = Arc::clone(channel);
        }
        if is_full && is_new {
            return self.refuse(peer, &own, ErrorCode::LimitExceeded, effects);
        }
        if !own.is_positioned {
            return self.admit(channel, peer, *own, None, effects);
        }
        let position = own.recover.as_ref().map(|(offset, epoch)| (*offset, epoch.clone()));
        let request = ReadRequest::Recover {
            channel: &channel.name,
            namespace: &channel.namespace,
            position: position.as_ref().map(|(offset, epoch)| (*offset, &**epoch)),
            mode: channel.namespace.recovery_mode,
        };
        let context = Context::Subscribe(Arc::clone(channel), peer, own);
        self.engine.fetch(request, context, effects.now(), &mut self.events);
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
                EngineEvent::Read(Context::Subscribe(channel, peer, own), result) => match result {
                    Ok(read) => self.admit(&channel, peer, *own, Some(read), effects),
                    Err(error) => self.refuse(peer, &own, code(error), effects),
                },
                EngineEvent::Read(Context::History(asker), result) => {
                    let page = result.map(|read| {
                        let position = read.position;
                        HistoryPage { publications: read.page(), position }
                    });
                    let reply = page.as_ref().map(|page| (Reply::History(page), None));
                    self.answer(asker, reply.map_err(|error| code(*error)), effects);
                }
                EngineEvent::Removed(Context::Forget(reply), result) => {
                    reply.send(match result {
                        Ok(()) => ChannelAnswer::Done,
                        Err(error) => ChannelAnswer::Failed(code(error)),
                    });
                }
                // No other question has these answers.
                EngineEvent::Published(..) | EngineEvent::Read(..) | EngineEvent::Removed(..) => {}
            }
        }
        self.events = events;
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
        let offset = position.map(|own| own.offset);
        let frame = text_frame(self.encoder.publication(channel, offset, publication));
        if let Some(rare) = &mut at_home.rare {
            rare.keep(&frame, false, false);
        }
        effects.publish(channel, frame, Order::Sender);
    }

    /// Tells the one who asked what came of it.
    fn answer(
        &mut self,
        asker: Asker,
        result: Result<(Reply<'_>, Option<Position>), ErrorCode>,
        effects: &mut Effects<'_>,
    ) {
        match (asker, result) {
            (Asker::Client(peer, id), Ok((reply, _))) => {
                send(peer, self.encoder.reply(id, &reply), effects);
            }
            (Asker::Client(peer, id), Err(error)) => {
                send(peer, self.encoder.error(id, error), effects);
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
        peer: Peer,
        own: Subscribe,
        read: Option<Read>,
        effects: &mut Effects<'_>,
    ) {
        let is_lost = read.as_ref().is_some_and(|read| read.recovery == Recovery::Lost);
        if is_lost && own.rejects_unrecovered {
            return self.refuse(peer, &own, ErrorCode::UnrecoverablePosition, effects);
        }
        let top = read.as_ref().map(|read| read.position);
        let subscribed = subscribed(&own, read);
        if subscribed.was_recovering {
            match subscribed.is_recovered {
                true => self.counts.recoveries += 1,
                false => self.counts.positions_lost += 1,
            }
        }
        if channel.namespace.conflate_ms > 0 {
            self.flush(channel, effects);
        }
        if subscribed.is_positioned {
            Engine::<Context>::set_interest(&mut self.engine, &channel.name, true);
        }
        self.tell_member(channel, peer, (&own, subscribed, top), effects);
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
            let frame = text_frame(self.encoder.join(&channel.name, &info));
            at_home.tell_of_member(channel, frame, effects);
        }
    }

    /// Tells a member that it is one, and has it hear of the channel from then on.
    fn tell_member(
        &mut self,
        channel: &Arc<ChannelRef>,
        peer: Peer,
        (own, mut subscribed, top): (&Subscribe, Subscribed, Option<Position>),
        effects: &mut Effects<'_>,
    ) {
        match own.told {
            Told::Reply(id) => {
                send(peer, self.encoder.reply(id, &Reply::Subscribed(&subscribed)), effects);
            }
            Told::Push => {
                // Such a push has no list of publications, so they come behind it, one by one.
                let missed = std::mem::take(&mut subscribed.publications);
                send(peer, self.encoder.server_subscribed(&channel.name, &subscribed), effects);
                for (offset, publication) in &missed {
                    let offset = Some(*offset);
                    let json = self.encoder.publication(&channel.name, offset, publication);
                    send(peer, json, effects);
                }
            }
            Told::Connect => {
                if let Some(at_home) = self.channels.get_mut(&channel.name) {
                    let rare = at_home.rare.get_or_insert_default();
                    rare.await_confirmation(peer, own.hears_joins);
                }
                let outcome = Ok((subscribed, top));
                let gathered = Gathered { peer, serial: own.serial, outcome };
                return effects.answer(peer.loop_index, Box::new(gathered));
            }
        }
        hear(channel, peer, own.hears_joins, effects);
    }

    /// The reply is out that tells a member of this channel.
    fn confirm(&mut self, channel: &ChannelRef, peer: Peer, effects: &mut Effects<'_>) {
        let Some(at_home) = self.channels.get_mut(&channel.name) else { return };
        let waited = at_home.rare.as_mut().and_then(|rare| rare.confirm(peer));
        at_home.forget_rare();
        let Some(Waited { frames, is_cut, hears_joins }) = waited else { return };
        if is_cut {
            let why = Disconnect::InsufficientState;
            return effects.close(peer, why.close_code(), why.text());
        }
        for frame in frames {
            effects.send(peer, frame);
        }
        hear(channel, peer, hears_joins, effects);
    }

    /// Tells a connection, and its loop, that it is no member.
    fn refuse(&mut self, peer: Peer, own: &Subscribe, error: ErrorCode, effects: &mut Effects<'_>) {
        self.counts.refusals += u32::from(error == ErrorCode::LimitExceeded);
        self.counts.positions_lost += u32::from(error == ErrorCode::UnrecoverablePosition);
        let serial = own.serial;
        match own.told {
            Told::Reply(id) => send(peer, self.encoder.error(id, error), effects),
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
        peer: Peer,
        reply: LeaveReply,
        effects: &mut Effects<'_>,
    ) {
        let json = match reply {
            LeaveReply::Command(id) => Some(self.encoder.reply(id, &Reply::Unsubscribed)),
            LeaveReply::Push(why) => Some(self.encoder.unsubscribed(&channel.name, why)),
            LeaveReply::Nothing => None,
        };
        if let Some(json) = json {
            effects.unsubscribe(peer, &channel.name);
            if let Some(joins) = &channel.joins {
                effects.unsubscribe(peer, joins);
            }
            send(peer, json, effects);
        }
        let Some(at_home) = self.channels.get_mut(&channel.name) else { return };
        at_home.members = at_home.members.saturating_sub(1);
        self.counts.members = self.counts.members.saturating_sub(1);
        let info = at_home.presence.as_mut().and_then(|own| own.remove(peer));
        let unlisted = at_home.rare.as_mut().and_then(|own| own.remove(peer));
        at_home.forget_rare();
        let info = info.or(unlisted);
        if at_home.members == 0 {
            if at_home.is_occupied {
                let times = (effects.now(), effects.wall_now());
                self.occupancy.left(&at_home.channel.name, times);
            }
            self.channels.remove(&channel.name);
            self.counts.channels = self.counts.channels.saturating_sub(1);
            self.channels.shrink_if_sparse(CHANNELS_KEPT);
            Engine::<Context>::set_interest(&mut self.engine, &channel.name, false);
        } else if let Some(info) = info.filter(|_| channel.namespace.join_leave) {
            let frame = text_frame(self.encoder.leave(&channel.name, &info));
            at_home.tell_of_member(channel, frame, effects);
        }
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
        let held = Engine::<Context>::held_bytes(&self.engine) + self.conflation.held_bytes();
        match held.checked_sub(self.charged_bytes) {
            Some(0) => {}
            Some(more) => effects.charge_for_all(more),
            None => effects.discharge(self.charged_bytes - held),
        }
        self.charged_bytes = held;
    }
}

impl HomeChannel {
    /// Tells who wants to hear it that a member has come or left.
    fn tell_of_member(
        &mut self,
        channel: &ChannelRef,
        frame: EncodedFrame,
        effects: &mut Effects<'_>,
    ) {
        if let Some(rare) = &mut self.rare {
            rare.keep(&frame, true, channel.joins.is_some());
        }
        let topic = channel.joins.as_ref().unwrap_or(&channel.name);
        effects.publish(topic, frame, Order::Sender);
    }

    fn forget_rare(&mut self) {
        self.rare.take_if(|own| own.is_empty());
    }
}

/// Has a member hear of a channel.
fn hear(channel: &ChannelRef, peer: Peer, hears_joins: bool, effects: &mut Effects<'_>) {
    effects.subscribe(peer, &channel.name);
    if let Some(joins) = channel.joins.as_ref().filter(|_| hears_joins) {
        effects.subscribe(peer, joins);
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

fn text_frame(json: &[u8]) -> EncodedFrame {
    EncodedFrame::new(MessageKind::Text, json)
}

fn send(peer: Peer, json: &[u8], effects: &mut Effects<'_>) {
    effects.send(peer, text_frame(json));
}

/// Members that are named to one who asks.
const LISTED_MAX: usize = 10_000;
/// Publications and streams that are copied in a turn: about a millisecond.
const COPIED_AT_ONCE: usize = 10_000;
/// Entries for which the map of channels keeps room.
const CHANNELS_KEPT: usize = 64;
