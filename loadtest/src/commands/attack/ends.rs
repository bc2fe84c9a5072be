//! Counts how connections ended, by reason.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::driver::Failure;
use crate::websocket::{HandshakeError, ProtocolError};

/// The number of connections that ended for each reason: a close code with its reason, the status
/// of a refusal, or a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Ends {
    counts: BTreeMap<String, u64>,
}

impl Ends {
    pub(super) fn record(&mut self, failure: &Failure) {
        let reason = reason(failure);
        let is_full = self.counts.len() >= REASONS_MAX && !self.counts.contains_key(&reason);
        let reason = if is_full { OTHERS.to_owned() } else { reason };
        *self.counts.entry(reason).or_default() += 1;
    }

    /// All of them.
    pub(super) fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return f.write_str("none");
        }
        let parts: Vec<String> =
            self.counts.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        f.write_str(&parts.join(", "))
    }
}

fn reason(failure: &Failure) -> String {
    let Failure::Protocol(error) = failure else {
        return failure.to_string();
    };
    if let ProtocolError::ClosedByServer { code: Some(code), reason } = error {
        return if reason.is_empty() { code.to_string() } else { format!("{code} {reason}") };
    }
    if let ProtocolError::Handshake(HandshakeError::Refused { line, .. }) = error {
        return line.clone();
    }
    error.to_string()
}

/// A server that puts changing figures into its reasons does not fill the report.
const REASONS_MAX: usize = 24;
const OTHERS: &str = "other reasons";

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, reason: &str) -> Failure {
        let reason = reason.to_owned();
        Failure::Protocol(ProtocolError::ClosedByServer { code: Some(code), reason })
    }

    #[test]
    fn ends_are_counted_by_code_and_reason() {
        let mut ends = Ends::default();
        assert_eq!(ends.to_string(), "none");
        for (code, reason) in [(1013, "full"), (1013, "full"), (1009, "")] {
            ends.record(&closed(code, reason));
        }
        ends.record(&Failure::WrongEcho);
        assert_eq!(ends.count(), 4);
        assert_eq!(
            ends.to_string(),
            "1 × 1009, 2 × 1013 full, 1 × the echo differs from what was sent"
        );
    }

    #[test]
    fn the_number_of_reasons_is_bounded() {
        let mut ends = Ends::default();
        for code in 1000..2000 {
            ends.record(&closed(code, ""));
        }
        assert_eq!((ends.count(), ends.counts.len()), (1000, REASONS_MAX + 1));
    }
}
