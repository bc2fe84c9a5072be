//! The record of a measurement.
//!
//! The names of the fields are keys of reports; each ends in its unit.

use serde::{Deserialize, Serialize};

use crate::output::units::Seconds;
use crate::stats::meter::{PerConnection, Snapshot};
use crate::stats::tally::Tally;
use crate::tls::TlsSummary;

/// The figures in the order in which they were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Absent if the warm-up failed.
    pub(crate) baseline: Option<Snapshot>,
    pub(crate) cycles: Vec<CycleReport>,
    pub(crate) failures: Tally,
    /// Absent if connections were plain.
    pub(crate) tls: Option<TlsSummary>,
}

impl Record {
    /// The server's anonymous memory after the last cycle, minus that after the first.
    pub(crate) fn between_cycles_growth_bytes(&self) -> Option<i64> {
        let [first, .., last] = self.cycles.as_slice() else {
            return None;
        };
        last.left.snapshot.anonymous_growth_bytes(&first.left.snapshot)
    }
}

/// One cycle of open, hold, check, close.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CycleReport {
    pub(crate) cycle: usize,
    pub(crate) connections_opened: usize,
    #[serde(rename = "opening_seconds")]
    pub(crate) opening: Seconds,
    pub(crate) connects_per_second: f64,
    #[serde(rename = "opening_server_cpu_seconds")]
    pub(crate) opening_server_cpu: Option<Seconds>,
    #[serde(rename = "holding_server_cpu_seconds")]
    pub(crate) holding_server_cpu: Option<Seconds>,
    pub(crate) connections_held: usize,
    pub(crate) server_pings_answered: usize,
    pub(crate) pongs_verified: usize,
    pub(crate) echoes_verified: usize,
    pub(crate) connections_closed: usize,
    /// At the end of the hold.
    pub(crate) held: Snapshot,
    /// `held` minus the baseline.
    pub(crate) per_connection: Option<PerConnection>,
    pub(crate) left: StableSnapshot,
    /// The server's anonymous memory after all connections were closed, minus that of the baseline.
    pub(crate) left_growth_bytes: Option<i64>,
}

/// A snapshot that was taken when the server's memory was stable.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct StableSnapshot {
    #[serde(flatten)]
    pub(crate) snapshot: Snapshot,
    /// False if the memory still changed at the end of the waiting time.
    pub(crate) is_settled: bool,
    #[serde(rename = "settling_seconds")]
    pub(crate) settling: Seconds,
}
