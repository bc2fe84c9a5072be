//! Follows the streams of the channels that have members on this node, and asks the broker what its ports ask.
//!
//! A channel is subscribed first and read then: what is published in between is heard, so no moment is without
//! cover. A port hears a channel from the answer to its first join on. The answer says a position, and
//! everything up to it is in the answer or was given out before; everything behind it is given out after.
//! Copies that the broker gives out may be lost: each says what stood before it, and where that is not what was
//! given out last, the rest is held and the gap is read. What cannot be read is [`PortEvent::Lost`].
//!
//! | file | what it is |
//! |---|---|
//! | `followed` | what is known of one channel |
//! | `asked` | what was asked of the broker |
//! | `answer` | what a batch is to those who asked for it |
//! | `joins` | ports that join and leave |
//! | `events` | what the broker says |
//! | `queued` | publications that wait until the broker is reached |
//! | `streams` | gaps are read, and put in order |
//! | `table` | deadlines and checks, and the table of channels |

mod answer;
mod asked;
mod events;
mod followed;
mod joins;
mod queued;
mod streams;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use self::asked::{Asked, ChannelRef, UnderWay};
use self::followed::{Followed, HeldLive, Subscription};
use self::queued::Queued;
use super::broker::{BrokerCommand, BrokerEvent, POSITIONS_MAX, Retention, Span};
use super::on_its_way::Payload;
use super::payload::{write_member, write_publication};
use super::question::{EngineAction, EngineQuestion, Port, PortEvent};
use crate::channels::EngineError;
use crate::key::slot_number;
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// How much a follower takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerLimits {
    /// Questions of one port under way.
    pub pending_max: usize,
    /// Channels.
    pub channels_max: usize,
    /// Bytes of publications that wait until the broker is reached; 0 for none.
    pub queue_bytes_max: usize,
    /// How long one of them waits.
    pub queue_ms: u64,
}

/// What a follower wants done, each in this order.
#[derive(Debug, Default)]
pub struct FollowerOutput {
    /// By the broker.
    pub commands: Vec<BrokerCommand>,
    /// By the ports.
    pub events: Vec<(Port, PortEvent)>,
}

/// What a follower has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowerCounts {
    /// Gaps that were read.
    pub gaps: u64,
    /// Times that a channel's stream was lost.
    pub lost: u64,
    /// Publications that could not be read.
    pub invalid: u64,
    /// Questions without an answer in time.
    pub late: u64,
    /// Publications that have waited until the broker was reached.
    pub queued: u64,
    /// Questions that were refused at once, as the broker was away or too many were under way.
    pub refused: u64,
}

/// One node's end of the channels that several gateways share. It asks and is told by values only.
#[derive(Debug)]
pub struct Follower {
    limits: FollowerLimits,
    is_up: bool,
    channels: Slab<Followed>,
    by_name: HashMap<Arc<str>, u32>,
    generation: u32,
    under_way: UnderWay,
    pending: HashMap<Port, usize>,
    queued: Queued,
    /// Channels whose subscription is to be looked at.
    dirty: Vec<u32>,
    /// Channels whose position is to be asked for.
    to_check: Vec<ChannelRef>,
    /// Channels whose position is to be asked for at the next tick.
    to_retry: Vec<ChannelRef>,
    /// All that differ, shared by the channels.
    retentions: Vec<Arc<Retention>>,
    ticked_at: Option<Millis>,
    /// The channel that is checked next.
    cursor: usize,
    /// Channels that would have been checked, times the interval: what is left of the last tick.
    check_rest: u64,
    counts: FollowerCounts,
}

impl Follower {
    /// One that follows nothing, of a broker that is not reached yet.
    #[must_use]
    pub fn new(limits: FollowerLimits) -> Self {
        Self {
            limits,
            is_up: false,
            channels: Slab::new(),
            by_name: HashMap::new(),
            generation: 0,
            under_way: UnderWay::default(),
            pending: HashMap::new(),
            queued: Queued::default(),
            dirty: Vec::new(),
            to_check: Vec::new(),
            to_retry: Vec::new(),
            retentions: Vec::new(),
            ticked_at: None,
            cursor: 0,
            check_rest: 0,
            counts: FollowerCounts::default(),
        }
    }

    /// The limits from now on.
    pub fn set_limits(&mut self, limits: FollowerLimits) {
        self.limits = limits;
    }

    /// Whether the broker is reached.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Channels that are followed.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counts(&self) -> FollowerCounts {
        self.counts
    }

    /// Bytes of memory that it holds. Looks at each channel.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let channel = |(_, own): (usize, &Followed)| own.name.len() + ARC_BYTES + own.held_bytes();
        self.channels.iter().map(channel).sum::<usize>()
            + self.channels.capacity() * size_of::<Followed>()
            + self.by_name.capacity() * (size_of::<(Arc<str>, u32)>() + 1)
            + self.under_way.held_bytes()
            + self.queued.bytes()
    }

    /// Bytes of publications that wait until the broker is reached.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued.bytes()
    }

    /// A port is gone: it hears nothing any more. What it has asked is answered all the same.
    pub fn detach(&mut self, port: Port, output: &mut FollowerOutput) {
        for index in 0..self.channels.capacity() {
            if self.channels.contains(index) {
                self.leave_channel(port, slot_number(index), output);
            }
        }
    }

    /// A port asks.
    pub fn ask(&mut self, question: EngineQuestion, now: Millis, output: &mut FollowerOutput) {
        let EngineQuestion { port, number, ref action, .. } = question;
        let is_publication = matches!(action, EngineAction::Publish { .. });
        if !has_answer(action) {
            return self.pass(question, now, output);
        }
        if self.pending.get(&port).copied().unwrap_or(0) >= self.limits.pending_max {
            return self.refuse(port, number, action, output);
        }
        // One that comes while others wait waits behind them.
        if is_publication && !(self.is_up && self.queued.is_empty()) {
            let FollowerLimits { queue_bytes_max, queue_ms, .. } = self.limits;
            match self.queued.push(question, now.plus(queue_ms), queue_bytes_max) {
                Ok(()) => *self.pending.entry(port).or_default() += 1,
                Err(question) => self.refuse(port, number, &question.action, output),
            }
            return;
        }
        if !self.is_up {
            return self.refuse(port, number, action, output);
        }
        *self.pending.entry(port).or_default() += 1;
        self.pass(question, now, output);
    }

    fn refuse(
        &mut self,
        port: Port,
        number: u64,
        action: &EngineAction,
        output: &mut FollowerOutput,
    ) {
        self.counts.refused += 1;
        output.events.extend(refusal(action, number).map(|event| (port, event)));
    }

    /// Publications that wait are passed on once all channels are subscribed again, so that members who know no
    /// position do not miss them.
    fn pass_queued(&mut self, now: Millis, output: &mut FollowerOutput) {
        while let Some(EngineQuestion { port, number, action, .. }) = self.queued.pop_late(now) {
            if let Some(event) = refusal(&action, number) {
                self.answer(port, event, output);
            }
        }
        let is_active = |(_, own): (usize, &Followed)| own.subscription == Subscription::Active;
        if self.queued.is_empty() || !self.is_up || !self.channels.iter().all(is_active) {
            return;
        }
        while let Some(question) = self.queued.pop() {
            self.counts.queued += 1;
            self.pass(question, now, output);
        }
    }

    /// Asks the broker.
    fn pass(&mut self, question: EngineQuestion, now: Millis, output: &mut FollowerOutput) {
        let EngineQuestion { port, number, action, charged } = question;
        match action {
            EngineAction::Join { channel, retention, reads } => {
                self.join((port, number), &channel, (retention, reads), now, output);
            }
            EngineAction::Leave(channel) => self.leave(port, &channel, output),
            EngineAction::Publish { channel, retention, publication, idempotency_key } => {
                let payload = Payload::new(write_publication(&publication), charged);
                let number = self.under_way.add(Asked::Publish(port, number), now);
                output.commands.push(BrokerCommand::Publish {
                    number,
                    channel,
                    retention,
                    payload,
                    idempotency_key,
                });
            }
            EngineAction::Page { channel, retention, since, epoch, limit } => {
                let asked = Asked::Page(port, number, since, epoch, limit);
                let number = self.under_way.add(asked, now);
                let span = if limit == 0 { Span::Nothing } else { Span::All };
                output.commands.push(BrokerCommand::Read { number, channel, retention, span });
            }
            EngineAction::Remove { channel } => {
                let number = self.under_way.add(Asked::Remove(port, number), now);
                output.commands.push(BrokerCommand::Remove { number, channel });
            }
            EngineAction::Member { channel, change, info } if self.is_up => {
                output.commands.push(BrokerCommand::Note(channel, write_member(change, &info)));
            }
            EngineAction::Member { .. } => {}
            // For who counts nodes.
            EngineAction::Watch(_) => {}
            // All nodes are asked that, and the broker is not.
            EngineAction::Presence { .. } => {
                let refused = Err(EngineError::Unavailable);
                self.answer(port, PortEvent::Present(number, refused), output);
            }
        }
    }

    /// The broker says something.
    pub fn on_event(&mut self, event: BrokerEvent, now: Millis, output: &mut FollowerOutput) {
        match event {
            BrokerEvent::Up => self.on_up(output),
            BrokerEvent::Down => self.on_down(output),
            BrokerEvent::Subscribed(channel) => self.on_subscribed(&channel, now, output),
            BrokerEvent::Live { channel, place, payload } => {
                self.on_live(&channel, HeldLive { place, payload }, now, output);
            }
            BrokerEvent::Note(channel, payload) => self.on_note(&channel, &payload, output),
            // For who counts nodes.
            BrokerEvent::Told(_) => {}
            BrokerEvent::Published(number, result) => {
                if let Some(Asked::Publish(port, own)) = self.under_way.take(number) {
                    let result = result.map_err(|_| EngineError::Unavailable);
                    self.answer(port, PortEvent::Published(own, result), output);
                }
            }
            BrokerEvent::Removed(number, result) => {
                if let Some(Asked::Remove(port, own)) = self.under_way.take(number) {
                    let result = result.map_err(|_| EngineError::Unavailable);
                    self.answer(port, PortEvent::Removed(own, result), output);
                }
            }
            BrokerEvent::Read(number, result) => {
                if let Some(asked) = self.under_way.take(number) {
                    self.on_read((number, asked), result, now, output);
                }
            }
            BrokerEvent::Positions(number, result) => {
                if let Some(Asked::Positions(asked)) = self.under_way.take(number) {
                    self.on_positions(&asked, &result.unwrap_or_default(), now, output);
                }
            }
        }
    }

    /// Time has passed. To be called about once in a second.
    pub fn tick(&mut self, now: Millis, output: &mut FollowerOutput) {
        while let Some((number, asked)) = self.under_way.take_late(now) {
            self.on_late((number, asked), now, output);
        }
        self.pass_queued(now, output);
        self.to_check.append(&mut self.to_retry);
        let elapsed = self.ticked_at.map_or(0, |then| now.since(then)).min(CHECK_INTERVAL_MS);
        self.ticked_at = Some(now);
        let due = self.check_rest + elapsed * self.channels.len() as u64;
        self.check_rest = due % CHECK_INTERVAL_MS;
        let due = usize::try_from(due / CHECK_INTERVAL_MS).unwrap_or(usize::MAX);
        self.check_some(due.min(CHECKS_MAX));
        self.by_name.shrink_if_sparse(CHANNELS_KEPT);
    }

    /// Asks for what has come together: subscriptions and positions. To be called after questions, events and
    /// ticks, as soon as there are no more of them at once.
    pub fn flush(&mut self, now: Millis, output: &mut FollowerOutput) {
        if !self.is_up {
            return;
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for index in std::mem::take(&mut self.dirty) {
            let Some(channel) = self.channels.get_mut(index as usize) else { continue };
            channel.is_dirty = false;
            match (channel.is_wanted(), channel.subscription) {
                (true, Subscription::None) => {
                    channel.subscription = Subscription::Asked;
                    added.push(Arc::clone(&channel.name));
                }
                (false, Subscription::Active) => removed.push(self.forget(index)),
                (false, Subscription::None) => drop(self.forget(index)),
                // An unwanted one is left when the broker has answered, so that the answer cannot be taken for
                // that to a later subscription.
                (_, Subscription::Asked | Subscription::Overdue) | (true, Subscription::Active) => {
                }
            }
        }
        for names in removed.chunks(SUBSCRIBED_MAX) {
            output.commands.push(BrokerCommand::Unsubscribe(names.to_vec()));
        }
        for names in added.chunks(SUBSCRIBED_MAX) {
            output.commands.push(BrokerCommand::Subscribe(names.to_vec()));
        }
        self.flush_checks(now, output);
    }

    fn flush_checks(&mut self, now: Millis, output: &mut FollowerOutput) {
        let to_check = std::mem::take(&mut self.to_check);
        for part in to_check.chunks(POSITIONS_MAX) {
            let (mut asked, mut channels) = (Vec::new(), Vec::new());
            for channel_ref in part {
                let Some(channel) = self.get_mut(*channel_ref) else { continue };
                let Some(retention) = channel.retention.as_deref().copied() else { continue };
                debug_assert!(channel.is_checking);
                if let Some(work) = &mut channel.work {
                    work.held.trust();
                }
                asked.push((*channel_ref, channel.seen()));
                channels.push((Arc::clone(&channel.name), retention));
            }
            if !asked.is_empty() {
                let number = self.under_way.add(Asked::Positions(asked), now);
                output.commands.push(BrokerCommand::Positions { number, channels });
            }
        }
    }
}

/// The answer to a question that is not taken on.
fn refusal(action: &EngineAction, number: u64) -> Option<PortEvent> {
    let refused = EngineError::Unavailable;
    match action {
        EngineAction::Join { .. } => Some(PortEvent::Joined(number, Err(refused))),
        EngineAction::Publish { .. } => Some(PortEvent::Published(number, Err(refused))),
        EngineAction::Page { .. } => Some(PortEvent::Page(number, Err(refused))),
        EngineAction::Remove { .. } => Some(PortEvent::Removed(number, Err(refused))),
        EngineAction::Presence { .. } => Some(PortEvent::Present(number, Err(refused))),
        EngineAction::Leave(_) | EngineAction::Member { .. } | EngineAction::Watch(_) => None,
    }
}

fn has_answer(action: &EngineAction) -> bool {
    match action {
        EngineAction::Leave(_) | EngineAction::Member { .. } | EngineAction::Watch(_) => false,
        EngineAction::Join { .. }
        | EngineAction::Page { .. }
        | EngineAction::Presence { .. }
        | EngineAction::Publish { .. }
        | EngineAction::Remove { .. } => true,
    }
}

/// Channels in one command.
const SUBSCRIBED_MAX: usize = 512;
/// In which time the position of each channel is asked for, in milliseconds.
const CHECK_INTERVAL_MS: u64 = 40_000;
/// Channels whose position is asked for at one tick.
const CHECKS_MAX: usize = 8 * POSITIONS_MAX;
/// Channels for which room is kept.
const CHANNELS_KEPT: usize = 64;
/// The counts of an `Arc`, and its block.
const ARC_BYTES: usize = 24;
