//! The pace of the close frames of a loop: spread evenly, with jitter, so that clients that came together
//! do not come back together.

use super::terms::DrainTerms;
use crate::timer::Millis;

/// When each of a number of close frames is due.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    started: Millis,
    /// Connections of this loop.
    count: u64,
    /// The longest that the closes may take.
    window_ms: u64,
    /// Of all loops together; 0 for no limit.
    closes_per_s: u64,
    seed: u64,
    told: u64,
}

impl Pace {
    /// The pace for `count` connections. Loops with different seeds send at different moments.
    pub(super) fn new(now: Millis, terms: &DrainTerms, count: usize, seed: u64) -> Self {
        // A little sooner than promised, so that the last turn is not late.
        let told_ms = terms.drain_ms * TOLD_WITHIN_PERCENT / 100;
        Self {
            started: now,
            count: count as u64,
            window_ms: told_ms.saturating_sub(2 * STEP_MS).max(1),
            closes_per_s: terms.closes_per_s,
            seed,
            told: 0,
        }
    }

    /// How many to tell now, where the loops have `total` connections together.
    ///
    /// By the time that has passed and not by the number of calls, so a late turn makes up for what it
    /// missed.
    pub(super) fn quota(&mut self, now: Millis, total: usize) -> usize {
        let (elapsed_ms, spread_ms) = (now.since(self.started) + STEP_MS, self.spread_ms(total));
        if elapsed_ms >= spread_ms {
            return usize::MAX;
        }
        // Close `k` is due at a random moment of the `k`th of `count` equal parts of the time.
        let parts = elapsed_ms * PART * self.count / spread_ms;
        let (begun, part) = (parts / PART, parts % PART);
        let due = begun + u64::from(part >= jitter(self.seed, begun));
        let quota = due.saturating_sub(self.told);
        self.told += quota;
        usize::try_from(quota).unwrap_or(usize::MAX)
    }

    /// Some of the last quota were not there to be told, and are left for others.
    pub(super) fn return_unused(&mut self, unused: usize) {
        self.told = self.told.saturating_sub(unused as u64);
    }

    /// When the next close is due; closes that would follow within [`STEP_MS`] are sent together.
    pub(super) fn due(&self, now: Millis, total: usize) -> Millis {
        let spread_ms = self.spread_ms(total);
        let parts = self.told * PART + jitter(self.seed, self.told);
        let next_ms = (parts * spread_ms).div_ceil((PART * self.count).max(1)).min(spread_ms);
        let next = self.started.plus(next_ms.saturating_sub(STEP_MS));
        next.max(now.plus(STEP_MS))
    }

    /// The time in which all of this loop's connections are told. As every loop takes the same part of
    /// `closes_per_s` for each of its connections, all together keep to it.
    fn spread_ms(&self, total: usize) -> u64 {
        let by_loop = self.count * 1000 / PER_SECOND_MIN;
        let by_process = match self.closes_per_s {
            0 => 0,
            per_second => (total as u64).max(self.count) * 1000 / per_second,
        };
        by_loop.max(by_process).min(self.window_ms)
    }
}

/// A number below [`PART`] for each close, by splitmix64 (Steele, Lea and Flood 2014).
fn jitter(seed: u64, number: u64) -> u64 {
    let mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % PART
}

/// The slowest pace of a loop where nothing limits it.
const PER_SECOND_MIN: u64 = 500;
/// All are told within this part of the time, so that the rest is left for their close handshakes.
const TOLD_WITHIN_PERCENT: u64 = 70;
/// The finest that closes are spread.
pub(super) const STEP_MS: u64 = 10;
/// The resolution of the jitter. A day of 2^24 connections still fits into 64 bits with it.
const PART: u64 = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(drain_ms: u64, closes_per_s: u64) -> DrainTerms {
        DrainTerms { closes_per_s, ..DrainTerms::within_ms(drain_ms) }
    }

    /// For each moment at which a loop looks, how many it has told by then.
    fn told_over_time(
        count: usize,
        total: usize,
        terms: &DrainTerms,
        seed: u64,
    ) -> Vec<(u64, u64)> {
        let mut pace = Pace::new(Millis(500), terms, count, seed);
        let (mut told, mut times, mut now) = (0, Vec::new(), Millis(500));
        while told < count as u64 {
            let quota = pace.quota(now, total) as u64;
            told = told.saturating_add(quota).min(count as u64);
            times.push((now.0 - 500, told));
            now = pace.due(now, total);
        }
        times
    }

    proptest! {
        /// All are told in time, never in bursts, and never more in a second than the limit allows, unless
        /// the time is too short for that.
        #[test]
        fn closes_are_spread_and_in_time(
            counts in prop::collection::vec(0..800usize, 1..5),
            drain_ms in 100..20_000u64,
            closes_per_s in prop_oneof![Just(0u64), 1..3_000u64],
            seed: u64,
        ) {
            let total: usize = counts.iter().sum();
            let terms = terms(drain_ms, closes_per_s);
            let window_ms = (drain_ms * 70 / 100).saturating_sub(20).max(1);
            let mut closes = Vec::new();
            for (index, &count) in counts.iter().enumerate() {
                let times = told_over_time(count, total, &terms, seed.wrapping_add(index as u64));
                prop_assert!(times.last().is_none_or(|(ms, _)| *ms <= window_ms), "{times:?}");
                let mut before = 0;
                for (ms, told) in times {
                    closes.push((ms, told - before));
                    before = told;
                }
                prop_assert_eq!(before, count as u64);
            }
            let needed = total as f64 / window_ms as f64;
            let per_ms = match closes_per_s {
                0 => needed + counts.len() as f64 * PER_SECOND_MIN as f64 / 1_000.0,
                limit => needed.max(limit as f64 / 1_000.0),
            };
            // A second that begins anywhere; each loop may be a step and a close ahead of its line.
            for &(from, _) in &closes {
                let second = closes.iter().filter(|(ms, _)| (from..from + 1_000).contains(ms));
                let told: u64 = second.map(|(_, told)| told).sum();
                let slack = counts.len() as f64 * 2.0 + per_ms * 2.0 * STEP_MS as f64;
                prop_assert!(told as f64 <= per_ms * 1_000.0 * 1.01 + slack, "{told} at {from}");
            }
        }

        /// A loop that wakes late or early tells the same number by the same time, up to one.
        #[test]
        fn the_pace_follows_the_clock(
            count in 1..10_000usize,
            drain_ms in 1_000..60_000u64,
            mut looks in prop::collection::vec(0..20_000u64, 1..50),
            seed: u64,
        ) {
            looks.sort_unstable();
            let mut pace = Pace::new(Millis(0), &terms(drain_ms, 0), count, seed);
            let spread_ms = pace.spread_ms(count);
            let mut told = 0u64;
            for look in looks {
                told = told.saturating_add(pace.quota(Millis(look), count) as u64);
                let line = (look + STEP_MS) * count as u64 / spread_ms.max(1);
                prop_assert!(told >= line.min(count as u64));
                prop_assert!(look + STEP_MS >= spread_ms || told <= line + 1);
            }
        }
    }

    #[test]
    fn a_few_are_told_at_500_a_second() {
        let times = told_over_time(100, 100, &terms(20_000, 0), 7);
        let (last_ms, _) = times.last().unwrap();
        assert!((150..=210).contains(last_ms), "{last_ms}");
    }

    #[test]
    fn many_are_told_evenly_within_70_percent() {
        for count in [20_000, 1_000_000] {
            let times = told_over_time(count, count, &terms(20_000, 0), 7);
            let (last_ms, _) = times.last().unwrap();
            assert!((13_000..=14_000).contains(last_ms), "{last_ms}");
            let (_, at_half) = times.iter().find(|(ms, _)| *ms >= 7_000).unwrap();
            assert!(at_half.abs_diff(count as u64 / 2) < count as u64 / 50, "{at_half} of {count}");
        }
    }

    #[test]
    fn the_limit_of_the_process_holds_unless_the_time_is_too_short() {
        let times = told_over_time(100, 400, &terms(60_000, 40), 7);
        let (last_ms, _) = *times.last().unwrap();
        assert!((9_500..=10_000).contains(&last_ms), "{last_ms}");
        let times = told_over_time(100, 400, &terms(10_000, 4), 7);
        let (last_ms, _) = *times.last().unwrap();
        assert!((6_500..=7_000).contains(&last_ms), "{last_ms}");
    }
}
