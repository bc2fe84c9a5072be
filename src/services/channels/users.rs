//! What backends do to the connections of a user, in parts of a turn.

use std::sync::Arc;

use super::clients::Phase;
use super::operations::{Action, Operation, Whose};
use super::service::{Channels, LOOK_WORK, reply_to};
use super::subscribe::Joining;
use super::to_home::{LeaveReply, Told};
use super::tokens::ttl;
use crate::centrifugo::{Disconnect, ErrorCode, Unsubscribed};
use crate::channels::ChannelName;
use crate::inspect::{ChannelAnswer, Lasting};
use crate::mail::Reply;
use crate::services::{Effects, Peer};

impl Channels {
    /// Does something to the connections of a user, and answers when it is done to all. It holds `held_bytes`
    /// until then.
    pub(super) fn operate(
        &mut self,
        (whose, action, held_bytes): (Whose, Action, usize),
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) {
        if self.operations.is_full() {
            return reply.send(ChannelAnswer::Failed(ErrorCode::TooManyRequests));
        }
        let slots = 0..self.clients.slots_end();
        let waits = self.operations.has(&whose.user);
        let mut own = Operation::new((whose, action), slots, reply);
        if !waits {
            self.go_on_with(&mut own, effects);
            if own.slots.is_empty() {
                return own.finish(effects);
            }
        }
        own.charge(held_bytes, effects);
        self.operations.push(own);
        effects.tick_again();
    }

    /// Goes on with operations, as far as a turn has time for them.
    pub(super) fn run_operations(&mut self, effects: &mut Effects<'_>) {
        let mut work = 0;
        while work < TURN_WORK
            && let Some((mut own, mut behind)) = self.operations.take_first()
        {
            work += self.go_on_with(&mut own, effects);
            if own.slots.is_empty() {
                own.finish(effects);
            } else {
                behind.push_front(own);
            }
            self.operations.put_back(behind);
        }
        if !self.operations.is_empty() {
            effects.tick_again();
        }
    }

    /// Does a part of an operation. Gives about what it costs.
    fn go_on_with(&mut self, own: &mut Operation, effects: &mut Effects<'_>) -> u64 {
        let (mut looks, mut leads_to) = (0, 0);
        let each_exception = own.whose.except.len() as u64 * EXCEPTION_WORK;
        while looks + leads_to < PART_WORK
            && let Some(slot) = own.slots.next()
        {
            looks += LOOK_WORK;
            let Some(client) = self.clients.at(slot) else { continue };
            if *client.user == *own.whose.user {
                looks += each_exception;
            }
            if !own.whose.is(client) {
                continue;
            }
            let peer = Peer { loop_index: self.site.index, key: client.key };
            leads_to += own.action.work(client);
            let outcome = self.act_on(peer, &own.action, effects);
            own.outcome = own.outcome.and(outcome);
        }
        // What it leads to is charged where that is done.
        effects.charge_work(looks);
        looks + leads_to
    }

    fn act_on(
        &mut self,
        peer: Peer,
        action: &Action,
        effects: &mut Effects<'_>,
    ) -> Result<(), ErrorCode> {
        match action {
            Action::Subscribe { channel, recover, options } => {
                let joining =
                    Joining { recover: *recover, ..Joining::by_server(options, Told::Push) };
                return self.subscribe_by_backend(peer, channel, joining, effects);
            }
            Action::Refresh { lasts, info } => {
                self.refresh_by_backend(peer, *lasts, info.as_ref(), effects);
            }
            Action::Unsubscribe(channel) => {
                self.unsubscribe_by_backend(peer, channel.as_deref(), effects);
            }
            Action::Disconnect(code, reason) => {
                self.close(peer, *code, reason.to_string(), effects);
            }
        }
        Ok(())
    }

    /// Subscribes a connection that is not in the channel yet.
    fn subscribe_by_backend(
        &mut self,
        peer: Peer,
        channel: &str,
        joining: Joining<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), ErrorCode> {
        let namespace = self.namespace_of_backend(channel)?;
        let Ok(name) = ChannelName::parse(channel) else { return Err(ErrorCode::BadRequest) };
        let Some(own) = self.clients.get_mut(peer.key) else { return Ok(()) };
        if own.subscription(channel).is_some() {
            return Ok(());
        }
        let told = match own.phase {
            Phase::Connected => Told::Push,
            // Its backend has not let it in, so that it is asked for as one that has not connected.
            Phase::Connecting if own.is_undecided() => return Ok(()),
            // It is not told of anything before the reply to its first command.
            Phase::Connecting => Told::Connect,
            Phase::New | Phase::Refused | Phase::Closing => return Ok(()),
        };
        if own.subscriptions.len() >= self.settings.limits.connection_channels_max {
            return Err(ErrorCode::LimitExceeded);
        }
        if let (Told::Connect, Some(connecting)) = (told, &mut own.rare().connecting) {
            connecting.missing += 1;
        }
        let joining = Joining { told, ..joining };
        self.become_member(peer, joining, (&name, &namespace), effects);
        Ok(())
    }

    /// Renews or ends what a connection is allowed.
    fn refresh_by_backend(
        &mut self,
        peer: Peer,
        lasts: Lasting,
        info: Option<&Arc<[u8]>>,
        effects: &mut Effects<'_>,
    ) {
        let now = effects.wall_now();
        let expires_at = match lasts {
            Lasting::Until(date) if date > now => Some(date),
            Lasting::Over | Lasting::Until(_) => {
                return self.disconnect(peer, Disconnect::Expired, effects);
            }
            Lasting::Unlimited => None,
        };
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        if client.phase != Phase::Connected {
            return;
        }
        let rare = client.rare();
        rare.expires_at = expires_at;
        if let Some(info) = info {
            rare.info = Some(Arc::clone(info));
        }
        self.charge_client(peer, effects);
        let format = self.clients.format(peer.key);
        reply_to(peer, self.encoder.refreshed(format, ttl(expires_at, now)), effects);
        self.file_anew(peer, effects);
    }

    fn unsubscribe_by_backend(
        &mut self,
        peer: Peer,
        channel: Option<&str>,
        effects: &mut Effects<'_>,
    ) {
        let Some(own) = self.clients.get(peer.key) else { return };
        let names = own.subscriptions.iter().map(|own| Arc::clone(&own.channel.name));
        let names: Vec<Arc<str>> =
            names.filter(|name| channel.is_none_or(|channel| **name == *channel)).collect();
        let told = match own.phase {
            // It has not been told that it is a member.
            Phase::Connecting => LeaveReply::Nothing,
            Phase::New | Phase::Connected | Phase::Refused | Phase::Closing => {
                LeaveReply::Push(Unsubscribed::Server)
            }
        };
        for name in names {
            self.leave(peer, &name, told, effects);
        }
    }
}

/// A part of one operation, and the parts of a turn: a quarter of it, as a turn is by default.
const PART_WORK: u64 = 250_000;
const TURN_WORK: u64 = 1_000_000;
/// A connection of the user is compared with one that is not meant.
const EXCEPTION_WORK: u64 = 5;
