//! What the bystanders noticed in one stage of a run.

use std::time::Duration;

use serde::Serialize;

use crate::commands::attack::ends::Ends;
use crate::stats::latency::{Latencies, LatencySummary};

/// The stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::attack) enum Stage {
    Before,
    During,
    After,
}

/// The counts of one stage. A message and a handshake belong to the stage in which they began.
#[derive(Debug)]
pub(super) struct StageFigures {
    echoes: Latencies,
    echoes_with_due: Latencies,
    pub(super) messages_lost: u64,
    pub(super) closed: Ends,
    pub(super) handshakes: Latencies,
    pub(super) handshakes_failed: Ends,
}

/// The figures of one stage in a report.
#[derive(Clone, Debug, Serialize)]
pub(in crate::commands::attack) struct BystanderSummary {
    /// From the last byte of a message to its echo.
    pub(in crate::commands::attack) latency: Option<LatencySummary>,
    /// The same, and for each message that had to wait also the messages that its client would have
    /// sent meanwhile: a closed loop alone hides how long a stall is.
    pub(in crate::commands::attack) latency_with_due: Option<LatencySummary>,
    pub(in crate::commands::attack) messages_lost: u64,
    pub(in crate::commands::attack) connections_closed: Ends,
    pub(in crate::commands::attack) handshakes_ok: u64,
    pub(in crate::commands::attack) handshakes_failed: Ends,
    pub(in crate::commands::attack) handshake_latency: Option<LatencySummary>,
}

impl StageFigures {
    pub(super) fn new() -> Self {
        Self {
            echoes: Latencies::new(),
            echoes_with_due: Latencies::new(),
            messages_lost: 0,
            closed: Ends::default(),
            handshakes: Latencies::new(),
            handshakes_failed: Ends::default(),
        }
    }

    /// Records an echo of a client that sends a message every `interval`.
    pub(super) fn record_echo(&mut self, latency: Duration, interval: Duration) {
        self.echoes.record(latency);
        self.echoes_with_due.record_with_due(latency, interval);
    }

    pub(super) fn summary(&self) -> BystanderSummary {
        BystanderSummary {
            latency: self.echoes.summary(),
            latency_with_due: self.echoes_with_due.summary(),
            messages_lost: self.messages_lost,
            connections_closed: self.closed.clone(),
            handshakes_ok: self.handshakes.count(),
            handshakes_failed: self.handshakes_failed.clone(),
            handshake_latency: self.handshakes.summary(),
        }
    }
}
