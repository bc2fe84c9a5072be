//! A histogram of durations, in steps that double.

use super::Counter;

/// Durations by power of two, from 1 µs to about 8 s. One thread writes it, any thread may read it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Step `n` counts durations below 2ⁿ µs that are at least half of that.
    steps: [Counter; STEPS],
    sum_us: Counter,
}

/// The durations of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Each of them is shorter than this, in microseconds; `None` for the step of the longest.
    pub below_us: Option<u64>,
    /// How many there are in this step alone.
    pub count: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&self, micros: u64) {
        let step = (u64::BITS - micros.leading_zeros()) as usize;
        self.steps[step.min(STEPS - 1)].add(1);
        self.sum_us.add(micros);
    }

    /// The steps, from the shortest durations to the longest. A duration that is counted meanwhile may
    /// be in them or not.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.steps.iter().enumerate().map(|(step, count)| {
            let below_us = (step < STEPS - 1).then_some(1 << step);
            Bucket { below_us, count: count.value() }
        })
    }

    /// All durations together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.value()
    }

    /// The upper bound in microseconds of the fastest `per_thousand` thousandths of all durations;
    /// `None` if none was counted.
    #[must_use]
    pub fn within(&self, per_thousand: u64) -> Option<u64> {
        let total: u64 = self.steps.iter().map(Counter::value).sum();
        let wanted = (total * per_thousand).div_ceil(1000);
        let mut counted = 0;
        let step = self.steps.iter().position(|step| {
            counted += step.value();
            counted > 0 && counted >= wanted
        })?;
        Some(1 << step)
    }
}

/// The last step counts everything from 2²² µs, about 4 s.
const STEPS: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin sorts them all.
        #[test]
        fn a_share_is_within_the_next_power_of_two(
            mut micros in prop::collection::vec(0..5_000_000u64, 1..100),
            per_thousand in 0..=1000u64,
        ) {
            let histogram = Histogram::default();
            micros.iter().for_each(|one| histogram.add(*one));
            micros.sort_unstable();
            let count = micros.len() as u64;
            let rank = (count * per_thousand).div_ceil(1000).max(1) - 1;
            let exact = micros[usize::try_from(rank).unwrap()];
            let found = histogram.within(per_thousand).unwrap();
            prop_assert!(exact < found && found <= (exact * 2).max(1), "{exact} {found}");
        }
    }

    proptest! {
        #[test]
        fn buckets_hold_every_duration_once(
            micros in prop::collection::vec(0..20_000_000u64, 0..100),
        ) {
            let histogram = Histogram::default();
            micros.iter().for_each(|one| histogram.add(*one));
            prop_assert_eq!(histogram.sum_us(), micros.iter().sum::<u64>());
            let mut from = 0;
            for Bucket { below_us, count } in histogram.buckets() {
                let end = below_us.unwrap_or(u64::MAX);
                let naive = micros.iter().filter(|one| (from..end).contains(*one)).count();
                prop_assert_eq!(count, naive as u64, "{} to {}", from, end);
                from = end;
            }
            prop_assert_eq!(from, u64::MAX);
        }
    }

    #[test]
    fn an_empty_histogram_gives_none() {
        assert_eq!(Histogram::default().within(500), None);
    }

    #[test]
    fn the_longest_durations_are_in_the_last_step() {
        let histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.within(1000), Some(1 << (STEPS - 1)));
    }
}
