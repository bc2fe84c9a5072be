//! How often something may happen: a token bucket, computed from the clock when it is used.

use crate::timer::Millis;

/// A rate with the burst that it allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// From one event to the next at this rate, in nanoseconds; 0 where any rate is allowed.
    interval_ns: u64,
    /// How long an empty bucket takes to fill, in nanoseconds.
    depth_ns: u64,
}

impl Rate {
    /// `per_s` events per second, and up to `burst` at once after a pause, one at least. With `per_s` 0
    /// any rate is allowed.
    #[must_use]
    pub fn new(per_s: u32, burst: u32) -> Self {
        let interval_ns = NS_PER_S.checked_div(u64::from(per_s)).unwrap_or(0);
        Self { interval_ns, depth_ns: interval_ns * u64::from(burst.max(1)) }
    }

    /// Whether it allows some rates only.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self.interval_ns > 0
    }

    /// A part of it: one of `divisor` events, and of the burst.
    #[must_use]
    pub fn divided_by(self, divisor: u32) -> Self {
        let interval_ns = self.interval_ns * u64::from(divisor.max(1));
        Self { interval_ns, depth_ns: self.depth_ns.max(interval_ns) }
    }
}

/// The tokens that are left at a rate: the generic cell rate algorithm (ITU-T I.371), which needs one
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When it is full again, in nanoseconds of the clock.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token.
    ///
    /// # Errors
    /// In how many nanoseconds there will be one. Nothing is taken.
    pub(super) fn take(&mut self, rate: Rate, now: Millis) -> Result<(), u64> {
        if !rate.is_limited() {
            return Ok(());
        }
        let wait_ns = self.wait_ns(rate, now);
        if wait_ns > 0 {
            return Err(wait_ns);
        }
        self.full_at_ns = self.filling_from(rate, now) + rate.interval_ns;
        Ok(())
    }

    /// Takes a token if there is one: what has happened cannot be refused.
    pub(super) fn spend(&mut self, rate: Rate, now: Millis) {
        // Not beyond an empty bucket, or a flood of events would be remembered for ever.
        let _ = self.take(rate, now);
    }

    /// In how many nanoseconds there will be a token; 0 if there is one.
    pub(super) fn wait_ns(self, rate: Rate, now: Millis) -> u64 {
        let full_at = self.filling_from(rate, now) + rate.interval_ns;
        full_at.saturating_sub(nanoseconds(now) + rate.depth_ns)
    }

    /// When it is full again, so that nothing is left to remember.
    pub(super) fn full_at(self) -> Millis {
        Millis(self.full_at_ns.div_ceil(NS_PER_MS))
    }

    /// When it was full, or will be. Under a rate with a smaller burst than the one before it is never
    /// emptier than empty.
    fn filling_from(self, rate: Rate, now: Millis) -> u64 {
        let now_ns = nanoseconds(now);
        self.full_at_ns.clamp(now_ns, now_ns + rate.depth_ns)
    }
}

fn nanoseconds(now: Millis) -> u64 {
    // 584 years of them fit.
    now.0.saturating_mul(NS_PER_MS)
}

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let rate = Rate::new(100, 4);
        let mut bucket = Bucket::default();
        let passed = |bucket: &mut Bucket, ms| bucket.take(rate, Millis(ms)).is_ok();
        assert_eq!((0..9).filter(|_| passed(&mut bucket, 1000)).count(), 4);
        assert_eq!(bucket.take(rate, Millis(1000)), Err(10_000_000));
        assert!(!passed(&mut bucket, 1009));
        assert!(passed(&mut bucket, 1010) && !passed(&mut bucket, 1010));
        assert_eq!(bucket.full_at(), Millis(1050));
        assert_eq!((0..9).filter(|_| passed(&mut bucket, 5000)).count(), 4);
    }

    #[test]
    fn no_rate_is_any_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..1000 {
            assert_eq!(bucket.take(Rate::new(0, 0), Millis(1)), Ok(()));
        }
        assert_eq!(bucket, Bucket::default());
    }

    #[test]
    fn what_has_happened_empties_a_bucket_and_no_more() {
        let rate = Rate::new(20, 5);
        let mut bucket = Bucket::default();
        for _ in 0..1000 {
            bucket.spend(rate, Millis(0));
        }
        assert_eq!(bucket.wait_ns(rate, Millis(0)), 50_000_000);
        assert_eq!(bucket.wait_ns(rate, Millis(50)), 0);
    }

    #[test]
    fn a_smaller_burst_holds_from_now_on() {
        let mut bucket = Bucket::default();
        for _ in 0..1000 {
            bucket.spend(Rate::new(1, 1000), Millis(0));
        }
        assert_eq!(bucket.wait_ns(Rate::new(10, 2), Millis(0)), 100_000_000);
    }

    proptest! {
        /// The same as a bucket whose tokens are counted one by one, in nanoseconds.
        #[test]
        fn it_is_a_token_bucket(
            per_s in 1_u32..5000,
            burst in 1_u32..50,
            pauses in prop::collection::vec(0_u64..300, 1..200),
        ) {
            let rate = Rate::new(per_s, burst);
            let interval = 1_000_000_000 / u64::from(per_s);
            let depth = interval * u64::from(burst);
            // In nanoseconds of filling, so that parts of tokens count.
            let (mut filled, mut now, mut bucket) = (depth, 0, Bucket::default());
            for pause in pauses {
                now += pause;
                filled = (filled + pause * 1_000_000).min(depth);
                let expected = filled >= interval;
                prop_assert_eq!(bucket.take(rate, Millis(now)).is_ok(), expected);
                if expected {
                    filled -= interval;
                }
            }
        }
    }
}
