//! The only file that reads the system clock or puts the thread to sleep.
#![expect(
    clippy::disallowed_methods,
    reason = "a load generator measures real time; it enters through this file alone"
)]

use std::thread;
use std::time::{Duration, Instant};

/// The monotonic time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sleeps. Only for waits in which no connection needs to be served.
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
