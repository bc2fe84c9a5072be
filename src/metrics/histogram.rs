//! A histogram of durations, in steps that double.

use super::Counter;

/// Durations by power of two, from 1 µs to about 8 s. One thread writes it, any thread may read it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Step `n` counts durations below 2ⁿ µs that are at least half of that.
    steps: [Counter; STEPS],
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&self, micros: u64) {
        let step = (u64::BITS - micros.leading_zeros()) as usize;
        self.steps[step.min(STEPS - 1)].add(1);
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
