//! How old connections are, without a byte in each: they are numbered in the order in which they are
//! accepted, so a few samples of number and time tell when any of them came.

use std::collections::VecDeque;

use crate::timer::Tick;

/// The ages of one loop's connections. Without a maximum age it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// The maximum age; 0 for none.
    age_ms: u64,
    /// The first connection of each span of time, and when the span began.
    samples: VecDeque<(u32, Tick)>,
}

impl Ages {
    /// From now on connections may have this age; 0 is any age. The age of those that are there already,
    /// `latest` the last of them, counts from `now` if none was kept before.
    pub(crate) fn configure(&mut self, age_ms: u64, latest: u32, now: Tick) {
        self.age_ms = age_ms;
        if age_ms == 0 {
            self.samples = VecDeque::new();
        } else if self.samples.is_empty() {
            self.samples.push_back((latest, now));
        }
    }

    /// Notes a connection that was just accepted.
    #[inline]
    pub(crate) fn note(&mut self, generation: u32, now: Tick) {
        if self.age_ms > 0 {
            self.sample(generation, now);
        }
    }

    #[cold]
    fn sample(&mut self, generation: u32, now: Tick) {
        let is_new_span = self
            .samples
            .back()
            .is_none_or(|(_, began)| now.begins().since(began.begins()) >= self.age_ms / SPANS);
        if !is_new_span {
            return;
        }
        // What is older than all that may be left is told by the sample behind it.
        let oldest_ms = self.age_ms + 2 * self.age_ms / JITTER_PART;
        while let Some((_, began)) = self.samples.get(1)
            && now.begins().since(began.begins()) > oldest_ms
        {
            self.samples.pop_front();
        }
        self.samples.push_back((generation, now));
    }

    /// When a connection has reached its age: the configured one, give or take a tenth, for each
    /// connection another, and up to a hundredth less, as spans are that long.
    #[inline]
    pub(crate) fn due(&self, generation: u32) -> Option<Tick> {
        if self.age_ms == 0 { None } else { self.due_of(generation) }
    }

    fn due_of(&self, generation: u32) -> Option<Tick> {
        // Numbers go round after 2^32 connections.
        let is_not_after = |first: u32| generation.wrapping_sub(first) <= u32::MAX / 2;
        let span =
            self.samples.partition_point(|(first, _)| is_not_after(*first)).saturating_sub(1);
        let (_, began) = self.samples.get(span)?;
        let tenth = self.age_ms / JITTER_PART;
        let spread = u64::from(generation.wrapping_mul(0x9E37_79B9)) * (2 * tenth);
        Some(began.after_ms(self.age_ms - tenth + (spread >> u32::BITS)))
    }

    /// Bytes that the samples take.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.samples.capacity() * size_of::<(u32, Tick)>()
    }
}

/// The spans in one age.
const SPANS: u64 = 100;
/// The jitter is this part of the age, in either direction.
const JITTER_PART: u64 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timer::{Millis, TICK_MS};

    proptest! {
        /// At whatever pace connections come, each is due between 89 and 110 % of the age, and what is kept
        /// of all that came is small.
        #[test]
        fn every_connection_is_due_about_its_age(
            age_ms in 1_000..10_000_000u64,
            waits in prop::collection::vec(0..500_000u64, 1..300),
            first in any::<u32>(),
        ) {
            let (mut ages, mut now, mut generation) = (Ages::default(), Millis(5_000), first);
            ages.configure(age_ms, generation, now.tick());
            let mut alive: VecDeque<(u32, Millis)> = VecDeque::new();
            for wait in waits {
                now = now.plus(wait % (age_ms / 3));
                generation = generation.wrapping_add(1);
                ages.note(generation, now.tick());
                alive.push_back((generation, now));
                while alive.front().is_some_and(|(_, born)| now.since(*born) > age_ms * 11 / 10) {
                    alive.pop_front();
                }
                for (generation, born) in &alive {
                    let due = ages.due(*generation).unwrap().begins();
                    prop_assert!(due.0 + TICK_MS >= born.0 + age_ms * 89 / 100, "{due:?} {born:?}");
                    prop_assert!(due.0 <= born.0 + age_ms * 11 / 10 + 3 * TICK_MS);
                }
            }
            prop_assert!(ages.bytes() <= 4096);
        }
    }

    #[test]
    fn those_that_were_there_before_count_from_the_change() {
        let mut ages = Ages::default();
        ages.note(1, Tick(10));
        assert_eq!(ages.due(1), None);
        ages.configure(64_000, 5, Tick(1_000));
        let due = ages.due(1).unwrap();
        assert!((Tick(1_900)..=Tick(2_102)).contains(&due), "{due:?}");
        ages.configure(0, 5, Tick(1_001));
        assert_eq!((ages.due(1), ages.bytes()), (None, 0));
    }

    #[test]
    fn a_crowd_that_came_at_once_goes_one_by_one() {
        let mut ages = Ages::default();
        ages.configure(6_400_000, 0, Tick(0));
        let mut dues: Vec<Tick> =
            (1..=1_000).filter_map(|generation| ages.due(generation)).collect();
        dues.sort_unstable();
        let spread = dues[999].0 - dues[0].0;
        assert!((19_000..=20_001).contains(&spread), "{spread}");
        assert!(dues.windows(2).all(|two| two[1].0 - two[0].0 < 200), "no gap, and so no crowd");
    }
}
