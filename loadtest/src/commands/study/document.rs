//! The raw figures, which are written to and read from `memory-study.json`.
//!
//! The three parts are measured in separate runs, each with the facts about its machine. A run
//! keeps the parts that it does not measure. The report is made from this document alone.

use serde::{Deserialize, Serialize};

use super::cost_growth::{CostGrowth, worst_growth};
use super::runtime_stats::RuntimeStats;
use crate::commands::idle::CycleReport;
use crate::stats::machine::Machine;
use crate::stats::meter::Snapshot;
use crate::stats::proc_stats::{KernelStats, ProcessStats};
use crate::stats::tally::Tally;
use crate::tls::TlsVersion;

/// The figures of all runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Document {
    pub(super) servers: Option<ServersPart>,
    /// The servers that speak TLS, with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls_servers: Option<ServersPart>,
    pub(super) sweep: Option<SweepPart>,
    pub(super) scale: Option<ScalePart>,
}

/// Many servers under the same load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ServersPart {
    pub(super) machine: Machine,
    #[serde(rename = "treatment")]
    pub(super) settings: Settings,
    pub(super) rows: Vec<RowReport>,
}

/// The settings, which are the same for every server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) connections: usize,
    pub(super) cycles: usize,
    pub(super) hold_seconds: f64,
    pub(super) warm_up_connections: usize,
    pub(super) in_flight: usize,
    pub(super) quiet_seconds: f64,
    pub(super) seed: u64,
    /// The version of TLS. Absent if connections were plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<TlsVersion>,
}

/// One server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RowReport {
    /// Its name on the command line.
    pub(super) row: String,
    pub(super) server: String,
    pub(super) design: String,
    pub(super) outcome: Outcome,
}

/// The outcome of a row.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The server did not start, or has ended.
    Failed {
        reason: String,
        last_log_lines: Vec<String>,
    },
    Measured(Box<Figures>),
    Skipped {
        reason: String,
    },
}

/// The figures of a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figures {
    pub(super) version: String,
    pub(super) connections: usize,
    /// Why the server was measured with fewer connections than the others.
    pub(super) fewer_because: Option<String>,
    pub(super) baseline: Snapshot,
    pub(super) cycles: Vec<Cycle>,
    pub(super) failures: Tally,
}

/// One cycle of opening, holding and closing all connections.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Cycle {
    #[serde(flatten)]
    pub(super) report: CycleReport,
    /// The server's own figures while the connections were held.
    #[serde(rename = "inner_view")]
    pub(super) runtime_stats: Option<RuntimeStats>,
}

/// tidegate with increasing numbers of connections.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SweepPart {
    pub(super) machine: Machine,
    /// The settings of the largest number of connections.
    #[serde(rename = "treatment")]
    pub(super) settings: Settings,
    pub(super) server: String,
    /// In ascending order of connections.
    pub(super) points: Vec<Figures>,
}

/// tidegate with more connections than one process can have.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ScalePart {
    pub(super) machine: Machine,
    pub(super) version: String,
    pub(super) connections: usize,
    pub(super) client_processes: usize,
    pub(super) opening_seconds: f64,
    pub(super) hold_seconds: f64,
    pub(super) connections_opened: usize,
    pub(super) echoes_verified: usize,
    pub(super) connections_closed: usize,
    /// The silence after which the servers ping. Absent in older figures, which have the default.
    #[serde(default)]
    pub(super) ping_idle_seconds: Option<f64>,
    /// While all connections were held. Absent in older figures.
    #[serde(default)]
    pub(super) memory_available_bytes: Option<u64>,
    pub(super) servers: Vec<ScaledServer>,
    pub(super) kernel_baseline: KernelStats,
    pub(super) kernel_held: KernelStats,
    pub(super) failures: Tally,
}

/// One of the processes that share the port.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct ScaledServer {
    pub(super) connections: usize,
    pub(super) baseline: ProcessStats,
    /// When the last connection was open. Absent in older figures.
    #[serde(default)]
    pub(super) opened: Option<ProcessStats>,
    pub(super) held: ProcessStats,
    pub(super) left: ProcessStats,
}

impl Figures {
    /// The first cycle, which the columns of the report show.
    pub(super) fn first_cycle(&self) -> Option<&Cycle> {
        self.cycles.first()
    }

    /// Whether other connections of the machine opened or closed in the meantime, so that the
    /// kernel's figures include them.
    pub(super) fn is_kernel_disturbed(&self) -> bool {
        let Some(cycle) = self.first_cycle() else {
            return false;
        };
        let (before, held) = (&self.baseline.kernel, &cycle.report.held.kernel);
        // Two sockets for each connection are its own ends.
        let expected = before.sockets_used + 2 * cycle.report.connections_held as u64;
        let others = held.sockets_used.abs_diff(expected)
            + held.time_wait_sockets.abs_diff(before.time_wait_sockets) / TIME_WAITS_PER_SOCKET;
        others as f64 > DISTURBED * cycle.report.connections_held as f64
    }

    /// The server's anonymous memory for each connection.
    pub(super) fn anonymous_per_connection_bytes(&self) -> Option<f64> {
        self.first_cycle()?.report.per_connection?.server_anonymous_bytes
    }
}

impl Document {
    /// The machine of the first part, usually that of all parts.
    pub(super) fn machine(&self) -> Option<&Machine> {
        let servers = self.servers.as_ref().map(|part| &part.machine);
        let sweep = || self.sweep.as_ref().map(|part| &part.machine);
        let scale = || self.scale.as_ref().map(|part| &part.machine);
        let tls_servers = || self.tls_servers.as_ref().map(|part| &part.machine);
        servers.or_else(tls_servers).or_else(sweep).or_else(scale)
    }

    /// Replaces the parts that the run has measured.
    pub(super) fn replace(&mut self, measured: Self) {
        let Self { servers, tls_servers, sweep, scale } = measured;
        self.servers = servers.or_else(|| self.servers.take());
        self.tls_servers = tls_servers.or_else(|| self.tls_servers.take());
        self.sweep = sweep.or_else(|| self.sweep.take());
        self.scale = scale.or_else(|| self.scale.take());
    }

    /// Whether a measurement has failed, or memory has grown.
    pub(super) fn has_failures(&self) -> bool {
        let parts = self.servers.iter().chain(&self.tls_servers);
        let rows = parts.flat_map(|part| &part.rows);
        let points = self.sweep.iter().flat_map(|part| &part.points);
        rows.into_iter().any(RowReport::has_failures)
            || points.into_iter().any(|figures| figures.failures.count() > 0)
            || self.sweep.as_ref().is_some_and(|part| part.growth().is_some())
            || self.scale.as_ref().is_some_and(|part| part.failures.count() > 0)
    }
}

impl RowReport {
    fn has_failures(&self) -> bool {
        match &self.outcome {
            Outcome::Failed { .. } => true,
            Outcome::Measured(figures) => figures.failures.count() > 0,
            Outcome::Skipped { .. } => false,
        }
    }
}

impl SweepPart {
    /// The worst growth of anonymous memory per connection that is more than chance.
    pub(super) fn growth(&self) -> Option<CostGrowth> {
        let costs: Vec<(usize, f64)> = self
            .points
            .iter()
            .filter_map(|point| Some((point.connections, point.anonymous_per_connection_bytes()?)))
            .collect();
        worst_growth(&costs)
    }
}

impl ScalePart {
    pub(super) fn held(&self) -> usize {
        self.servers.iter().map(|server| server.connections).sum()
    }

    /// The growth of the servers' anonymous memory for each connection, in bytes.
    pub(super) fn anonymous_per_connection_bytes(&self) -> f64 {
        let growth = self.total(|server| server.held) - self.total(|server| server.baseline);
        growth / self.held().max(1) as f64
    }

    /// The servers' CPU time to open one connection, in microseconds.
    pub(super) fn opening_cpu_micros(&self) -> Option<f64> {
        let spent = |server: &ScaledServer| {
            Some((server.opened?.cpu.0.saturating_sub(server.baseline.cpu.0)).as_secs_f64())
        };
        let seconds: f64 = self.servers.iter().map(spent).sum::<Option<f64>>()?;
        Some(seconds * 1e6 / self.connections_opened.max(1) as f64)
    }

    fn total(&self, moment: fn(&ScaledServer) -> ProcessStats) -> f64 {
        self.servers.iter().map(|server| moment(server).anonymous_bytes as f64).sum()
    }
}

// The names of the files that hold the document, its report and its charts.
pub(super) const FIGURES: &str = "memory-study.json";
pub(super) const REPORT: &str = "memory-study.md";
/// The directory of the charts, beside the report.
pub(super) const IMAGES: &str = "img";
pub(super) const BAR_CHART: &str = "memory-study.svg";
pub(super) const LINE_CHART: &str = "memory-sweep.svg";
/// A connection in TIME_WAIT takes about an eighth of the memory of an open socket.
const TIME_WAITS_PER_SOCKET: u64 = 8;
/// Above this share of the connections, others count as a disturbance.
const DISTURBED: f64 = 0.05;
