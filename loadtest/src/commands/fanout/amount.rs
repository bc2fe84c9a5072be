//! How much is published: a number of publications, or for how long.

use std::str::FromStr;
use std::time::Duration;

use crate::output::units::parse_seconds;

/// An amount of publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Publications(usize),
    Time(Duration),
}

impl Amount {
    /// The number of steps of a progress bar.
    pub(super) fn steps(self) -> usize {
        match self {
            Self::Publications(count) => count,
            Self::Time(time) => millis(time),
        }
    }

    /// The steps that are left after `sent` publications in the time `passed`.
    pub(super) fn left(self, sent: usize, passed: Duration) -> usize {
        self.steps().saturating_sub(match self {
            Self::Publications(_) => sent,
            Self::Time(_) => millis(passed),
        })
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(amount: &str) -> Result<Self, String> {
        if let Some(seconds) = amount.strip_suffix('s') {
            return parse_seconds(seconds).map(Self::Time);
        }
        let count = amount.parse().map_err(|_| "must be a number, or seconds as in `2s`")?;
        Ok(Self::Publications(count))
    }
}

fn millis(time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_counts_or_times() {
        let second = Duration::from_secs(1);
        assert_eq!("0".parse(), Ok(Amount::Publications(0)));
        assert_eq!("1.5s".parse(), Ok(Amount::Time(second * 3 / 2)));
        for amount in ["", "s", "-1", "2m"] {
            assert!(amount.parse::<Amount>().is_err(), "{amount:?}");
        }
        assert_eq!(Amount::Publications(10).left(7, second), 3);
        assert_eq!(Amount::Time(second).left(7, second / 4), 750);
        assert_eq!(Amount::Time(second).left(7, second * 2), 0);
    }
}
