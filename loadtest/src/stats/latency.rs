//! Counts every latency, in an HDR histogram of three significant digits.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The latencies of one kind of event.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    nanoseconds: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let nanoseconds = Histogram::new_with_bounds(1, NANOSECONDS_MAX, SIGNIFICANT_DIGITS)
            .unwrap_or_else(|error| unreachable!("the bounds are sound: {error}"));
        Self { nanoseconds }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.saturating_record(nanoseconds);
    }

    /// Records the latency of a message of a client that sends one every `interval`, and those of the
    /// messages that it could not send meanwhile, each shorter than the one before by `interval`.
    pub(crate) fn record_with_due(&mut self, latency: Duration, interval: Duration) {
        let nanoseconds = |duration: Duration| {
            u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(NANOSECONDS_MAX)
        };
        let recorded = self.nanoseconds.record_correct(nanoseconds(latency), nanoseconds(interval));
        debug_assert!(recorded.is_ok(), "the value is within the bounds");
    }

    pub(crate) fn clear(&mut self) {
        self.nanoseconds.reset();
    }

    pub(crate) fn count(&self) -> u64 {
        self.nanoseconds.len()
    }

    /// `None` if there is no latency.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        if self.nanoseconds.is_empty() {
            return None;
        }
        let at = |quantile| Micros::from(self.nanoseconds.value_at_quantile(quantile));
        Some(LatencySummary {
            count: self.nanoseconds.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: Micros::from(self.nanoseconds.max()),
        })
    }
}

/// The latencies in a report: quantiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    #[serde(rename = "p50_us")]
    pub(crate) p50: Micros,
    #[serde(rename = "p90_us")]
    pub(crate) p90: Micros,
    #[serde(rename = "p99_us")]
    pub(crate) p99: Micros,
    #[serde(rename = "p99_9_us")]
    pub(crate) p99_9: Micros,
    #[serde(rename = "max_us")]
    pub(crate) max: Micros,
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p99_9, max, .. } = self;
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}")
    }
}

/// A number of microseconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Micros(pub(crate) f64);

impl From<u64> for Micros {
    fn from(nanoseconds: u64) -> Self {
        Self(nanoseconds as f64 / 1e3)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros < 100.0 => write!(f, "{micros:.1} µs"),
            micros if micros < 1e3 => write!(f, "{micros:.0} µs"),
            micros if micros < 1e5 => write!(f, "{:.2} ms", micros / 1e3),
            micros if micros < 1e6 => write!(f, "{:.0} ms", micros / 1e3),
            micros => write!(f, "{:.2} s", micros / 1e6),
        }
    }
}

/// An hour, far longer than any timeout. Longer latencies count as an hour.
const NANOSECONDS_MAX: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.summary(), None);
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 1000);
        for (found, millis) in [
            (summary.p50, 500.0),
            (summary.p90, 900.0),
            (summary.p99, 990.0),
            (summary.p99_9, 999.0),
            (summary.max, 1000.0),
        ] {
            assert!((found.0 / 1e3 / millis - 1.0).abs() < 1e-3, "{found} is not {millis} ms");
        }
        latencies.clear();
        assert_eq!(latencies.summary(), None);
    }

    #[test]
    fn a_stall_counts_for_the_messages_that_it_held_up() {
        let mut latencies = Latencies::new();
        latencies.record_with_due(Duration::from_millis(5), Duration::from_millis(10));
        latencies.record_with_due(Duration::from_secs(1), Duration::from_millis(10));
        // 1 s, 990 ms, …, 10 ms.
        assert_eq!(latencies.count(), 1 + 100);
    }

    #[test]
    fn latencies_are_shown_with_three_digits() {
        let texts = [
            (12_345, "12.3 µs"),
            (123_456, "123 µs"),
            (1_234_567, "1.23 ms"),
            (123_456_789, "123 ms"),
            (1_234_567_890, "1.23 s"),
        ];
        for (nanoseconds, text) in texts {
            assert_eq!(Micros::from(nanoseconds).to_string(), text);
        }
    }
}
