//! Metrics: counters, gauges and durations, and the report of them.

mod counters;
mod families;
mod family;
mod histogram;
mod labelled;
mod report;

use std::sync::Arc;

pub use counters::{
    CertificateCounters, ControlCounters, Counter, Counters, ListenerCounters, ProcessCounters,
    ReloadCounters, RouteCounters, SharedCounter,
};
pub use families::{counter_families, counter_family};
pub use family::{Buckets, Family, FamilyKind, Sample, SampleValue, prometheus_text, to_float};
pub use histogram::{Bucket, Histogram};
pub use labelled::{Entry, LABELS_MAX, Labelled, OTHERS};
pub use report::{report, report_loop};

/// The metrics of one loop.
#[derive(Clone, Debug, Default)]
pub struct LoopMetrics {
    /// Counters and gauges.
    pub counters: Arc<Counters>,
    /// The duration of turns, without the time in which they wait.
    pub turn_time: Arc<Histogram>,
    /// How late turns begin: from the time at which the loop was to wake, or from the end of the turn
    /// before where that had left work, to the beginning of the turn. One that an event begins sooner is
    /// not counted, because epoll(7) does not tell since when the event was ready. The loop wakes by
    /// whole milliseconds, so up to 1 ms is no lateness.
    pub lag: Arc<Histogram>,
    /// By the ids of WebSocket routes, such as `room /chat`.
    pub routes: Arc<Labelled<RouteCounters>>,
    /// By the addresses of listeners.
    pub listeners: Arc<Labelled<ListenerCounters>>,
}
