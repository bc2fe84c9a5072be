//! The figures that every traffic command measures, whatever its unit of work is.

use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;

/// The figures of one load.
#[derive(Clone, Debug)]
pub(crate) struct LoadResult {
    /// Messages, deliveries or connections.
    pub(crate) units: u64,
    pub(crate) cpu: CpuUse,
    pub(crate) latency: Option<LatencySummary>,
    /// How many connections each of the server's epoll instances watched. Only an echo looks.
    pub(crate) connections_per_epoll: Vec<usize>,
    pub(crate) failures: Tally,
}
