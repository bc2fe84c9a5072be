//! Bytes and seconds as reports show them: rounded for people, exact in JSON.

use std::fmt;
use std::time::Duration;

use indicatif::BinaryBytes;
use serde::{Serialize, Serializer};

/// A number of bytes, shown in a unit that fits it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BinaryBytes(self.0).to_string())
    }
}

/// A difference of bytes, always shown with its sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth(pub(crate) i64);

impl fmt::Display for Growth {
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

/// A day; and far from the end of the clock's range.
const SECONDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_must_make_sense() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for seconds in ["", "-1", "NaN", "inf", "1e9", "ten"] {
            assert!(parse_seconds(seconds).is_err(), "{seconds:?}");
        }
    }
}
