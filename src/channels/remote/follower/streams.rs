//! Where streams are: gaps are read, and what was read is put in order with what was given out.

use std::sync::Arc;

use super::answer::DecodedBatch;
use super::asked::{Asked, ChannelRef};
use super::followed::{Join, Order, Relation};
use super::{Follower, FollowerOutput};
use crate::channels::remote::{Batch, BrokerCommand, BrokerError, JoinRead, PortEvent, Span};
use crate::channels::{EngineError, Position, Read};
use crate::timer::Millis;

impl Follower {
    /// Gets the position of a channel with the next flush.
    pub(super) fn ask_position(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        if !channel.is_checking {
            channel.is_checking = true;
            self.to_check.push(ChannelRef { index, generation: channel.generation });
        }
    }

    /// Reads all behind what was given out.
    pub(super) fn fill(&mut self, index: u32, now: Millis, output: &mut FollowerOutput) {
        let channel = &mut self.channels[index as usize];
        let (Some(seen), Some(retention)) = (channel.seen(), channel.retention.as_deref().copied())
        else {
            return;
        };
        let channel_ref = ChannelRef { index, generation: channel.generation };
        let number = self.under_way.add(Asked::Fill(channel_ref, seen), now);
        channel.order = Order::Filling;
        let work = channel.work();
        work.fill = number;
        work.held.trust();
        self.counts.gaps += 1;
        let (name, span) = (Arc::clone(&channel.name), Span::After(seen.offset));
        output.commands.push(BrokerCommand::Read { number, channel: name, retention, span });
    }

    pub(super) fn on_read(
        &mut self,
        (number, asked): (u64, Asked),
        result: Result<Batch, BrokerError>,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let batch = result.ok().map(|batch| {
            let (batch, invalid) = DecodedBatch::new(batch);
            self.counts.invalid += invalid;
            batch
        });
        match asked {
            Asked::Page(port, number, since, epoch, limit) => {
                let page = batch.map(|batch| batch.page(since, epoch, limit));
                let page = page.unwrap_or(Err(EngineError::Unavailable));
                self.answer(port, PortEvent::Page(number, page), output);
            }
            Asked::Reading(channel_ref) => {
                let Some(channel) = self.get_mut(channel_ref) else { return };
                let reads = channel.work.iter().flat_map(|own| &own.reads);
                let Some(at) = { reads }.position(|own| own.number == number) else { return };
                self.on_reading(channel_ref.index, at, batch, now, output);
                self.finish(channel_ref.index);
            }
            Asked::Fill(channel_ref, asked) => {
                let Some(channel) = self.get_mut(channel_ref) else { return };
                if channel.work.as_ref().is_some_and(|own| own.fill == number) {
                    self.on_fill(channel_ref.index, asked, batch, now, output);
                    self.finish(channel_ref.index);
                }
            }
            // The broker has answered something else than was asked.
            Asked::Publish(..) | Asked::Remove(..) | Asked::Join(_) | Asked::Positions(_) => {
                debug_assert!(false, "{asked:?} is no read");
            }
        }
    }

    pub(super) fn on_fill(
        &mut self,
        index: u32,
        asked: Position,
        batch: Option<DecodedBatch>,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        channel.work().fill = 0;
        let (Some(batch), Some(seen)) = (batch, channel.seen()) else {
            channel.order = Order::Unchecked;
            return self.has_failed(index, output);
        };
        match judge(batch.position, Some(asked), Some(seen)) {
            Verdict::Moved | Verdict::Stale | Verdict::First => {
                self.lose(index, batch.position, output);
            }
            Verdict::Ahead if batch.is_whole => self.complete(index, &batch, output),
            Verdict::Ahead if seen == asked => self.lose(index, batch.position, output),
            // A member that came back has brought it further meanwhile.
            Verdict::Ahead => return self.fill(index, now, output),
            Verdict::Within => {}
        }
        self.channels[index as usize].order = Order::Steady;
        self.resume(index, now, output);
    }

    /// Gives out what is behind `seen` in a batch that has all of it.
    pub(super) fn complete(
        &mut self,
        index: u32,
        batch: &DecodedBatch,
        output: &mut FollowerOutput,
    ) {
        for (offset, publication) in &batch.entries {
            let channel = &self.channels[index as usize];
            if channel.seen().is_some_and(|seen| *offset > seen.offset) {
                let position = Position { offset: *offset, ..batch.position };
                self.give_out(index, Some(position), publication.clone(), output);
            }
        }
        let channel = &mut self.channels[index as usize];
        channel.set_seen(batch.position, channel.order);
    }

    /// What was behind `seen` cannot be had: goes on from another position.
    pub(super) fn lose(&mut self, index: u32, position: Position, output: &mut FollowerOutput) {
        self.counts.lost += 1;
        let channel = &mut self.channels[index as usize];
        channel.set_seen(position, Order::Steady);
        if let Some(work) = &mut channel.work {
            work.fill = 0;
            work.recent.restart(position.offset);
        }
        for port in channel.ports() {
            output.events.push((port, PortEvent::Lost(Arc::clone(&channel.name))));
        }
    }

    /// A read has failed that a channel needs: tries again with the next tick. After some times the members are
    /// told, so that no one waits in silence.
    pub(super) fn has_failed(&mut self, index: u32, output: &mut FollowerOutput) {
        let channel = &mut self.channels[index as usize];
        let work = channel.work();
        work.failures += 1;
        if work.failures >= FAILURES_MAX {
            (work.failures, work.fill) = (0, 0);
            work.held.clear();
            channel.order = Order::Unknown;
            self.counts.lost += 1;
            for port in channel.ports() {
                output.events.push((port, PortEvent::Lost(Arc::clone(&channel.name))));
            }
        }
        if !channel.is_checking {
            channel.is_checking = true;
            self.to_retry.push(ChannelRef { index, generation: channel.generation });
        }
    }

    /// Goes on where the order of a stream is known again.
    pub(super) fn resume(&mut self, index: u32, now: Millis, output: &mut FollowerOutput) {
        self.proceed_waiting(index, now, output);
        self.settle(index, now, output);
        self.give_out_held(index, now, output);
    }

    pub(super) fn proceed_waiting(&mut self, index: u32, now: Millis, output: &mut FollowerOutput) {
        let work = self.channels[index as usize].work.as_mut();
        let waiting = work.map(|own| std::mem::take(&mut own.waiting)).unwrap_or_default();
        for join in waiting {
            self.proceed(index, join, now, output);
        }
    }

    pub(super) fn give_out_held(&mut self, index: u32, now: Millis, output: &mut FollowerOutput) {
        loop {
            let channel = &mut self.channels[index as usize];
            if channel.order != Order::Steady {
                return;
            }
            let first = channel.work.as_ref().and_then(|own| own.held.first());
            let Some((live, is_trusted)) = first else { break };
            let relation = live.place.as_ref().map_or(Relation::Next, |own| channel.relation(own));
            match (relation, is_trusted) {
                // What was read later tells of another stream, which is the one that is.
                (Relation::Old, _) | (Relation::OtherEpoch, true) => {
                    channel.work().held.pop();
                }
                (Relation::Next, _) => {
                    if let Some(live) = channel.work().held.pop() {
                        self.deliver(index, &live, output);
                    }
                }
                (Relation::Gap | Relation::OtherEpoch, false) => {
                    return self.fill(index, now, output);
                }
                // What was read later does not have it yet, or not any more.
                (Relation::Gap, true) => {
                    channel.order = Order::Unchecked;
                    return self.has_failed(index, output);
                }
            }
        }
        let channel = &mut self.channels[index as usize];
        let seen = channel.seen();
        let missed = channel.work.as_mut().and_then(|own| own.held.missed.take());
        let is_behind = |missed: Position| {
            seen.is_some_and(|own| own.epoch != missed.epoch || own.offset < missed.offset)
        };
        if missed.is_some_and(is_behind) {
            self.fill(index, now, output);
        }
    }

    pub(super) fn on_positions(
        &mut self,
        asked: &[(ChannelRef, Option<Position>)],
        positions: &[Position],
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        // Without one for each they are of other channels.
        let is_whole = asked.len() == positions.len();
        for (at, (channel_ref, asked)) in asked.iter().enumerate() {
            let Some(channel) = self.get_mut(*channel_ref) else { continue };
            channel.is_checking = false;
            let index = channel_ref.index;
            match (positions.get(at).filter(|_| is_whole), channel.order) {
                (Some(position), _) => self.on_position(index, *asked, *position, now, output),
                (None, Order::Unknown | Order::Unchecked) => self.has_failed(index, output),
                (None, Order::Steady | Order::Filling) => {}
            }
            self.finish(index);
        }
    }

    pub(super) fn on_position(
        &mut self,
        index: u32,
        asked: Option<Position>,
        position: Position,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        match (judge(position, asked, channel.seen()), channel.order) {
            (Verdict::First, _) => self.begin(index, position),
            (Verdict::Moved, _) => self.lose(index, position, output),
            (Verdict::Stale, _) => return self.ask_position(index),
            (Verdict::Ahead, Order::Filling) => return,
            (Verdict::Ahead, Order::Unknown | Order::Unchecked | Order::Steady) => {
                return self.fill(index, now, output);
            }
            (Verdict::Within, Order::Unknown | Order::Unchecked) => channel.order = Order::Steady,
            (Verdict::Within, Order::Steady | Order::Filling) => return,
        }
        self.resume(index, now, output);
    }

    /// The stream is given out from here on.
    pub(super) fn begin(&mut self, index: u32, position: Position) {
        let channel = &mut self.channels[index as usize];
        channel.set_seen(position, Order::Steady);
        if let Some(work) = &mut channel.work {
            work.recent.restart(position.offset);
        }
    }

    /// A read for joins has an answer.
    pub(super) fn on_reading(
        &mut self,
        index: u32,
        at: usize,
        batch: Option<DecodedBatch>,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        let (seen, order) = (channel.seen(), channel.order);
        let reading = &mut channel.work().reads[at];
        let Some(batch) = batch else {
            let joins = std::mem::take(&mut reading.joins);
            return self.answer_joins(index, joins, |_| Err(EngineError::Unavailable), output);
        };
        let (position, asked, span) = (batch.position, reading.asked, reading.span);
        let covers = |seen: Position| match span {
            Span::After(offset) => batch.is_whole && offset <= seen.offset,
            Span::Nothing | Span::Latest | Span::All => false,
        };
        match judge(position, asked, seen) {
            Verdict::First => self.begin(index, position),
            Verdict::Moved => self.lose(index, position, output),
            Verdict::Stale => return self.read_again(index, at, now, output),
            Verdict::Ahead if seen.is_some_and(covers) => self.complete(index, &batch, output),
            Verdict::Ahead | Verdict::Within => {}
        }
        self.channels[index as usize].work().reads[at].batch = Some(batch);
        let is_ahead = |own: Position| own.offset < position.offset;
        let is_behind = self.channels[index as usize].seen().is_some_and(is_ahead);
        if is_behind && order == Order::Steady {
            self.fill(index, now, output);
        }
        self.resume(index, now, output);
    }

    /// Answers the joins whose batch the stream has reached.
    pub(super) fn settle(&mut self, index: u32, now: Millis, output: &mut FollowerOutput) {
        let mut at = 0;
        loop {
            let channel = &mut self.channels[index as usize];
            let (Some(seen), Some(work)) = (channel.seen(), &mut channel.work) else { return };
            let Some(reading) = work.reads.get_mut(at) else { break };
            at += 1;
            let Some(batch) = reading.batch.take() else { continue };
            let is_own = batch.position.epoch == seen.epoch;
            if is_own && batch.position.offset > seen.offset && channel.order != Order::Steady {
                reading.batch = Some(batch);
                continue;
            }
            let later = work.recent.after(batch.position.offset);
            let later = later.filter(|_| is_own && batch.position.offset <= seen.offset);
            match later.map(|own| own.cloned().collect::<Vec<_>>()) {
                Some(later) => {
                    let joins = std::mem::take(&mut reading.joins);
                    let read = |own: &JoinRead| Ok(batch.joined(own, &later, seen.offset));
                    self.answer_joins(index, joins, read, output);
                }
                None => self.read_again(index, at - 1, now, output),
            }
        }
    }

    pub(super) fn answer_joins(
        &mut self,
        index: u32,
        joins: Vec<Join>,
        read: impl Fn(&JoinRead) -> Result<Read, EngineError>,
        output: &mut FollowerOutput,
    ) {
        for join in joins {
            let result = join.reads.as_ref().map(&read).transpose();
            self.joined(index, &join, result, output);
        }
    }

    /// What was read cannot be put in order with what was given out.
    pub(super) fn read_again(
        &mut self,
        index: u32,
        at: usize,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let reading = &mut self.channels[index as usize].work().reads[at];
        reading.attempts += 1;
        if reading.attempts < ATTEMPTS_MAX {
            return self.send_read(index, at, now, output);
        }
        let joins = std::mem::take(&mut reading.joins);
        self.answer_joins(index, joins, |_| Err(EngineError::Unavailable), output);
    }
}

/// What a position that was read says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the first that is known.
    First,
    /// It is of a stream that was left meanwhile, or is newer: not to be told apart.
    Stale,
    /// The stream is another one, or went back.
    Moved,
    /// There is more behind `seen`.
    Ahead,
    /// All up to it was given out.
    Within,
}

/// Judges a position that was asked for when `asked` was given out, and came when `seen` was.
fn judge(position: Position, asked: Option<Position>, seen: Option<Position>) -> Verdict {
    let Some(seen) = seen else { return Verdict::First };
    // Since it was asked for, the stream was found to be another.
    let is_superseded =
        asked.is_none_or(|asked| asked.epoch != seen.epoch || asked.offset > seen.offset);
    if position.epoch != seen.epoch {
        return if is_superseded { Verdict::Stale } else { Verdict::Moved };
    }
    if position.offset > seen.offset {
        return Verdict::Ahead;
    }
    let is_back = asked.is_some_and(|asked| position.offset < asked.offset);
    if is_back && !is_superseded { Verdict::Moved } else { Verdict::Within }
}

/// Reads in a row that fail before members are told.
const FAILURES_MAX: u8 = 3;
/// Reads for one join.
const ATTEMPTS_MAX: u8 = 3;
