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

    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn wall_now(&self) -> WallTime {
        // A clock that is set before 1970 is wrong; then everything that expires has not yet.
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        WallTime(since_1970.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_knows_the_century() {
        let now = SystemClock::start().wall_now();
        let (year_2020, year_2200) = (WallTime(1_577_836_800_000), WallTime(7_258_118_400_000));
        assert!(year_2020 < now && now < year_2200, "{now:?}");
    }
}
