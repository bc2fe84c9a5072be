//! The report of `echo`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::EchoLoad;
use super::workload::EchoWorkload;
use crate::commands::load_result::LoadResult;
use crate::commands::session::Session;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EchoReport {
    command: &'static str,
    address: Origin,
    path: String,
    connections: usize,
    in_flight: u32,
    message_bytes: usize,
    message_kind: &'static str,
    /// For each of the server's epoll instances that can be seen, which means for each loop.
    connections_per_epoll: Vec<usize>,
    messages: u64,
    messages_per_second: f64,
    latency: Option<LatencySummary>,
    cpu: CpuUse,
    failures: Tally,
}

impl EchoReport {
    pub(super) fn new(
        load: &EchoLoad,
        session: &Session,
        cpu: CpuUse,
        distribution: Vec<usize>,
        workload: &EchoWorkload,
    ) -> Self {
        let messages = workload.measured();
        Self {
            command: "echo",
            address: session.address(),
            path: load.path.path.clone(),
            connections: load.connections.get(),
            in_flight: load.in_flight.get(),
            message_bytes: load.message.bytes,
            message_kind: load.message.payload_kind().as_str(),
            connections_per_epoll: distribution,
            messages,
            messages_per_second: cpu.per_second(messages),
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
            units: self.messages,
            cpu: self.cpu,
            latency: self.latency,
            connections_per_epoll: self.connections_per_epoll.clone(),
            failures: self.failures.clone(),
        }
    }
}

impl fmt::Display for EchoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, in_flight, message_bytes, message_kind, .. } = self;
        let Self { address, path, messages, messages_per_second, .. } = self;
        writeln!(
            f,
            "{connections} connections to {address}{path}, {in_flight} messages of \
             {message_bytes} B {message_kind} in flight on each"
        )?;
        writeln!(f, "{messages} echoes verified in {}: {messages_per_second:.0}/s", self.cpu.wall)?;
        if let Some(latency) = &self.latency {
            writeln!(f, "latency: {latency}")?;
        }
        write!(f, "{}", self.cpu)?;
        writeln!(f, "{}", self.failures)
    }
}
