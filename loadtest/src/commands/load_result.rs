//! The result that the traffic commands have in common, whatever their unit of work is.

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
    /// The number of connections that each of the server's epoll instances watches. Only `echo`
    /// counts them.
    pub(crate) connections_per_epoll: Vec<usize>,
    pub(crate) failures: Tally,
}
