//! The report of `rate`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::RateLoad;
use super::workload::RateWorkload;
use crate::commands::load_result::LoadResult;
use crate::commands::session::Session;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RateReport {
    command: &'static str,
    address: Origin,
    path: String,
    connections: usize,
    message_bytes: usize,
    message_kind: &'static str,
    rate_messages_per_second: u32,
    messages_sent: u64,
    messages_echoed: u64,
    /// From the time at which each message was due.
    latency: Option<LatencySummary>,
    /// From the time at which each message was due to the time at which it was sent. It is a part
    /// of the latency.
    send_delay: Option<LatencySummary>,
    cpu: CpuUse,
    failures: Tally,
}

impl RateReport {
    pub(super) fn new(
        load: &RateLoad,
        session: &Session,
        cpu: CpuUse,
        messages_sent: u64,
        workload: &RateWorkload,
    ) -> Self {
        Self {
            command: "rate",
            address: session.address(),
            path: load.path.path.clone(),
            connections: load.connections.get(),
            message_bytes: load.message.bytes,
            message_kind: load.message.payload_kind().as_str(),
            rate_messages_per_second: load.rate.get(),
            messages_sent,
            messages_echoed: workload.latencies().count(),
            latency: workload.latencies().summary(),
            send_delay: workload.delays().summary(),
            cpu,
            failures: workload.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }

    pub(crate) fn result(&self) -> LoadResult {
        LoadResult {
            units: self.messages_sent,
            cpu: self.cpu,
            latency: self.latency,
            connections_per_epoll: Vec::new(),
            failures: self.failures.clone(),
        }
    }
}

impl fmt::Display for RateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, address, path, message_bytes, message_kind, .. } = self;
        let rate = self.rate_messages_per_second;
        writeln!(
            f,
            "{rate} messages of {message_bytes} B {message_kind} per second, on {connections} \
             connections to {address}{path} in turn"
        )?;
        let Self { messages_sent, messages_echoed, .. } = self;
        writeln!(f, "{messages_sent} sent in {}, {messages_echoed} echoed", self.cpu.wall)?;
        if let Some(latency) = &self.latency {
            writeln!(f, "latency, from when each was due: {latency}")?;
        }
        if let Some(delay) = &self.send_delay {
            writeln!(f, "of which before it was sent: {delay}")?;
        }
        write!(f, "{}", self.cpu)?;
        writeln!(f, "{}", self.failures)
    }
}
