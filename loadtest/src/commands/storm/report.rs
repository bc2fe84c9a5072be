//! The report of `storm`: as text, or as one JSON document.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::arguments::StormArguments;
use super::workload::StormWorkload;
use crate::output::units::Seconds;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StormReport {
    command: &'static str,
    address: Origin,
    path: String,
    connections: usize,
    connections_served: u64,
    /// From the first attempt to the last 101.
    #[serde(rename = "until_last_served_seconds")]
    until_last_served: Option<Seconds>,
    connect_to_upgrade: Option<LatencySummary>,
    cpu: CpuUse,
    failures: Tally,
}

impl StormReport {
    pub(super) fn new(
        arguments: &StormArguments,
        cpu: CpuUse,
        until_last_served: Option<Duration>,
        workload: &StormWorkload,
    ) -> Self {
        Self {
            command: "storm",
            address: arguments.session.address.origin(),
            path: arguments.path.path.clone(),
            connections: arguments.connections.get(),
            connections_served: workload.upgrades().count(),
            until_last_served: until_last_served.map(Seconds),
            connect_to_upgrade: workload.upgrades().summary(),
            cpu,
            failures: workload.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, address, path, connections_served, .. } = self;
        writeln!(f, "{connections} connections to {address}{path} reconnected at once")?;
        match &self.until_last_served {
            Some(until) => writeln!(f, "{connections_served} served, the last after {until}")?,
            None => writeln!(f, "none was served")?,
        }
        if let Some(latency) = &self.connect_to_upgrade {
            writeln!(f, "connect to 101: {latency}")?;
        }
        write!(f, "{}", self.cpu)?;
        writeln!(f, "{}", self.failures)
    }
}
