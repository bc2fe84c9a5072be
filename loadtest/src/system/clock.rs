//! The only file that reads the system clock or puts the thread to sleep.
#![expect(
    clippy::disallowed_methods,
    reason = "a load generator measures real time; it enters through this file alone"
)]

use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The monotonic time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The date and time in UTC, to the second.
pub(crate) fn date_and_time() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Sleeps. Only for waits during which no connection needs to be served.
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
