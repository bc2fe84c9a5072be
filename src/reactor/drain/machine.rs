//! The drain of a loop as a state machine: the grace, then the closes, then the end. It knows no clock
//! and no other loop: the caller passes the time, and what all loops decided together.

use super::pace::{Pace, STEP_MS};
use super::terms::{DrainTerms, QueuePolicy};
use crate::conn::ClosesSent;
use crate::timer::Millis;

/// A drain in progress.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    terms: DrainTerms,
    seed: u64,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Accepting as before, until then.
    Grace(Millis),
    Closing(Closing),
}

#[derive(Clone, Debug)]
struct Closing {
    pace: Pace,
    /// When the connections that are left are dropped.
    hard_stop: Millis,
    walk: Walk,
    /// The quota of the pace that was given last.
    asked: usize,
}

/// Where the walk through the table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// On its way for the first time, to those that are told before others: the next slot.
    First(u32),
    /// On its way: the next slot, and whether handshakes were left behind.
    At { cursor: u32, has_skipped: bool },
    /// At its end, with handshakes left behind: it begins again then.
    Again(Millis),
    /// All have been told.
    Done,
}

/// What [`Drain::closes`] has the loop do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) struct Closes {
    /// The slot to go on from.
    pub(in crate::reactor) cursor: u32,
    /// Whether only those of routes are told that are told first.
    pub(in crate::reactor) is_first: bool,
    /// The most connections to tell now.
    pub(in crate::reactor) quota: usize,
    /// Whether handshakes are finished rather than refused.
    pub(in crate::reactor) spares_handshakes: bool,
}

impl Drain {
    /// Begins with the grace, which may be over at once. `seed` differs from loop to loop.
    pub(super) fn new(now: Millis, terms: DrainTerms, seed: u64) -> Self {
        Self { terms, seed, stage: Stage::Grace(now.plus(terms.grace_ms)) }
    }

    /// What becomes of the accept queue.
    pub(super) fn queue(&self) -> QueuePolicy {
        self.terms.queue
    }

    /// Whether the grace is over, and [`Drain::stop_accepting`] has not been called.
    pub(super) fn must_stop_accepting(&self, now: Millis) -> bool {
        matches!(self.stage, Stage::Grace(until) if now >= until)
    }

    /// Whether the loop no longer accepts.
    pub(super) fn has_stopped_accepting(&self) -> bool {
        matches!(self.stage, Stage::Closing(_))
    }

    /// The loop accepts no more. It has `count` connections; the first loop stopped at `stopped`, from
    /// which the time for all counts.
    pub(super) fn stop_accepting(&mut self, stopped: Millis, count: usize) {
        if self.has_stopped_accepting() {
            return;
        }
        self.stage = Stage::Closing(Closing {
            pace: Pace::new(stopped, &self.terms, count, self.seed),
            hard_stop: stopped.plus(self.terms.drain_ms),
            walk: Walk::First(0),
            asked: 0,
        });
    }

    /// Which connections to tell now, if any. The loops have `total` together.
    pub(super) fn closes(&mut self, now: Millis, total: usize) -> Option<Closes> {
        let Stage::Closing(closing) = &mut self.stage else { return None };
        if let Walk::Again(due) = closing.walk
            && now >= due
        {
            closing.walk = Walk::At { cursor: 0, has_skipped: false };
        }
        let (cursor, is_first) = match closing.walk {
            Walk::First(cursor) => (cursor, true),
            Walk::At { cursor, .. } => (cursor, false),
            Walk::Again(_) | Walk::Done => return None,
        };
        let quota = match self.terms.is_paced {
            true => closing.pace.quota(now, total),
            false => usize::MAX,
        };
        closing.asked = quota;
        let spares_handshakes = self.terms.queue == QueuePolicy::LeaveToOther;
        (quota > 0).then_some(Closes { cursor, is_first, quota, spares_handshakes })
    }

    /// Notes what became of [`Drain::closes`].
    pub(super) fn note(&mut self, now: Millis, sent: ClosesSent) {
        let Stage::Closing(closing) = &mut self.stage else { return };
        let has_skipped = match closing.walk {
            Walk::First(_) => {
                if closing.asked < usize::MAX {
                    closing.pace.return_unused(closing.asked.saturating_sub(sent.told));
                }
                let all = Walk::At { cursor: 0, has_skipped: false };
                closing.walk = sent.next.map_or(all, Walk::First);
                return;
            }
            Walk::At { has_skipped, .. } => has_skipped || sent.has_skipped,
            Walk::Again(_) | Walk::Done => return,
        };
        closing.walk = match sent.next {
            Some(cursor) => Walk::At { cursor, has_skipped },
            // Those that open behind the cursor are found by the next walk. It is rare, and ends with
            // the last handshake.
            None if has_skipped => Walk::Again(now.plus(WALK_AGAIN_MS)),
            None => Walk::Done,
        };
    }

    /// When the drain has something to do next.
    pub(super) fn due(&self, now: Millis, total: usize) -> Millis {
        match &self.stage {
            Stage::Grace(until) => *until,
            Stage::Closing(Closing { pace, hard_stop, walk, .. }) => match walk {
                Walk::First(_) | Walk::At { .. } if self.terms.is_paced => {
                    pace.due(now, total).min(*hard_stop)
                }
                Walk::First(_) | Walk::At { .. } => now.plus(STEP_MS).min(*hard_stop),
                Walk::Again(due) => (*due).min(*hard_stop),
                Walk::Done => *hard_stop,
            },
        }
    }

    /// Whether its time is over, and what is left is dropped.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        matches!(&self.stage, Stage::Closing(closing) if now >= closing.hard_stop)
    }
}

/// Between two walks through the table.
const WALK_AGAIN_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms() -> impl Strategy<Value = DrainTerms> {
        let queue = prop_oneof![Just(QueuePolicy::Refuse), Just(QueuePolicy::LeaveToOther)];
        let closes_per_s = prop_oneof![Just(0u64), 1..2_000u64];
        (0..3_000u64, 0..20_000u64, any::<bool>(), closes_per_s, queue).prop_map(
            |(grace_ms, drain_ms, is_paced, closes_per_s, queue)| DrainTerms {
                grace_ms,
                drain_ms,
                is_paced,
                closes_per_s,
                queue,
            },
        )
    }

    /// Whether the route of a connection is one of those that are told first.
    fn is_first(index: usize) -> bool {
        index.is_multiple_of(3)
    }

    /// A table of connections: `Some(ms)` is in its handshake until then, `None` is open.
    fn tell(table: &mut [Option<Option<u64>>], closes: Closes, now: u64) -> ClosesSent {
        let (mut told, mut has_skipped) = (0, false);
        for (index, own) in table.iter_mut().enumerate().skip(closes.cursor as usize) {
            if told == closes.quota {
                return ClosesSent { next: u32::try_from(index).ok(), told, has_skipped };
            }
            if closes.is_first && !is_first(index) {
                continue;
            }
            match own {
                None => {}
                Some(Some(_)) if closes.is_first => {}
                Some(Some(until)) if closes.spares_handshakes && now < *until => has_skipped = true,
                Some(_) => {
                    *own = None;
                    told += 1;
                }
            }
        }
        ClosesSent { next: None, told, has_skipped }
    }

    proptest! {
        /// Stages follow each other, at their times and not before; everyone is told before the end, also
        /// who finishes a handshake late; the machine asks to be looked at in time, and never spins.
        #[test]
        fn every_connection_is_told_between_the_grace_and_the_end(
            terms in terms(),
            handshakes in prop::collection::vec(prop::option::of(0..5_000u64), 0..300),
            late_ms in 0..30u64,
        ) {
            let mut table: Vec<_> = handshakes.iter().copied().map(Some).collect();
            let start = 1_000;
            let mut drain = Drain::new(Millis(start), terms, 3);
            let mut now = start;
            let mut looks = 0;
            let mut stopped = None;
            while !drain.is_over(Millis(now)) {
                if drain.must_stop_accepting(Millis(now)) {
                    prop_assert!(now >= start + terms.grace_ms);
                    prop_assert!(stopped.replace(now).is_none(), "once");
                    drain.stop_accepting(Millis(now), table.len());
                }
                while let Some(closes) = drain.closes(Millis(now), table.len()) {
                    prop_assert!(stopped.is_some(), "no close in the grace");
                    let others = table.iter().enumerate().filter(|(index, own)| !is_first(*index) && own.is_none()).count();
                    let sent = tell(&mut table, closes, now);
                    drain.note(Millis(now), sent);
                    let open_first = table.iter().zip(&handshakes).enumerate().any(|(index, (own, begun))| is_first(index) && begun.is_none() && own.is_some());
                    if open_first {
                        let now_others = table.iter().enumerate().filter(|(index, own)| !is_first(*index) && own.is_none()).count();
                        prop_assert_eq!(others, now_others, "others were told before");
                    }
                }
                let due = drain.due(Millis(now), table.len()).0;
                looks += 1;
                prop_assert!(looks < 20_000, "it spins");
                now = due.max(now) + late_ms;
            }
            let stopped = stopped.unwrap();
            prop_assert!(now >= stopped + terms.drain_ms);
            prop_assert!(now <= stopped + terms.drain_ms + late_ms);
            let last = handshakes.iter().flatten().max().copied().unwrap_or(0);
            let spare_ms = terms.drain_ms * 3 / 10;
            if terms.drain_ms >= 500 && stopped + terms.drain_ms >= last + 2 * WALK_AGAIN_MS + late_ms
                && spare_ms > 2 * (WALK_AGAIN_MS + late_ms)
            {
                prop_assert!(table.iter().all(Option::is_none), "{table:?}");
            }
        }
    }
}
