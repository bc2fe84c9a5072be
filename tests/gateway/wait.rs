//! Waiting for conditions, with a timeout that only a fault reaches.

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

/// Polls `check` until it returns a value. Panics after as many polls as [`TIMEOUT`] has intervals.
pub(crate) fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually(check).unwrap_or_else(|| panic!("polled {POLLS_MAX} times in vain: {what}"))
}

/// As [`until`], but returns `None` in the end.
pub(crate) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    // Polls are counted, not seconds: where the test itself gets no processor time, neither does what it
    // waits for, and a check may be slow.
    for _ in 0..POLLS_MAX {
        let answer = check();
        if answer.is_some() {
            return answer;
        }
        pass(POLL_INTERVAL);
    }
    check()
}

/// Blocks for `duration`: to measure what the gateway does in it, never to wait for a condition.
pub(crate) fn pass(duration: Duration) {
    let (_keeps_the_channel_open, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(duration), Err(mpsc::RecvTimeoutError::Timeout));
}

const POLL_INTERVAL: Duration = Duration::from_millis(5);
const POLLS_MAX: u128 = TIMEOUT.as_millis() / POLL_INTERVAL.as_millis();
