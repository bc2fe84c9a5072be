//! Bytes and seconds as reports show them: rounded in text, exact in JSON.

use std::fmt;
use std::time::Duration;

use indicatif::BinaryBytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, shown in a fitting unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BinaryBytes(self.0).to_string())
    }
}

/// A difference of bytes, always shown with its sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedBytes(pub(crate) i64);

impl fmt::Display for SignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", BinaryBytes(self.0.unsigned_abs()))
    }
}

/// A duration in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.0.as_secs_f64())
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

/// Parses an option in seconds.
pub(crate) fn parse_seconds(seconds: &str) -> Result<Duration, String> {
    let seconds: f64 = seconds.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration > SECONDS_MAX {
        return Err(format!("must be at most {}", SECONDS_MAX.as_secs()));
    }
    Ok(duration)
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(D::Error::custom)
    }
}

/// Bytes as charts and tables show them: three digits and a fitting unit.
pub(crate) fn shown_bytes(bytes: f64) -> String {
    let magnitude = bytes.abs();
    if magnitude < 1000.0 {
        // Adding zero turns a negative zero into a positive one.
        return format!("{:.0} B", bytes.round() + 0.0);
    }
    let (mut value, mut unit) = (bytes / 1024.0, "KiB");
    for larger in ["MiB", "GiB", "TiB"] {
        if value.abs() >= 1000.0 {
            (value, unit) = (value / 1024.0, larger);
        }
    }
    let decimals = if value.abs() < 9.995 {
        2
    } else if value.abs() < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// A day: far from the end of the clock's range.
const SECONDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_finite_nonnegative_numbers() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for seconds in ["", "-1", "NaN", "inf", "1e9", "ten"] {
            assert!(parse_seconds(seconds).is_err(), "{seconds:?}");
        }
    }

    #[test]
    fn bytes_are_shown_with_three_figures() {
        for (bytes, shown) in [
            (0.0, "0 B"),
            (65.5, "66 B"),
            (-12.0, "-12 B"),
            (999.4, "999 B"),
            (1000.0, "0.98 KiB"),
            (2859.0, "2.79 KiB"),
            (18_235.4, "17.8 KiB"),
            (163_131.0, "159 KiB"),
            (155_115_847.0, "148 MiB"),
            (1.5 * 1024.0 * 1024.0 * 1024.0, "1.50 GiB"),
        ] {
            assert_eq!(shown_bytes(bytes), shown);
        }
    }
}
