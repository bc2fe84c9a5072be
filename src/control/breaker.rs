//! The breaker: a backend that fails again and again is left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

/// Counts failures in a row, and says whether the backend is asked.
#[derive(Debug)]
pub(in crate::control) struct Breaker {
    failures_max: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The backend is asked. It has failed since its last answer, fewer than `failures_max` times.
    Closed { failures: u32 },
    /// The backend is left alone until then.
    Open { until: Instant, pause: Duration },
    /// One request tries whether it answers again.
    Trying { pause: Duration },
}

impl Breaker {
    /// Opens after this many failures in a row.
    pub(in crate::control) fn new(failures_max: u32) -> Self {
        Self { failures_max, state: State::Closed { failures: 0 } }
    }

    /// Whether a request may be made now. One that may is followed by one of the methods below.
    pub(in crate::control) fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, pause } if until <= now => {
                self.state = State::Trying { pause };
                true
            }
            State::Open { .. } | State::Trying { .. } => false,
        }
    }

    /// Whether a request that tries would be let through now.
    pub(in crate::control) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { until, .. } if until <= now)
    }

    /// Whether the backend is asked at present.
    pub(in crate::control) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The backend has answered. Whether it was left alone before.
    pub(in crate::control) fn answered(&mut self) -> bool {
        let was_closed = self.is_closed();
        self.state = State::Closed { failures: 0 };
        !was_closed
    }

    /// The backend has failed, or has not answered in time. How long it is left alone, if it is.
    pub(in crate::control) fn failed(&mut self, now: Instant) -> Option<Duration> {
        let pause = match self.state {
            State::Closed { failures } if failures + 1 < self.failures_max => {
                self.state = State::Closed { failures: failures + 1 };
                return None;
            }
            State::Closed { .. } => PAUSE_MIN,
            State::Trying { pause } => (pause * 2).min(PAUSE_MAX),
            // Requests that were under way when it opened say nothing new.
            State::Open { .. } => return None,
        };
        self.state = State::Open { until: now + pause, pause };
        Some(pause)
    }

    /// The request was given up before it was known whether the backend answers.
    pub(in crate::control) fn abandoned(&mut self, now: Instant) {
        if let State::Trying { pause } = self.state {
            self.state = State::Open { until: now, pause };
        }
    }
}

/// How long a backend is left alone at first; twice as long after each try in vain.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_backend_that_fails_is_left_alone_and_tried_once_at_a_time() {
        let start = Instant::now();
        let mut breaker = Breaker::new(3);
        for expected in [None, None, Some(PAUSE_MIN)] {
            assert!(breaker.admits(start));
            assert_eq!(breaker.failed(start), expected);
        }
        assert!(!breaker.admits(start));
        let mut now = start + PAUSE_MIN;
        assert!(breaker.admits(now));
        assert!(!breaker.admits(now), "one request tries");
        assert_eq!(breaker.failed(now), Some(PAUSE_MIN * 2));
        now += PAUSE_MIN * 2;
        assert!(breaker.admits(now));
        breaker.abandoned(now);
        assert!(breaker.admits(now), "another one tries instead");
        assert!(breaker.answered());
        assert!(!breaker.answered());
        assert!(breaker.is_closed());
    }

    proptest! {
        /// However requests end, the backend is asked again within the longest pause, and never by two
        /// requests at once while it is not known to answer.
        #[test]
        fn a_backend_is_never_given_up(
            steps in prop::collection::vec((0_u8..4, 0_u64..40_000), 1..100),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(2);
            let mut trying = 0;
            for (end, ms) in steps {
                now += Duration::from_millis(ms);
                let was_closed = breaker.is_closed();
                if breaker.admits(now) && !was_closed {
                    trying += 1;
                }
                prop_assert!(trying <= 1);
                match end {
                    0 => _ = breaker.answered(),
                    1 => _ = breaker.failed(now),
                    2 => breaker.abandoned(now),
                    _ => continue,
                }
                trying = 0;
            }
            breaker.abandoned(now);
            prop_assert!(breaker.admits(now + PAUSE_MAX));
        }
    }
}
