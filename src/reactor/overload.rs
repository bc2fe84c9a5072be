//! Whether newcomers are refused because there is too little of something, so that those who are there are
//! served on.
//!
//! Memory and descriptors are of the process: another thread looks at them now and then, and sets marks
//! that every loop reads beside an accept. How far a loop is behind, and how many it accepts, is its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::metrics::{Counter, Counters};
use crate::timer::Millis;

/// What there may be too little of in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Descriptors.
    Descriptors,
    /// Memory of the process, or of the group of processes that it is in.
    Memory,
    /// Bytes of the pool.
    Pool,
}

impl Shortage {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Descriptors, Self::Memory, Self::Pool];

    const fn bit(self) -> u8 {
        match self {
            Self::Descriptors => 1,
            Self::Memory => 2,
            Self::Pool => 4,
        }
    }

    fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Descriptors => &counters.shed_descriptors,
            Self::Memory => &counters.shed_memory,
            Self::Pool => &counters.shed_pool,
        }
    }
}

/// What there is too little of now. Clones are the same marks.
#[derive(Clone, Debug, Default)]
pub struct OverloadMarks(Arc<AtomicU8>);

impl OverloadMarks {
    /// From now on there is too little of these, and of nothing else.
    pub fn set(&self, shortages: impl IntoIterator<Item = Shortage>) {
        let bits = shortages.into_iter().fold(0, |bits, own| bits | own.bit());
        // Relaxed: the marks guard no other memory, and are seen soon enough.
        self.0.store(bits, Ordering::Relaxed);
    }

    /// What there is too little of.
    pub fn iter(&self) -> impl Iterator<Item = Shortage> + use<> {
        let bits = self.0.load(Ordering::Relaxed);
        Shortage::ALL.into_iter().filter(move |own| bits & own.bit() != 0)
    }
}

/// When a loop refuses newcomers.
#[derive(Clone, Debug, Default)]
pub struct OverloadSettings {
    /// The shortages of the process.
    pub marks: OverloadMarks,
    /// A turn that begins so late, or lasts so long, has newcomers refused for a second; 0 for none.
    pub lag_ms: u64,
    /// Connections that this loop accepts in a second; 0 for any number.
    pub accepts_per_s: u32,
}

impl OverloadSettings {
    fn lag_us(&self) -> u64 {
        match self.lag_ms {
            0 => u64::MAX,
            lag_ms => lag_ms.saturating_mul(1000),
        }
    }
}

/// What one loop goes by.
#[derive(Debug)]
pub(super) struct Shedder {
    settings: OverloadSettings,
    /// As `settings.lag_ms`, in microseconds; the highest number for none.
    lag_us: u64,
    /// Until when newcomers are refused because the loop was behind.
    behind_until: Millis,
    rate: AcceptRate,
}

impl Shedder {
    pub(super) fn new(settings: OverloadSettings) -> Self {
        let rate = AcceptRate::new(settings.accepts_per_s);
        Self { lag_us: settings.lag_us(), settings, behind_until: Millis(0), rate }
    }

    /// Goes by other settings.
    pub(super) fn reload(&mut self, settings: OverloadSettings) {
        if settings.accepts_per_s != self.settings.accepts_per_s {
            self.rate = AcceptRate::new(settings.accepts_per_s);
        }
        self.lag_us = settings.lag_us();
        self.settings = settings;
    }

    /// A turn began by this number of microseconds too late, or lasted as long.
    #[inline]
    pub(super) fn note_lag(&mut self, lag_us: u64, now: Millis) {
        if lag_us >= self.lag_us {
            self.behind_until = now.plus(BEHIND_MS);
        }
    }

    /// Whether a newcomer is refused now; then that is counted.
    pub(super) fn sheds(&mut self, now: Millis, counters: &Counters) -> bool {
        let counter = if let Some(shortage) = self.settings.marks.iter().next() {
            shortage.counter(counters)
        } else if now < self.behind_until {
            &counters.shed_lag
        } else if !self.rate.take(now) {
            &counters.shed_rate
        } else {
            return false;
        };
        counter.add(1);
        true
    }

    /// Whether a newcomer would be refused now.
    pub(super) fn is_overloaded(&self, now: Millis) -> bool {
        now < self.behind_until
            || self.settings.marks.iter().next().is_some()
            || !self.rate.has_room(now)
    }
}

/// A rate, kept by the moment at which the next connection would come if all were spread evenly (GCRA).
#[derive(Debug)]
struct AcceptRate {
    /// Microseconds between two connections; 0 for any number.
    interval_us: u64,
    next_us: u64,
}

impl AcceptRate {
    fn new(per_s: u32) -> Self {
        Self { interval_us: 1_000_000_u64.checked_div(per_s.into()).unwrap_or(0), next_us: 0 }
    }

    /// Whether one more may come now; those of a second may come at once.
    fn has_room(&self, now: Millis) -> bool {
        let ahead_us = self.next_us.saturating_sub(now.0.saturating_mul(1000));
        self.interval_us == 0 || ahead_us + self.interval_us <= BURST_US
    }

    /// As [`AcceptRate::has_room`]; then it has come.
    fn take(&mut self, now: Millis) -> bool {
        let has_room = self.has_room(now);
        if has_room && self.interval_us > 0 {
            self.next_us = self.next_us.max(now.0.saturating_mul(1000)) + self.interval_us;
        }
        has_room
    }
}

/// How long newcomers are refused after a turn that was late.
const BEHIND_MS: u64 = 1000;
const BURST_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In no second more than twice the rate, which is its burst and what has come back meanwhile, and
        /// over a long time no more than the rate.
        #[test]
        fn accepts_keep_to_the_rate(
            per_s in 1..2000u32,
            steps in prop::collection::vec((0..400u64, 1..300usize), 1..60),
        ) {
            let mut rate = AcceptRate::new(per_s);
            let (mut now, mut taken) = (Millis(5), Vec::new());
            for (wait, tries) in steps {
                now = now.plus(wait);
                taken.extend((0..tries).filter(|_| rate.take(now)).map(|_| now.0));
            }
            // An interval is a whole number of microseconds, so the rate is a little higher. For all pairs of
            // accepts at once: how far each is ahead of the rate, less the least that one before it was.
            let per_s = f64::from(per_s) * 1.002;
            let mut least = f64::MAX;
            for (count, at) in taken.iter().enumerate() {
                let ahead = count as f64 - per_s * (*at as f64) / 1000.0;
                least = least.min(ahead);
                prop_assert!(ahead - least <= per_s, "{} too many", ahead - least - per_s);
            }
        }
    }

    #[test]
    fn a_second_at_once_and_then_evenly() {
        let mut rate = AcceptRate::new(10);
        let mut taken = |now| (0..100).filter(|_| rate.take(Millis(now))).count();
        assert_eq!(taken(1000), 10);
        assert_eq!(taken(1099), 0);
        assert_eq!(taken(1100), 1);
        assert_eq!(taken(5000), 10);
        assert!((0..10_000).all(|_| AcceptRate::new(0).take(Millis(0))));
    }

    #[test]
    fn newcomers_are_shed_for_one_reason_at_a_time() {
        let counters = Counters::default();
        let marks = OverloadMarks::default();
        let settings = OverloadSettings { marks: marks.clone(), lag_ms: 100, accepts_per_s: 1 };
        let mut shedder = Shedder::new(settings);
        assert!(!shedder.sheds(Millis(0), &counters));
        assert!(shedder.sheds(Millis(0), &counters), "one a second");
        shedder.note_lag(99_999, Millis(2000));
        assert!(!shedder.is_overloaded(Millis(2000)), "a second has passed");
        shedder.note_lag(100_000, Millis(2000));
        assert!(shedder.sheds(Millis(2999), &counters) && !shedder.sheds(Millis(3000), &counters));
        marks.set([Shortage::Pool, Shortage::Memory]);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [Shortage::Memory, Shortage::Pool]);
        assert!(shedder.sheds(Millis(9000), &counters));
        marks.set([]);
        assert!(!shedder.sheds(Millis(9000), &counters), "it is over by itself");
        let count = |counter: &Counter| counter.value();
        let all =
            [&counters.shed_rate, &counters.shed_lag, &counters.shed_memory, &counters.shed_pool];
        assert_eq!(all.map(count), [1, 1, 1, 0]);
    }
}
