//! The progress of a connection: since when it owes an answer.

use tokio::time::Instant;

/// What was written to a connection and answered on it. Redis answers in the order of the requests
/// (<https://redis.io/docs/latest/develop/using-commands/pipelining/>), so two numbers tell.
#[derive(Debug)]
pub(super) struct Progress {
    written: u64,
    answered: u64,
    /// The last answer, or the first request that was written after all were answered.
    since: Instant,
}

impl Progress {
    /// That of a new connection.
    pub(super) fn new(now: Instant) -> Self {
        Self { written: 0, answered: 0, since: now }
    }

    /// A request is written; returns its number.
    pub(super) fn write(&mut self, now: Instant) -> u64 {
        if self.written == self.answered {
            self.since = now;
        }
        self.written += 1;
        self.written
    }

    /// The request with this number is answered, and with it all before it.
    pub(super) fn answer(&mut self, number: u64, now: Instant) {
        self.answered = self.answered.max(number);
        self.since = now;
    }

    /// Since when the oldest request without an answer has been the next to be answered. Without one
    /// it is the time of the last answer.
    pub(super) fn waiting_since(&self) -> Instant {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a queue of the requests with the times at which they were written.
        #[test]
        fn a_connection_waits_since_its_last_answer_or_its_oldest_request(
            steps in prop::collection::vec((any::<bool>(), 0_u64..1000), 1..60),
        ) {
            let mut now = Instant::now();
            let mut progress = Progress::new(now);
            let (mut open, mut last_answer) = (VecDeque::new(), now);
            for (is_answer, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                if !is_answer {
                    open.push_back((progress.write(now), now));
                } else if let Some((number, _)) = open.pop_front() {
                    progress.answer(number, now);
                    last_answer = now;
                }
                if let Some((_, written)) = open.front() {
                    prop_assert_eq!(progress.waiting_since(), last_answer.max(*written));
                }
            }
        }
    }

    #[test]
    fn an_answer_stands_for_the_requests_before_it() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut progress = Progress::new(start);
        progress.write(start);
        let last = progress.write(start + second);
        progress.answer(last, start + second * 2);
        progress.write(start + second * 9);
        assert_eq!(progress.waiting_since(), start + second * 9);
        // Tasks may see their answers in another order.
        progress.answer(1, start + second * 10);
        assert_eq!(progress.waiting_since(), start + second * 10);
    }
}
