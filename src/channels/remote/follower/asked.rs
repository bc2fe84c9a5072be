//! What was asked of the broker and has no answer yet.

use std::collections::{HashMap, VecDeque};

use crate::channels::remote::Port;
use crate::channels::{NamedEpoch, Position, Since};
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Asked {
    /// A question of a port.
    Publish(Port, u64),
    /// A question of a port.
    Remove(Port, u64),
    /// A question of a port, and what part of the answer it wants.
    Page(Port, u64, Since, NamedEpoch, usize),
    /// A question of a port to join this channel: there may be more than one answer that it needs.
    Join(ChannelRef),
    /// A channel, for joins.
    Reading(ChannelRef),
    /// A channel with a gap, and where it was then.
    Fill(ChannelRef, Position),
    /// Channels that are to be checked, and where they were then.
    Positions(Vec<(ChannelRef, Option<Position>)>),
}

/// A channel, unless it was left meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelRef {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// All that is under way, by numbers that are never used again.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    by_number: HashMap<u64, Asked>,
    /// In the order of the deadlines, which is that of the numbers.
    deadlines: VecDeque<(Millis, u64)>,
    last: u64,
}

impl UnderWay {
    /// Notes a question, and gives its number.
    pub(super) fn add(&mut self, asked: Asked, now: Millis) -> u64 {
        self.last += 1;
        self.by_number.insert(self.last, asked);
        self.deadlines.push_back((now.plus(ANSWER_MS), self.last));
        self.last
    }

    /// Takes out who waits for this answer, if that is still so.
    pub(super) fn take(&mut self, number: u64) -> Option<Asked> {
        let asked = self.by_number.remove(&number)?;
        while self.deadlines.front().is_some_and(|(_, own)| !self.by_number.contains_key(own)) {
            self.deadlines.pop_front();
        }
        self.by_number.shrink_if_sparse(KEPT);
        self.deadlines.shrink_if_sparse(KEPT);
        Some(asked)
    }

    /// Takes out the first whose time is over.
    pub(super) fn take_late(&mut self, now: Millis) -> Option<(u64, Asked)> {
        while let Some((_, number)) = self.deadlines.front().filter(|own| own.0 <= now).copied() {
            self.deadlines.pop_front();
            if let Some(asked) = self.by_number.remove(&number) {
                return Some((number, asked));
            }
        }
        None
    }

    /// Takes out all, in the order in which they were asked.
    pub(super) fn take_all(&mut self) -> Vec<Asked> {
        let numbers = std::mem::take(&mut self.deadlines);
        let all = numbers.iter().filter_map(|(_, number)| self.by_number.remove(number)).collect();
        self.by_number = HashMap::new();
        all
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.by_number.capacity() * size_of::<(u64, Asked)>()
            + self.deadlines.capacity() * size_of::<(Millis, u64)>()
    }
}

/// How long an answer may take, in milliseconds.
pub(super) const ANSWER_MS: u64 = 10_000;
/// Questions for which room is kept when none is under way.
const KEPT: usize = 256;
