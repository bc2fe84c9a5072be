//! The drain of a loop: every client is told to go, at a pace that spares the servers that it turns to.

use crate::timer::Millis;

/// A drain in progress.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    started: Millis,
    /// When the connections that are left are dropped.
    pub(super) hard_stop: Millis,
    /// Connections to tell per second; `None` tells all at once.
    per_second: Option<u64>,
    told: u64,
    /// Where in the table to go on; `None` when all have been told.
    pub(super) cursor: Option<u32>,
}

impl Drain {
    /// Begins to drain `count` connections within `drain_ms`.
    pub(super) fn new(now: Millis, drain_ms: u64, is_paced: bool, count: usize) -> Self {
        // A little sooner than promised, so that the last turn is not late.
        let window_ms = (drain_ms * TOLD_WITHIN_PERCENT / 100).saturating_sub(2 * STEP_MS).max(1);
        let needed = (count as u64 * 1000).div_ceil(window_ms);
        Self {
            started: now,
            hard_stop: now.plus(drain_ms),
            per_second: is_paced.then_some(needed.max(PER_SECOND_MIN)),
            told: 0,
            cursor: Some(0),
        }
    }

    /// How many to tell now.
    pub(super) fn quota(&mut self, now: Millis) -> usize {
        let Some(per_second) = self.per_second else { return usize::MAX };
        // By the time that has passed and not by the number of calls, so a late turn makes up for
        // what it missed.
        let due = ((now.since(self.started) + STEP_MS) * per_second).div_ceil(1000);
        let quota = due.saturating_sub(self.told);
        self.told += quota;
        usize::try_from(quota).unwrap_or(usize::MAX)
    }

    /// When the drain has something to do next.
    pub(super) fn due(&self, now: Millis) -> Millis {
        match self.cursor {
            Some(_) => now.plus(STEP_MS).min(self.hard_stop),
            None => self.hard_stop,
        }
    }
}

/// The slowest pace, per loop.
const PER_SECOND_MIN: u64 = 500;
/// All are told within this part of the time, so that the rest is left for their close handshakes.
const TOLD_WITHIN_PERCENT: u64 = 70;
const STEP_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn told_over_time(count: usize, drain_ms: u64) -> Vec<(u64, usize)> {
        let mut drain = Drain::new(Millis(500), drain_ms, true, count);
        let mut told = 0;
        let mut times = Vec::new();
        let mut now = Millis(500);
        while told < count {
            told += drain.quota(now);
            times.push((now.0 - 500, told));
            now = drain.due(now);
        }
        times
    }

    #[test]
    fn a_few_are_told_at_500_a_second() {
        let times = told_over_time(100, 20_000);
        let (last_ms, _) = times.last().unwrap();
        assert!((150..=210).contains(last_ms), "{last_ms}");
    }

    #[test]
    fn many_are_told_evenly_within_70_percent() {
        for count in [20_000, 1_000_000] {
            let times = told_over_time(count, 20_000);
            let (last_ms, _) = times.last().unwrap();
            assert!((13_000..=14_000).contains(last_ms), "{last_ms}");
            let (_, at_half) = times.iter().find(|(ms, _)| *ms >= 7_000).unwrap();
            assert!(at_half.abs_diff(count / 2) < count / 50, "{at_half} of {count}");
        }
    }

    #[test]
    fn without_pace_all_are_told_at_once() {
        let mut drain = Drain::new(Millis(0), 20_000, false, 10);
        assert_eq!(drain.quota(Millis(0)), usize::MAX);
    }
}
