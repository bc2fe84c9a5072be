//! What the follower knows of one channel.

use std::collections::VecDeque;
use std::sync::Arc;

use super::answer::DecodedBatch;
use crate::channels::remote::{JoinRead, Placement, Port, Retention, Span};
use crate::channels::{Epoch, Position, Publication};
use crate::timer::Millis;

/// A channel that ports hear, or want to. Kept small: there is one for each channel with members, and what only
/// some need for a moment is in [`Work`].
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) name: Arc<str>,
    pub(super) retention: Option<Arc<Retention>>,
    pub(super) work: Option<Box<Work>>,
    /// The offset up to which the stream was given to the ports; says nothing in [`Order::Unknown`].
    offset: u64,
    /// As `offset`.
    epoch: Epoch,
    /// The ports that hear it: nearly always one. Two fields, as a struct of both would take more.
    first_port: Option<PortCode>,
    more_ports: Option<Box<MorePorts>>,
    /// Another after each time without ports, so that answers to what was asked before are not taken for others.
    pub(super) generation: u32,
    pub(super) subscription: Subscription,
    pub(super) order: Order,
    /// Whether the next flush looks at it.
    pub(super) is_dirty: bool,
    /// Whether its position is asked for, or is going to be.
    pub(super) is_checking: bool,
}

/// Whether the broker gives out what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    /// It was not asked to.
    None,
    /// It was asked to, and has not answered.
    Asked,
    /// As [`Subscription::Asked`], for a long time.
    Overdue,
    /// It does.
    Active,
}

/// What is known of the order of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: what comes is held.
    Unknown,
    /// It was known up to `seen`, and may have changed: what comes is held.
    Unchecked,
    /// All up to `seen` was given out, and what follows it is given out as it comes.
    Steady,
    /// Something behind `seen` is missing, and is being read: what comes is held.
    Filling,
}

/// A port in four bytes with room for none: its complement. So there is no port `u32::MAX`.
type PortCode = std::num::NonZeroU32;

#[derive(Debug)]
struct MorePorts(Vec<PortCode>);

/// What a channel needs while something is read or awaited.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Joins that wait until the channel is subscribed, or its position is known.
    pub(super) waiting: Vec<Join>,
    pub(super) reads: Vec<Reading>,
    pub(super) held: HeldLives,
    pub(super) recent: Recent,
    /// The number of the read that fills a gap; 0 for none.
    pub(super) fill: u64,
    /// How often reading has failed in a row.
    pub(super) failures: u8,
}

/// A question to join under way.
#[derive(Debug)]
pub(super) struct Join {
    /// The number of its deadline.
    pub(super) id: u64,
    pub(super) port: Port,
    /// The asker's number.
    pub(super) number: u64,
    pub(super) deadline: Millis,
    pub(super) reads: Option<JoinRead>,
}

/// A read for those who come back. Joins that ask for the same share it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) span: Span,
    /// Where the channel was when the read was asked for.
    pub(super) asked: Option<Position>,
    /// Earlier reads that could not be used.
    pub(super) attempts: u8,
    pub(super) joins: Vec<Join>,
    /// What was read, while the stream is not yet that far.
    pub(super) batch: Option<DecodedBatch>,
}

/// What was published and cannot be given out yet, in order.
#[derive(Debug, Default)]
pub(super) struct HeldLives {
    lives: VecDeque<HeldLive>,
    bytes: usize,
    /// How many of the first were there when the last read was asked for, so that it tells more than they.
    trusted: usize,
    /// The last that was forgotten, as there were too many.
    pub(super) missed: Option<Position>,
}

#[derive(Debug)]
pub(super) struct HeldLive {
    pub(super) place: Option<Placement>,
    pub(super) payload: Vec<u8>,
}

/// What was given out lately, for answers that were read before.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<(u64, Publication)>,
    bytes: usize,
    /// All above this offset is in `entries`.
    from: u64,
}

/// How a publication stands to what was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is the next.
    Next,
    /// It was given out.
    Old,
    /// There may be others between.
    Gap,
    /// It is of another stream.
    OtherEpoch,
}

impl Followed {
    pub(super) fn new(name: Arc<str>, generation: u32) -> Self {
        Self {
            name,
            retention: None,
            work: None,
            offset: 0,
            epoch: Epoch(0),
            first_port: None,
            more_ports: None,
            generation,
            subscription: Subscription::None,
            order: Order::Unknown,
            is_dirty: false,
            is_checking: false,
        }
    }

    /// Up to where the stream was given out, if that is known.
    pub(super) fn seen(&self) -> Option<Position> {
        let seen = Position { offset: self.offset, epoch: self.epoch };
        (self.order != Order::Unknown).then_some(seen)
    }

    /// All up to here was given out, or is given up for lost.
    pub(super) fn set_seen(&mut self, seen: Position, order: Order) {
        (self.offset, self.epoch, self.order) = (seen.offset, seen.epoch, order);
    }

    /// One more publication was given out.
    pub(super) fn advance(&mut self, offset: u64) {
        debug_assert!(offset > self.offset, "{offset} after {}", self.offset);
        self.offset = offset;
    }

    /// Whether there is a port that hears it, or wants to.
    pub(super) fn is_wanted(&self) -> bool {
        self.has_ports() || self.work.as_ref().is_some_and(|own| own.has_joins())
    }

    /// Whether a port hears it.
    pub(super) fn has_ports(&self) -> bool {
        self.first_port.is_some()
    }

    /// The ports that hear it.
    pub(super) fn ports(&self) -> impl Iterator<Item = Port> {
        let more = self.more_ports.iter().flat_map(|own| &own.0);
        self.first_port.iter().chain(more).map(|code| Port(!code.get()))
    }

    pub(super) fn add_port(&mut self, port: Port) {
        let Some(code) = PortCode::new(!port.0) else { return };
        if self.ports().any(|own| own == port) {
            return;
        }
        match (&mut self.first_port, &mut self.more_ports) {
            (first @ None, _) => *first = Some(code),
            (Some(_), Some(more)) => more.0.push(code),
            (Some(_), more @ None) => *more = Some(Box::new(MorePorts(vec![code]))),
        }
    }

    pub(super) fn remove_port(&mut self, port: Port) {
        let left: Vec<Port> = self.ports().filter(|own| *own != port).collect();
        (self.first_port, self.more_ports) = (None, None);
        for port in left {
            self.add_port(port);
        }
    }

    pub(super) fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// How a publication stands to what was given out. Known as [`Relation::Next`] is only what surely is: an
    /// offset of 0 before it may also mean that what was before it is not kept any more.
    pub(super) fn relation(&self, place: &Placement) -> Relation {
        let Placement { position, previous } = place;
        if position.epoch != self.epoch {
            return Relation::OtherEpoch;
        }
        let is_next = position.offset == self.offset.saturating_add(1)
            || (*previous > 0 && *previous <= self.offset);
        match position.offset <= self.offset {
            true => Relation::Old,
            false if is_next => Relation::Next,
            false => Relation::Gap,
        }
    }

    /// Forgets the work when it is done.
    pub(super) fn drop_idle_work(&mut self) {
        let is_settled = matches!(self.order, Order::Steady | Order::Unknown);
        let Some(work) = &mut self.work else { return };
        work.reads.retain(|own| !own.joins.is_empty());
        if work.reads.is_empty() {
            work.recent = Recent::default();
        }
        if is_settled && !work.has_joins() && work.held.is_empty() && work.held.missed.is_none() {
            self.work = None;
        }
    }

    /// Bytes that it holds beside its own size.
    pub(super) fn held_bytes(&self) -> usize {
        let more = self.more_ports.as_ref().map_or(0, |own| own.0.capacity() * size_of::<Port>());
        more + self.work.as_ref().map_or(0, |own| own.held_bytes())
    }
}

impl Work {
    pub(super) fn has_joins(&self) -> bool {
        !self.waiting.is_empty() || !self.reads.is_empty()
    }

    /// Takes out the joins that are to be refused. Reads for none are forgotten.
    pub(super) fn take_joins(&mut self, is_taken: impl Fn(&Join) -> bool) -> Vec<Join> {
        let mut taken: Vec<Join> = self.waiting.extract_if(.., |own| is_taken(own)).collect();
        for read in &mut self.reads {
            taken.extend(read.joins.extract_if(.., |own| is_taken(own)));
        }
        self.reads.retain(|read| !read.joins.is_empty());
        taken
    }

    fn held_bytes(&self) -> usize {
        let reading = |own: &Reading| {
            let batch = own.batch.as_ref().map_or(0, DecodedBatch::held_bytes);
            size_of::<Reading>() + own.joins.capacity() * size_of::<Join>() + batch
        };
        size_of::<Self>()
            + self.waiting.capacity() * size_of::<Join>()
            + self.reads.iter().map(reading).sum::<usize>()
            + self.held.lives.capacity() * size_of::<HeldLive>()
            + self.held.bytes
            + self.recent.entries.capacity() * size_of::<(u64, Publication)>()
            + self.recent.bytes
    }
}

impl HeldLives {
    pub(super) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Adds one behind the others. If there are too many, all are forgotten: what they were is read.
    pub(super) fn push(&mut self, live: HeldLive) {
        self.bytes += live.payload.len();
        self.lives.push_back(live);
        if self.lives.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX {
            let last = self.lives.iter().rev().find_map(|own| own.place);
            let missed = last.map(|own| own.position).or(self.missed);
            *self = Self { missed, ..Self::default() };
        }
    }

    /// The first, and whether the last read tells more than it.
    pub(super) fn first(&self) -> Option<(&HeldLive, bool)> {
        self.lives.front().map(|own| (own, self.trusted > 0))
    }

    pub(super) fn pop(&mut self) -> Option<HeldLive> {
        let live = self.lives.pop_front()?;
        self.bytes -= live.payload.len();
        self.trusted = self.trusted.saturating_sub(1);
        Some(live)
    }

    /// A read is asked for now.
    pub(super) fn trust(&mut self) {
        self.trusted = self.lives.len();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Recent {
    /// From now on it has what is above this offset.
    pub(super) fn restart(&mut self, from: u64) {
        *self = Self { from, ..Self::default() };
    }

    pub(super) fn push(&mut self, offset: u64, publication: Publication) {
        self.bytes += publication.held_bytes();
        self.entries.push_back((offset, publication));
        if self.entries.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX {
            self.restart(offset);
        }
    }

    /// All that was given out above this offset; `None` if some of it is forgotten.
    pub(super) fn after(&self, offset: u64) -> Option<impl Iterator<Item = &(u64, Publication)>> {
        let is_there = offset >= self.from;
        is_there.then(|| self.entries.iter().filter(move |(own, _)| *own > offset))
    }
}

/// Publications of one channel that are held at most. Few in tests, which then get there.
const HELD_MAX: usize = if cfg!(test) { 8 } else { 1024 };
/// Their bytes at most.
const HELD_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What 100,000 channels take: the slab and the table of names may have twice and 16/7 of the room that they
    /// need right after they have grown. The allocator's block around a name has 8 bytes, its counts 16.
    #[test]
    fn a_channel_takes_at_most_256_bytes() {
        assert_eq!(size_of::<Followed>(), 64);
        let slab = 2 * size_of::<Followed>();
        let table = (size_of::<(Arc<str>, u32)>() + 1) * 16 / 7;
        let name = 32 + 16 + 8;
        assert!(slab + table + name <= 256, "{slab} + {table} + {name}");
    }

    #[test]
    fn ports_are_a_set() {
        let mut ports = Followed::new("a".into(), 0);
        let all: Vec<Port> = [0, 7, 3, 1 << 20].map(Port).to_vec();
        for port in all.iter().chain(&all) {
            ports.add_port(*port);
        }
        assert_eq!(ports.ports().collect::<Vec<_>>(), all);
        for (removed, port) in (1..).zip(&all) {
            ports.remove_port(*port);
            assert_eq!(ports.ports().collect::<Vec<_>>(), all[removed..]);
            assert_eq!(ports.has_ports(), removed < all.len());
        }
    }
}
