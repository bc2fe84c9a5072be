//! Records the latencies of the active connections, and how the slow readers ended.

use std::time::Duration;

use crate::driver::{self, Failure};
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::websocket::ProtocolError;

/// The readers of a run: first the active ones, then the slow ones.
#[derive(Debug)]
pub(super) struct Tracker {
    others: usize,
    slow: usize,
    has_stopped_reading: bool,
    latencies: Latencies,
    ends: SlowEnds,
    tally: Tally,
}

/// How the server ended slow readers.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowEnds {
    pub(super) closed: Tally,
    pub(super) cut_off: Tally,
}

impl Tracker {
    pub(super) fn new(others: usize, slow: usize) -> Self {
        Self {
            others,
            slow,
            has_stopped_reading: false,
            latencies: Latencies::new(),
            ends: SlowEnds::default(),
            tally: Tally::default(),
        }
    }

    pub(super) fn readers(&self) -> usize {
        self.others + self.slow
    }

    pub(super) fn is_slow(&self, serial: u64) -> bool {
        (self.others..self.readers()).contains(&driver::index(serial))
    }

    pub(super) fn is_other(&self, serial: u64) -> bool {
        serial < self.others as u64
    }

    pub(super) fn clear_latencies(&mut self) {
        self.latencies.clear();
    }

    pub(super) fn stop_reading(&mut self) {
        self.has_stopped_reading = true;
    }

    pub(super) fn has_stopped_reading(&self) -> bool {
        self.has_stopped_reading
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.latencies.record(latency);
    }

    /// Counts a failure that ends no connection.
    pub(super) fn record_failure(&mut self, reason: impl FnOnce() -> String) {
        self.tally.record(reason);
    }

    /// Counts the end of a connection. A server may close or reset a slow reader, but it may not
    /// send it wrong messages.
    pub(super) fn record_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        let Err(failure) = outcome else {
            return;
        };
        let reason = || format!("slow reader {serial}: {failure}");
        if !self.is_slow(serial) || !self.has_stopped_reading {
            self.tally.record_end(serial, Err(failure));
        } else if matches!(failure, Failure::Protocol(ProtocolError::ClosedByServer { .. })) {
            self.ends.closed.record(reason);
        } else if matches!(
            failure,
            Failure::Socket(_) | Failure::Protocol(ProtocolError::EndOfStream)
        ) {
            self.ends.cut_off.record(reason);
        } else if !matches!(failure, Failure::Overdue { .. }) {
            // An overdue slow reader is behind, and counted as that.
            self.tally.record_end(serial, Err(failure));
        }
    }

    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    pub(super) fn ends(&self) -> &SlowEnds {
        &self.ends
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_readers_may_be_disconnected_but_not_sent_wrong_messages() {
        let mut tracker = Tracker::new(2, 3);
        assert!(tracker.is_other(1) && !tracker.is_slow(1));
        assert!(tracker.is_slow(2) && tracker.is_slow(4) && !tracker.is_slow(5));
        tracker.record_end(2, Err(Failure::Protocol(ProtocolError::EndOfStream)));
        assert_eq!(tracker.tally().count(), 1, "it was reading then");
        tracker.stop_reading();
        tracker.record_end(3, Err(Failure::Protocol(ProtocolError::EndOfStream)));
        let closed =
            ProtocolError::ClosedByServer { code: Some(4002), reason: "too slow".to_owned() };
        tracker.record_end(4, Err(closed.into()));
        assert_eq!(tracker.tally().count(), 1);
        assert_eq!((tracker.ends.closed.count(), tracker.ends.cut_off.count()), (1, 1));
        tracker.record_end(4, Err(Failure::UnaskedMessage));
        tracker.record_end(0, Err(Failure::Protocol(ProtocolError::EndOfStream)));
        assert_eq!(tracker.tally().count(), 3);
    }
}
