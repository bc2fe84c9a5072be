//! Waiting for conditions, with a timeout that only a fault reaches.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The timeout of everything that should take milliseconds, long enough for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The time, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "tests of real time need the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Polls `check` until it returns a value. Panics after [`TIMEOUT`].
pub(crate) fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually(check).unwrap_or_else(|| panic!("waited {TIMEOUT:?} in vain: {what}"))
}

/// As [`until`], but returns `None` after [`TIMEOUT`].
pub(crate) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let started = now();
    loop {
        let answer = check();
        if answer.is_some() || started.elapsed() >= TIMEOUT {
            return answer;
        }
        pass(POLL_INTERVAL);
    }
}

/// Blocks for `duration`: to measure what the gateway does in it, never to wait for a condition.
pub(crate) fn pass(duration: Duration) {
    let (_keeps_the_channel_open, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(duration), Err(mpsc::RecvTimeoutError::Timeout));
}

const POLL_INTERVAL: Duration = Duration::from_millis(5);
