//! How one becomes a member of a channel, at the home of that.
//!
//! The home may have to ask the engine first, or to wait until it is the turn of one that comes back. Until then
//! [`RareMembers`](crate::services::channels::awaiting::RareMembers) holds it as expected, so that it is known in the
//! end whether it has left, or had to.

use std::sync::Arc;

use super::{Context, Home, code, disconnect, is_unspeakable, send};
use crate::centrifugo::{Disconnect, ErrorCode, Format, Reply, Subscribed};
use crate::channels::{Change, EngineError, JoinRequest, Position, Read, Recovery};
use crate::services::channels::awaiting::Waited;
use crate::services::channels::channel_ref::ChannelRef;
use crate::services::channels::home_channel::HomeChannel;
use crate::services::channels::to_home::{
    ChannelAction, Dismissal, Gathered, Refused, Subscribe, ToHome, Told,
};
use crate::services::{Effects, Peer};
use crate::shrink::Shrink as _;

impl Home {
    pub(super) fn subscribe(
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
        // What it has missed may be long. Who connects does not wait: it does so once, is not read before all of its
        // channels have answered, and until then what is published in those that have is kept for it.
        let waits = own.recover.is_some()
            && own.told != Told::Connect
            && !self.listings.is_free(effects.now());
        if self.engine.answers_later() || waits {
            at_home.rare.get_or_insert_default().expect(peer, format, (own.serial, own.told));
        }
        if waits {
            return self.put_off_joining(channel, (peer, format), own, effects);
        }
        if own.recover.is_some() {
            self.spend(RECOVERY_WORK, effects);
        }
        self.join(channel, (peer, format), own, effects);
    }

    /// Asks the engine where the stream is for one who becomes a member, and what it has missed.
    fn join(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Box<Subscribe>,
        effects: &Effects<'_>,
    ) {
        if own.recover.is_some() {
            self.ask_for_long();
        }
        let request = JoinRequest {
            channel: &channel.name,
            namespace: &channel.namespace,
            is_positioned: own.is_positioned,
            position: own.recover,
        };
        let context = Context::Subscribe(Arc::clone(channel), peer, format, own);
        self.engine.join(request, context, effects.now(), &mut self.events);
    }

    /// Has one wait for its turn.
    fn put_off_joining(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Box<Subscribe>,
        effects: &mut Effects<'_>,
    ) {
        let serial = own.serial;
        let action = ChannelAction::Subscribe(own);
        let message = ToHome { channel: Arc::clone(channel), peer, format, action };
        let Err(message) = self.put_off(message, effects) else { return };
        self.take_expected(channel, peer, serial);
        if let ChannelAction::Subscribe(own) = message.action {
            self.refuse((peer, format), &own, ErrorCode::TooManyRequests, effects);
        }
    }

    /// It is the turn of one that becomes a member.
    pub(super) fn go_on_joining(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        own: Subscribe,
        effects: &mut Effects<'_>,
    ) {
        self.spend(RECOVERY_WORK, effects);
        let outcome = self.take_expected(channel, peer, own.serial);
        let member = (peer, format);
        let Some(own) = self.unless_gone(member, own, outcome, effects) else { return };
        if self.engine.answers_later()
            && let Some(at_home) = self.channels.get_mut(&channel.name)
        {
            at_home.rare.get_or_insert_default().expect(peer, format, (own.serial, own.told));
        }
        self.join(channel, member, Box::new(own), effects);
    }

    /// One that is expected is so no longer: whether it can be let in; `None` if it has left meanwhile.
    fn take_expected(
        &mut self,
        channel: &ChannelRef,
        peer: Peer,
        serial: u16,
    ) -> Option<Result<(), Dismissal>> {
        let at_home = self.channels.get_mut(&channel.name)?;
        let outcome = at_home.rare.as_mut()?.take_expected(peer, serial);
        at_home.forget_rare();
        outcome
    }

    /// The number of the subscription of one that is expected, and how its client will be told.
    pub(super) fn expected(&self, channel: &ChannelRef, peer: Peer) -> Option<(u16, Told)> {
        self.channels.get(&channel.name)?.rare.as_ref()?.expected(peer)
    }

    /// Gives back one that was expected if it can be let in. Otherwise its client learns why not.
    fn unless_gone(
        &mut self,
        (peer, format): (Peer, Format),
        own: Subscribe,
        outcome: Option<Result<(), Dismissal>>,
        effects: &mut Effects<'_>,
    ) -> Option<Subscribe> {
        match outcome {
            Some(Ok(())) => return Some(own),
            Some(Err(why)) => self.refuse_dismissed((peer, format), &own, why, effects),
            None => self.answer_late((peer, format), &own, effects),
        }
        None
    }

    /// The engine has said where the stream is for one who becomes a member.
    pub(super) fn on_joined(
        &mut self,
        channel: &Arc<ChannelRef>,
        (peer, format): (Peer, Format),
        mut own: Subscribe,
        result: Result<Option<Read>, EngineError>,
        effects: &mut Effects<'_>,
    ) {
        if self.engine.answers_later() {
            let outcome = self.take_expected(channel, peer, own.serial);
            let at_home = self.channels.get_mut(&channel.name).filter(|_| outcome.is_some());
            if let Some(at_home) = at_home {
                at_home.is_heard |= result.is_ok();
            }
            let expected = self.unless_gone((peer, format), own, outcome, effects);
            let Some(expected) = expected else { return };
            own = expected;
        }
        match result {
            Ok(read) => self.admit(channel, (peer, format), own, read, effects),
            Err(error) => self.refuse((peer, format), &own, code(error), effects),
        }
    }

    /// All members were taken out of the channel while this one was expected.
    fn refuse_dismissed(
        &mut self,
        (peer, format): (Peer, Format),
        own: &Subscribe,
        why: Dismissal,
        effects: &mut Effects<'_>,
    ) {
        match (why, own.told) {
            // The client tries again by itself, or knows nothing of it.
            (Dismissal::PositionLost | Dismissal::Closed, Told::Reply(_))
            | (Dismissal::PositionLost, Told::Connect)
            | (Dismissal::Closed, Told::Push) => {
                self.refuse((peer, format), own, ErrorCode::Internal, effects);
            }
            (Dismissal::Closed, Told::Connect) => {
                // Taken out first, so that it is connected without the channel.
                let serial = own.serial;
                effects.answer(peer.loop_index, Box::new(Refused { peer, serial }));
                self.refuse((peer, format), own, ErrorCode::Internal, effects);
            }
            (Dismissal::PositionLost, Told::Push) | (Dismissal::Inappropriate, _) => {
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
            Told::Reply(_) if self.was_answered(peer, own.serial) => {}
            Told::Reply(id) => send(peer, self.encoder.error(format, id, error), effects),
            Told::Push => {}
            Told::Connect => {
                let gathered = Gathered { peer, serial: own.serial, outcome: Err(error) };
                effects.answer(peer.loop_index, Box::new(gathered));
            }
        }
    }

    /// Whether the command by which this one was to become a member was answered as it left.
    fn was_answered(&mut self, peer: Peer, serial: u16) -> bool {
        let Some(own) = self.answered.get_mut(&peer) else { return false };
        let was_there = own.remove(&serial);
        if own.is_empty() {
            self.answered.remove(&peer);
            self.answered.shrink_if_sparse(0);
        }
        was_there
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
            self.spend_on(&subscribed.publications, effects);
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
            effects.charge_work(self.occupancy.occupied(&channel.name, effects.wall_now()));
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
    pub(super) fn confirm(
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
        let is_limit = matches!(error, ErrorCode::LimitExceeded | ErrorCode::TooManyRequests);
        self.counts.refusals += u32::from(is_limit);
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
        let requested = own.recover.map_or(0, |(offset, _)| offset);
        position.offset = requested.min(position.offset);
        (subscribed.is_recovered, subscribed.publications) = (true, page);
    }
    subscribed.position = Some(position);
    subscribed
}

/// One comes back, beside what it has missed.
const RECOVERY_WORK: u64 = 1_000;
