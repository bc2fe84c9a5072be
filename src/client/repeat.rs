//! A message that is sent at once and then again and again.

use std::time::Duration;

use crate::timer::Millis;

/// When the message is due next.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    text: String,
    interval_ms: u64,
    next: Millis,
}

impl Repeat {
    /// A message that is due `now` for the first time.
    pub(super) fn starting(now: Millis, text: String, interval: Duration) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { text, interval_ms, next: now }
    }

    /// When it is due.
    pub(super) fn next(&self) -> Millis {
        self.next
    }

    /// The message if it is due: after that in the next interval. What was missed stays out.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<&str> {
        if now < self.next {
            return None;
        }
        let in_step = self.next.plus(self.interval_ms);
        self.next = if in_step > now { in_step } else { now.plus(self.interval_ms) };
        Some(&self.text)
    }
}

/// Reads `500ms`, `6s`, `2m` and the like.
///
/// # Errors
/// If it is not a duration, or none that makes sense between messages.
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
    fn it_is_due_at_once_and_then_in_step() {
        let mut repeat = Repeat::starting(Millis(1000), "hi".to_owned(), Duration::from_secs(6));
        assert_eq!(repeat.take_due(Millis(1000)), Some("hi"));
        assert_eq!(repeat.next(), Millis(7000));
        assert_eq!(repeat.take_due(Millis(6999)), None);
        assert_eq!(repeat.take_due(Millis(7010)), Some("hi"));
        assert_eq!(repeat.next(), Millis(13_000), "late once, but not later and later");
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let mut repeat = Repeat::starting(Millis(0), "hi".to_owned(), Duration::from_secs(6));
        assert_eq!(repeat.take_due(Millis(60_500)), Some("hi"));
        assert_eq!(repeat.next(), Millis(66_500));
        assert_eq!(repeat.take_due(Millis(60_501)), None);
    }

    #[test]
    fn intervals_are_written_as_people_do() {
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
