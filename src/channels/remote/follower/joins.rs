//! Ports that join and leave, and what they are answered.

use std::sync::Arc;

use super::answer::joined_at;
use super::asked::{ANSWER_MS, Asked, ChannelRef};
use super::followed::{Join, Order, Reading, Subscription};
use super::{Follower, FollowerOutput};
use crate::channels::remote::{BrokerCommand, JoinRead, Port, PortEvent, Retention, Span};
use crate::channels::{EngineError, Read, RecoveryMode};
use crate::timer::Millis;

impl Follower {
    pub(super) fn join(
        &mut self,
        (port, number): (Port, u64),
        name: &Arc<str>,
        (retention, reads): (Option<Retention>, Option<JoinRead>),
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let Some(index) = self.get_or_insert(name) else {
            let refused = Err(EngineError::TooManyChannels);
            return self.answer(port, PortEvent::Joined(number, refused), output);
        };
        let retention = retention.map(|own| self.shared_retention(own));
        let channel = &mut self.channels[index as usize];
        if retention.is_some() {
            channel.retention = retention;
        }
        let channel_ref = ChannelRef { index, generation: channel.generation };
        let reads = reads.filter(|_| channel.retention.is_some());
        let id = self.under_way.add(Asked::Join(channel_ref), now);
        let deadline = now.plus(ANSWER_MS);
        self.proceed(index, Join { id, port, number, deadline, reads }, now, output);
        self.mark_dirty(index);
        self.check(index);
    }

    /// Answers a join, or has it wait for what it needs next.
    pub(super) fn proceed(
        &mut self,
        index: u32,
        join: Join,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        if channel.subscription != Subscription::Active {
            return channel.work().waiting.push(join);
        }
        let is_kept = channel.retention.is_some();
        match (channel.order, &join.reads) {
            (_, None) if !is_kept => self.joined(index, &join, Ok(None), output),
            (Order::Unknown, Some(JoinRead { recover: Some(_), .. })) => {
                self.read_for(index, join, now, output);
            }
            // Also one that does not ask for its position: what is published behind its answer is known as such
            // by the position alone.
            (Order::Unknown, _) | (Order::Unchecked, Some(_)) => {
                channel.work().waiting.push(join);
                self.ask_position(index);
            }
            (Order::Unchecked, None) => {
                self.joined(index, &join, Ok(None), output);
                self.ask_position(index);
            }
            (Order::Steady | Order::Filling, None) => self.joined(index, &join, Ok(None), output),
            (Order::Steady | Order::Filling, Some(reads)) => {
                let read = channel.seen().and_then(|seen| joined_at(seen, reads));
                match read {
                    Some(read) => self.joined(index, &join, Ok(Some(read)), output),
                    None => self.read_for(index, join, now, output),
                }
            }
        }
    }

    /// Reads what a member lacks that comes back, with others who lack the same.
    pub(super) fn read_for(
        &mut self,
        index: u32,
        join: Join,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let span = match &join.reads {
            Some(JoinRead { mode: RecoveryMode::Cache, .. }) => Span::Latest,
            Some(JoinRead { recover: Some((offset, _)), .. }) => Span::After(*offset),
            Some(JoinRead { recover: None, .. }) | None => Span::Nothing,
        };
        let channel = &mut self.channels[index as usize];
        let seen = channel.seen();
        let work = channel.work();
        let mut same = work.reads.iter_mut().filter(|own| own.span == span && own.attempts == 0);
        if let Some(reading) = same.next() {
            return reading.joins.push(join);
        }
        if let (true, Some(seen)) = (work.reads.is_empty(), seen) {
            work.recent.restart(seen.offset);
        }
        let joins = vec![join];
        let reading = Reading { number: 0, span, asked: None, attempts: 0, joins, batch: None };
        work.reads.push(reading);
        let at = work.reads.len() - 1;
        self.send_read(index, at, now, output);
    }

    pub(super) fn send_read(
        &mut self,
        index: u32,
        at: usize,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        let Some(retention) = channel.retention.as_deref().copied() else { return };
        let channel_ref = ChannelRef { index, generation: channel.generation };
        let number = self.under_way.add(Asked::Reading(channel_ref), now);
        let seen = channel.seen();
        let reading = &mut channel.work().reads[at];
        (reading.number, reading.asked, reading.batch) = (number, seen, None);
        let (name, span) = (Arc::clone(&channel.name), channel.work().reads[at].span);
        output.commands.push(BrokerCommand::Read { number, channel: name, retention, span });
    }

    /// The port hears the channel from now on, or the join is refused.
    pub(super) fn joined(
        &mut self,
        index: u32,
        join: &Join,
        result: Result<Option<Read>, EngineError>,
        output: &mut FollowerOutput,
    ) {
        if result.is_ok() {
            self.channels[index as usize].add_port(join.port);
        }
        self.under_way.take(join.id);
        self.answer(join.port, PortEvent::Joined(join.number, result), output);
    }

    pub(super) fn leave(&mut self, port: Port, name: &Arc<str>, output: &mut FollowerOutput) {
        if let Some(index) = self.by_name.get(name).copied() {
            self.leave_channel(port, index, output);
        }
    }

    pub(super) fn leave_channel(&mut self, port: Port, index: u32, output: &mut FollowerOutput) {
        self.channels[index as usize].remove_port(port);
        self.refuse_joins(index, |join| join.port == port, output);
        self.check(index);
    }

    /// Refuses joins that wait, and forgets the channel if it was for them alone.
    pub(super) fn refuse_joins(
        &mut self,
        index: u32,
        is_refused: impl Fn(&Join) -> bool,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        let refused = channel.work.as_mut().map(|own| own.take_joins(is_refused));
        for join in refused.into_iter().flatten() {
            self.joined(index, &join, Err(EngineError::Unavailable), output);
        }
        self.drop_if_unwanted(index);
    }

    /// A channel without ports is forgotten by the next flush. If a port comes before, it begins anew.
    pub(super) fn drop_if_unwanted(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        channel.drop_idle_work();
        if channel.is_wanted() {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        (channel.work, channel.order) = (None, Order::Unknown);
        (channel.generation, channel.is_checking) = (self.generation, false);
        self.mark_dirty(index);
    }

    pub(super) fn answer(&mut self, port: Port, event: PortEvent, output: &mut FollowerOutput) {
        let pending = self.pending.get_mut(&port);
        debug_assert!(pending.as_ref().is_some_and(|own| **own > 0), "{port:?} has asked nothing");
        if let Some(pending) = pending {
            *pending -= 1;
            if *pending == 0 {
                self.pending.remove(&port);
            }
        }
        output.events.push((port, event));
    }
}
