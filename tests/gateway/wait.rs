//! Waiting for conditions, with deadlines that only a fault reaches.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long to wait for something that should be there at once. Slow machines need some of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The time, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "tests of real time need the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until `check` has an answer, and gives it.
pub(crate) fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually(check).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// The same, but `None` once patience is at its end.
pub(crate) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let started = now();
    loop {
        let answer = check();
        if answer.is_some() || started.elapsed() >= PATIENCE {
            return answer;
        }
        pass(POLL_INTERVAL);
    }
}

/// Lets time pass: to measure what the gateway does in it, never to wait for something.
pub(crate) fn pass(duration: Duration) {
    let (_keeps_the_channel_open, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(duration), Err(mpsc::RecvTimeoutError::Timeout));
}

const POLL_INTERVAL: Duration = Duration::from_millis(5);
