//! How long something took, counted in steps that double.

use super::Counter;

/// Durations by power of two, from 1 µs to about 8 s. One thread writes it, anyone may read it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The number at place `n` counts durations of less than 2ⁿ µs, and at least half of that.
    steps: [Counter; STEPS],
}

impl Histogram {
    /// Counts one.
    pub fn add(&self, micros: u64) {
        let step = (u64::BITS - micros.leading_zeros()) as usize;
        self.steps[step.min(STEPS - 1)].add(1);
    }

    /// Microseconds within which so many in a thousand were done; `None` if there were none.
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

const STEPS: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin sorts them all.
        #[test]
        fn a_share_is_done_within_the_next_power_of_two(
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
    fn nothing_took_no_time() {
        assert_eq!(Histogram::default().within(500), None);
    }

    #[test]
    fn what_takes_for_ever_is_in_the_last_step() {
        let histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.within(1000), Some(1 << (STEPS - 1)));
    }
}
