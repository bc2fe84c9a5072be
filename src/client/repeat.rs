//! The message of `--send`, which is sent at once and then at an interval.

use std::time::Duration;

use crate::timer::Millis;

/// The message and when it is due next.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    text: String,
    interval_ms: u64,
    next: Millis,
}

impl Repeat {
    /// A message that is first due at `now`.
    pub(super) fn starting(now: Millis, text: String, interval: Duration) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { text, interval_ms, next: now }
    }

    /// When the message is due next.
    pub(super) fn next(&self) -> Millis {
        self.next
    }

    /// The message if it is due. Intervals that were missed are skipped, not made up for.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<&str> {
        if now < self.next {
            return None;
        }
        // Multiples of the interval from the start, so that delays do not add up.
        let in_step = self.next.plus(self.interval_ms);
        self.next = if in_step > now { in_step } else { now.plus(self.interval_ms) };
        Some(&self.text)
    }
}

/// Parses `500ms`, `6s`, `2m` and the like.
///
/// # Errors
/// A message if the text is not a duration from 1 ms to 24 h.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be between 1ms and 24h".to_owned())
    }
}

const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_at_once_and_then_at_each_interval() {
        let mut repeat = Repeat::starting(Millis(1000), "hi".to_owned(), Duration::from_secs(6));
        assert_eq!(repeat.take_due(Millis(1000)), Some("hi"));
        assert_eq!(repeat.next(), Millis(7000));
        assert_eq!(repeat.take_due(Millis(6999)), None);
        assert_eq!(repeat.take_due(Millis(7010)), Some("hi"));
        assert_eq!(repeat.next(), Millis(13_000), "late once, but not later and later");
    }

    #[test]
    fn missed_intervals_are_skipped() {
        let mut repeat = Repeat::starting(Millis(0), "hi".to_owned(), Duration::from_secs(6));
        assert_eq!(repeat.take_due(Millis(60_500)), Some("hi"));
        assert_eq!(repeat.next(), Millis(66_500));
        assert_eq!(repeat.take_due(Millis(60_501)), None);
    }

    #[test]
    fn intervals_are_parsed_with_their_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("6s", 6000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m 30s", 90_000),
            ("1ms", 1),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_interval(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "6", "s", "-6s", "six seconds", "6 parsecs", "0s", "999us", "25h"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
