//! What the gateway counts.

mod counters;
mod histogram;
mod report;

use std::sync::Arc;

pub use counters::{ControlCounters, Counter, Counters, SharedCounter};
pub use histogram::Histogram;
pub use report::{report, report_loop};

/// What one loop counts.
#[derive(Clone, Debug, Default)]
pub struct LoopMetrics {
    /// Its counters and gauges.
    pub counters: Arc<Counters>,
    /// How long its turns take, without their waiting.
    pub turn_time: Arc<Histogram>,
}
