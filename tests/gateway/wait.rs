//! Waiting for conditions, with a timeout that only a fault reaches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long one step, which should take milliseconds, may be without progress. Steps that follow each
/// other have it each: what a test does in total may take as long as the machine needs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// A time in the configuration that no test reaches: what ends without it has not waited for it.
pub(crate) const NEVER_MS: u64 = 3_600_000;

/// The time, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "tests of real time need the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Polls `check` until it returns a value. Panics after [`TIMEOUT`] and at least [`POLLS_MIN`] polls.
pub(crate) fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually(check).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// As [`until`], but returns `None` in the end.
pub(crate) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = now();
    // Both count. Where the test itself gets no processor time, neither does what it waits for; and a check may
    // be slow, as one that asks a browser, or a gateway for its counters, so that many of them take hours.
    for poll in 0_u32.. {
        let answer = check();
        if answer.is_some() || (poll >= POLLS_MIN && begun.elapsed() >= TIMEOUT) {
            return answer;
        }
        pass(POLL_INTERVAL);
    }
    unreachable!("the time ends before the numbers")
}

/// Blocks for `duration`: to measure what the gateway does in it, never to wait for a condition.
pub(crate) fn pass(duration: Duration) {
    let (_keeps_the_channel_open, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(duration), Err(mpsc::RecvTimeoutError::Timeout));
}

/// Sets a flag at its end, also where that is the failure of a test: threads that go on until then would keep
/// the test from ending.
#[derive(Debug)]
pub(crate) struct SetAtEnd<'f>(pub(crate) &'f AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// So many take 5 s where the machine has time for them.
const POLLS_MIN: u32 = 1000;
