//! What a measurement recorded.
//!
//! The names of the fields are keys of reports; each ends in its unit.

use serde::{Deserialize, Serialize};

use crate::output::units::Seconds;
use crate::stats::meter::{PerConnection, Snapshot};
use crate::stats::tally::Tally;

/// Everything, in the order in which it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Absent if the warm-up failed.
    pub(crate) baseline: Option<Snapshot>,
    pub(crate) cycles: Vec<CycleReport>,
    pub(crate) failures: Tally,
}

impl Record {
    /// The server's anonymous memory after the last cycle, less that after the first.
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
    /// `held` less the baseline.
    pub(crate) per_connection: Option<PerConnection>,
    pub(crate) left: StableSnapshot,
    /// The server's anonymous memory after all left, less the baseline's.
    pub(crate) left_growth_bytes: Option<i64>,
}

/// A snapshot that was taken once the server's memory stood still.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct StableSnapshot {
    #[serde(flatten)]
    pub(crate) snapshot: Snapshot,
    /// False if the memory was still changing when patience ran out.
    pub(crate) is_settled: bool,
    #[serde(rename = "settling_seconds")]
    pub(crate) settling: Seconds,
}
