//! The report of `churn`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::ChurnLoad;
use super::workload::ChurnWorkload;
use crate::commands::load_result::LoadResult;
use crate::commands::session::Session;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChurnReport {
    command: &'static str,
    address: Origin,
    path: String,
    concurrency: usize,
    message_bytes: usize,
    message_kind: &'static str,
    connections: u64,
    connections_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_to_tls: Option<LatencySummary>,
    connect_to_upgrade: Option<LatencySummary>,
    connect_to_echo: Option<LatencySummary>,
    cpu: CpuUse,
    failures: Tally,
}

impl ChurnReport {
    pub(super) fn new(
        load: &ChurnLoad,
        session: &Session,
        cpu: CpuUse,
        connections: u64,
        workload: &ChurnWorkload,
    ) -> Self {
        Self {
            command: "churn",
            address: session.address(),
            path: load.path.path.clone(),
            concurrency: load.concurrency.get(),
            message_bytes: load.message.bytes,
            message_kind: load.message.payload_kind().as_str(),
            connections,
            connections_per_second: cpu.per_second(connections),
            connect_to_tls: workload.tls_handshakes().summary(),
            connect_to_upgrade: workload.upgrades().summary(),
            connect_to_echo: workload.echoes().summary(),
            cpu,
            failures: workload.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }

    pub(crate) fn result(&self) -> LoadResult {
        LoadResult {
            units: self.connections,
            cpu: self.cpu,
            latency: self.connect_to_echo,
            connections_per_epoll: Vec::new(),
            failures: self.failures.clone(),
        }
    }
}

impl fmt::Display for ChurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, path, concurrency, message_bytes, message_kind, .. } = self;
        writeln!(
            f,
            "connections to {address}{path} that echo {message_bytes} B {message_kind} and \
             leave, {concurrency} at a time"
        )?;
        let Self { connections, connections_per_second, .. } = self;
        writeln!(
            f,
            "{connections} came and left properly in {}: {connections_per_second:.0}/s",
            self.cpu.wall
        )?;
        if let Some(handshake) = self.connect_to_tls {
            writeln!(f, "connect to TLS:  {handshake}")?;
        }
        if let Some((upgrade, echo)) = self.connect_to_upgrade.zip(self.connect_to_echo) {
            writeln!(f, "connect to 101:  {upgrade}")?;
            writeln!(f, "connect to echo: {echo}")?;
        }
        write!(f, "{}", self.cpu)?;
        writeln!(f, "{}", self.failures)
    }
}
