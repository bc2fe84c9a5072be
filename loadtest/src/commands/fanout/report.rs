//! The report of `fanout`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::FanoutLoad;
use super::workload::FanoutWorkload;
use crate::commands::load_result::LoadResult;
use crate::commands::session::Session;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FanoutReport {
    command: &'static str,
    address: Origin,
    publish_path: String,
    subscribe_path: String,
    publishers: usize,
    subscribers: usize,
    members_publish: bool,
    publications_per_publisher: usize,
    burst: usize,
    message_bytes: usize,
    message_kind: &'static str,
    deliveries: u64,
    deliveries_per_second: f64,
    lost: u64,
    repeated_or_late: u64,
    /// From the time before a publication is written to its arrival at a subscriber.
    latency: Option<LatencySummary>,
    cpu: CpuUse,
    failures: Tally,
}

impl FanoutReport {
    pub(super) fn new(
        load: &FanoutLoad,
        session: &Session,
        cpu: CpuUse,
        sent: usize,
        workload: &FanoutWorkload,
    ) -> Self {
        let deliveries = workload.delivered();
        Self {
            command: "fanout",
            address: session.address(),
            publish_path: load.paths.publish_path.clone(),
            subscribe_path: load.paths.subscribe_path.clone(),
            publishers: load.publishers.get(),
            subscribers: load.subscribers.get(),
            members_publish: load.members_publish,
            publications_per_publisher: sent,
            burst: load.burst.get(),
            message_bytes: load.message.bytes,
            message_kind: load.message.payload_kind().as_str(),
            deliveries,
            deliveries_per_second: cpu.per_second(deliveries),
            lost: workload.lost(),
            repeated_or_late: workload.stale(),
            latency: workload.latencies().summary(),
            cpu,
            failures: workload.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }

    pub(crate) fn result(&self) -> LoadResult {
        LoadResult {
            units: self.deliveries,
            cpu: self.cpu,
            latency: self.latency,
            connections_per_epoll: Vec::new(),
            failures: self.failures.clone(),
        }
    }
}

impl fmt::Display for FanoutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { publishers, subscribers, address, subscribe_path, .. } = self;
        let Self { publications_per_publisher, burst, message_bytes, message_kind, .. } = self;
        writeln!(
            f,
            "{publishers} publishers to {subscribers} subscribers of {address}{subscribe_path}: \
             {publications_per_publisher} publications of {message_bytes} B {message_kind} each, \
             {burst} at once"
        )?;
        let Self { deliveries, deliveries_per_second, lost, repeated_or_late, .. } = self;
        writeln!(
            f,
            "{deliveries} deliveries verified in {}: {deliveries_per_second:.0}/s; {lost} lost, \
             {repeated_or_late} repeated or late",
            self.cpu.wall
        )?;
        if let Some(latency) = &self.latency {
            writeln!(f, "latency: {latency}")?;
        }
        write!(f, "{}", self.cpu)?;
        writeln!(f, "{}", self.failures)
    }
}
