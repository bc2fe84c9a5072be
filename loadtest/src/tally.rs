//! Counts failures and remembers the first: the rest are usually its consequences.

use serde::{Deserialize, Serialize};

/// What went wrong in a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    count: usize,
    first_reason: Option<String>,
}

impl Tally {
    /// Counts a failure; `reason` is asked for only if it is the first.
    pub(crate) fn record(&mut self, reason: impl FnOnce() -> String) {
        self.count += 1;
        self.first_reason.get_or_insert_with(reason);
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

    pub(crate) fn first_reason(&self) -> Option<&str> {
        self.first_reason.as_deref()
    }
}
