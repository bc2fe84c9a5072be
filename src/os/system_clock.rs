//! The system's clocks. Only this file reads them.

use std::time::{Instant, SystemTime};

use crate::timer::{Clock, Millis, WallTime};

/// Measures the time since it was started, and tells the date.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts a clock at 0.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(self.micros() / 1000)
    }

    fn wall_now(&self) -> WallTime {
        WallTime(unix_us() / 1000)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wall_at(&self, moment_us: u64) -> WallTime {
        let read = || {
            let (before, wall, after) = (self.micros(), unix_us(), self.micros());
            (after - before, wall.saturating_sub(after.saturating_sub(moment_us)))
        };
        // The thread may be interrupted between the two clocks: the closest pair of a few is taken.
        let mut best = read();
        for _ in 1..READINGS_MAX {
            if best.0 <= CLOSE_US {
                break;
            }
            best = best.min(read());
        }
        WallTime(best.1 / 1000)
    }
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn unix_us() -> u64 {
    // A clock that is set before 1970 is wrong; then everything that expires has not yet.
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Readings of both clocks at most, of which one counts.
const READINGS_MAX: usize = 4;
/// Microseconds within which two clocks that are read show one moment.
const CLOSE_US: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_knows_the_century() {
        let now = SystemClock::start().wall_now();
        let (year_2020, year_2200) = (WallTime(1_577_836_800_000), WallTime(7_258_118_400_000));
        assert!(year_2020 < now && now < year_2200, "{now:?}");
    }

    #[test]
    fn the_date_of_a_moment_is_the_same_later() {
        let clock = SystemClock::start();
        let moment = clock.micros();
        let date = clock.wall_at(moment).0;
        while clock.micros() < moment + 20_000 {}
        assert!(clock.wall_at(moment).0.abs_diff(date) <= 1);
        assert!((clock.wall_at(moment + 10_000).0).abs_diff(date + 10) <= 1);
    }
}
