//! Counts failures and keeps the reason of the first: the others usually follow from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The failures of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    count: usize,
    first_reason: Option<String>,
}

impl Tally {
    /// Counts a failure. `reason` is called only for the first.
    pub(crate) fn record(&mut self, reason: impl FnOnce() -> String) {
        self.count += 1;
        self.first_reason.get_or_insert_with(reason);
    }

    /// Counts the end of a connection if it is a failure.
    pub(crate) fn record_end(&mut self, serial: u64, outcome: Result<(), impl fmt::Display>) {
        if let Err(failure) = outcome {
            self.record(|| format!("connection {serial}: {failure}"));
        }
    }

    /// Counts the failures of another tally as well.
    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        if self.first_reason.is_none() {
            self.first_reason = other.first_reason;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Tally {
    /// The reason of the first failure.
    pub(crate) fn first_reason(&self) -> Option<&str> {
        self.first_reason.as_deref()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first_reason {
            None => f.write_str("no failures"),
            Some(reason) => write!(f, "FAILURES: {}; the first: {reason}", self.count),
        }
    }
}
