//! What the traffic commands measure alike, whatever their unit of work is.

use crate::cpu_use::CpuUse;
use crate::latency::LatencySummary;
use crate::tally::Tally;

/// The figures of one load.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Messages, deliveries or connections.
    pub(crate) units: u64,
    pub(crate) cpu: CpuUse,
    pub(crate) latency: Option<LatencySummary>,
    pub(crate) failures: Tally,
}
