//! Metrics: counters, gauges and durations, and the report of them.

mod counters;
mod families;
mod family;
mod histogram;
mod report;

use std::sync::Arc;

pub use counters::{CertificateCounters, ControlCounters, Counter, Counters, SharedCounter};
pub use families::counter_families;
pub use family::{Buckets, Family, FamilyKind, Sample, SampleValue, prometheus_text, to_float};
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
