//! How long clients were without service.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output::units::Seconds;

/// The times in which clients were shut out, from the end of their service to its return.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(in crate::commands::attack) struct Absences {
    count: u64,
    #[serde(rename = "longest_seconds")]
    longest: Seconds,
    /// Those who were without service when the run ended.
    unended: u64,
}

impl Absences {
    /// Counts an absence whose end has come.
    pub(super) fn record(&mut self, since: Instant, now: Instant) {
        self.count += 1;
        self.lengthen(now.saturating_duration_since(since));
    }

    /// Counts an absence that lasts.
    pub(super) fn record_unended(&mut self, since: Instant, now: Instant) {
        self.record(since, now);
        self.unended += 1;
    }

    pub(in crate::commands::attack) fn describe(&self) -> String {
        let Self { count, longest, unended } = self;
        match count {
            0 => "never".to_owned(),
            _ => format!("{count} times, at most for {longest}; {unended} until the end"),
        }
    }

    fn lengthen(&mut self, absence: Duration) {
        if absence > self.longest.0 {
            self.longest = Seconds(absence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock;

    #[test]
    fn the_longest_absence_is_kept() {
        let now = clock::now();
        let mut absences = Absences::default();
        assert_eq!(absences.describe(), "never");
        absences.record(now, now + Duration::from_secs(2));
        absences.record_unended(now, now + Duration::from_secs(1));
        assert_eq!(absences.describe(), "2 times, at most for 2.00 s; 1 until the end");
    }
}
