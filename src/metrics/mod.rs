//! Metrics: counters, gauges and durations, and the report of them.

mod counters;
mod histogram;
mod report;

use std::sync::Arc;

pub use counters::{
    CertificateCounters, ControlCounters, Counter, Counters, ReloadCounters, SharedCounter,
};
pub use histogram::Histogram;
pub use report::{report, report_loop};

/// The metrics of one loop.
#[derive(Clone, Debug, Default)]
pub struct LoopMetrics {
    /// Counters and gauges.
    pub counters: Arc<Counters>,
    /// The duration of turns, without the time in which they wait.
    pub turn_time: Arc<Histogram>,
}
