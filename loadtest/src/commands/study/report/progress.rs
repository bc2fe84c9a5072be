//! Lines about the latest measurement, for the progress of a run.

use std::fmt::{self, Display, Formatter};

use crate::commands::study::document::{Figures, Outcome, ScalePart};
use crate::output::table::{bytes, grouped};
use crate::output::units::shown_bytes;

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { reason, last_log_lines } => {
                write!(f, "FAILED: {reason}")?;
                last_log_lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
            Self::Measured(figures) => figures.fmt(f),
            Self::Skipped { reason } => write!(f, "skipped: {reason}"),
        }
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let anonymous = bytes(self.anonymous_per_connection_bytes());
        write!(f, "{anonymous} per connection")?;
        if let Some(report) = self.first_cycle().map(|cycle| &cycle.report) {
            write!(f, ", {:.0} connects/s", report.connects_per_second)?;
        }
        if let Some(reason) = &self.fewer_because {
            write!(f, ", with {} connections: {reason}", self.connections)?;
        }
        if let Some(reason) = self.failures.first_reason() {
            write!(f, "; {} FAILURES, the first: {reason}", self.failures.count())?;
        }
        Ok(())
    }
}

impl Display for ScalePart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let held = grouped(self.held() as u64);
        let each = shown_bytes(self.anonymous_per_connection_bytes());
        write!(f, "{held} held by {} processes, {each} per connection", self.servers.len())?;
        if let Some(reason) = self.failures.first_reason() {
            write!(f, "; {} FAILURES, the first: {reason}", self.failures.count())?;
        }
        Ok(())
    }
}
