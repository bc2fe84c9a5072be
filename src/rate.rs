//! Rates: how much is let through in a time, computed from the clock when it is asked for.
//!
//! A bucket holds what was let through and has not drained since. It is a number that its owner keeps,
//! beside the moment for which it holds; no timer drains it. This is the algorithm of the leaky bucket
//! as a meter, which for packets of one size is that of ITU-T I.371 (GCRA).

use crate::timer::Millis;

/// So much a second on average, and so much at once. Both are at least 1; less counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units that drain in a second.
    pub per_s: u32,
    /// Units that a bucket holds. Whatever comes is let through while it is not full, so it may come to
    /// hold more by one piece.
    pub burst: u32,
}

impl Rate {
    /// Units that drain between two moments. What drains over two spans that follow each other is what
    /// drains over both, so nothing is lost by looking often.
    #[must_use]
    pub fn drained(self, from: Millis, to: Millis) -> u64 {
        self.drained_until(to).saturating_sub(self.drained_until(from))
    }

    /// Units that may be let through at once into a bucket that holds `level`.
    #[must_use]
    pub fn room(self, level: u64) -> u64 {
        u64::from(self.burst.max(1)).saturating_sub(level)
    }

    /// The first moment from `now` on at which a bucket that holds `level` now is not full.
    #[must_use]
    pub fn room_at(self, level: u64, now: Millis) -> Millis {
        let burst = u64::from(self.burst.max(1));
        if level < burst {
            return now;
        }
        let per_s = self.per_s();
        let drained = self.drained_until(now).saturating_add(level - burst + 1);
        let part_ms = (drained % per_s * 1000).div_ceil(per_s);
        Millis((drained / per_s).saturating_mul(1000)).plus(part_ms)
    }

    /// Units that drain from the clock's start until a moment.
    fn drained_until(self, at: Millis) -> u64 {
        let per_s = self.per_s();
        (at.0 / 1000).saturating_mul(per_s).saturating_add(at.0 % 1000 * per_s / 1000)
    }

    fn per_s(self) -> u64 {
        u64::from(self.per_s.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same with a timer: units drain one by one, at the moments at which they are due.
    struct Naive {
        rate: Rate,
        level: u64,
        now: u64,
    }

    impl Naive {
        /// Lets milliseconds pass, one after the other.
        fn pass(&mut self, ms: u64) {
            for _ in 0..ms {
                self.now += 1;
                let per_s = u64::from(self.rate.per_s);
                let before = (self.now - 1) * per_s / 1000;
                for _ in before..self.now * per_s / 1000 {
                    self.level = self.level.saturating_sub(1);
                }
            }
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        let per_s = prop_oneof![1..20u32, 1..3000u32];
        (per_s, 1..50u32).prop_map(|(per_s, burst)| Rate { per_s, burst })
    }

    proptest! {
        /// The bucket that drains when it is looked at is the one that a timer drains.
        #[test]
        fn a_bucket_drains_as_by_a_timer(
            rate in rates(),
            start in 0..100_000u64,
            pieces in prop::collection::vec((0..400u64, 1..30u64), 1..60),
        ) {
            let mut naive = Naive { rate, level: 0, now: start };
            let (mut level, mut at) = (0u64, Millis(start));
            for (ms, units) in pieces {
                naive.pass(ms);
                let now = at.plus(ms);
                level = level.saturating_sub(rate.drained(at, now));
                at = now;
                prop_assert_eq!(level, naive.level);
                if rate.room(level) > 0 {
                    level += units;
                    naive.level += units;
                }
                let room_at = rate.room_at(level, at);
                let mut later = Naive { rate, ..naive };
                while later.level >= u64::from(rate.burst) {
                    later.pass(1);
                }
                prop_assert_eq!(room_at, Millis(later.now));
            }
        }

        /// Over any time no more is let through than the burst and what drains, but for one piece.
        #[test]
        fn no_more_is_let_through_than_the_rate(
            rate in rates(),
            pieces in prop::collection::vec((0..200u64, 1..20u64), 1..200),
        ) {
            let (mut level, mut at, mut taken) = (0u64, Millis(0), 0u64);
            for (ms, units) in pieces {
                let now = at.plus(ms);
                level = level.saturating_sub(rate.drained(at, now));
                at = now;
                if rate.room(level) > 0 {
                    level += units;
                    taken += units;
                }
            }
            let most = u64::from(rate.burst) + at.0 * u64::from(rate.per_s) / 1000 + 20;
            prop_assert!(taken <= most, "{taken} of {most}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let rate = Rate { per_s: u32::MAX, burst: u32::MAX };
        assert!(rate.drained(Millis(0), Millis(u64::MAX)) > 0);
        assert!(rate.room_at(u64::MAX, Millis(u64::MAX)) > Millis(0));
        let none = Rate { per_s: 0, burst: 0 };
        assert_eq!((none.room(0), none.room_at(1, Millis(0))), (1, Millis(1000)));
    }
}
