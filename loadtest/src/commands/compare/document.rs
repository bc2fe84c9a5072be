//! The raw figures, which are kept in a file. The report is made from them alone.

use serde::{Deserialize, Serialize};

use crate::commands::load_result::LoadResult;
use crate::stats::machine::Machine;

/// The figures of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Document {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) servers: Vec<ServerFacts>,
    pub(super) skipped: Vec<Skipped>,
    // Files of earlier versions have the other name.
    #[serde(alias = "contests")]
    pub(super) comparisons: Vec<ComparisonResult>,
}

/// The settings of a run.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) warm_up_seconds: f64,
    pub(super) server_core: usize,
    pub(super) client_core: usize,
    pub(super) seed: u64,
    /// All servers and clients speak TLS. Absent in older figures, which are plain.
    #[serde(default)]
    pub(super) tls: bool,
}

/// A server in the report.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ServerFacts {
    pub(super) name: String,
    pub(super) design: String,
    /// What the server was built from.
    pub(super) about: String,
}

/// A server whose program was not found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Skipped {
    pub(super) name: String,
    pub(super) reason: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ComparisonResult {
    pub(super) scenario: String,
    pub(super) heading: String,
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) is_pair: bool,
    /// The first is the one that the others are compared with.
    pub(super) cases: Vec<CaseResult>,
}

/// The result of a case.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct CaseResult {
    pub(super) name: String,
    pub(super) samples: Vec<Sample>,
    /// The reason for each measurement that failed.
    pub(super) failures: Vec<String>,
}

/// One measurement.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) round: usize,
    pub(super) units: u64,
    pub(super) units_per_second: f64,
    pub(super) server_cpu_us_per_unit: Option<f64>,
    /// CPU time over wall time.
    pub(super) server_cores: Option<f64>,
    /// The share of the time in which the load generator did not wait for the server.
    pub(super) client_busy_share: f64,
    /// How often the load generator slept. The server is charged for waking it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_sleeps_per_unit: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) p99_9_us: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) connections_per_epoll: Vec<usize>,
}

impl Sample {
    /// `None` if the server did no work.
    pub(super) fn new(result: &LoadResult) -> Option<Self> {
        let has_run = result.cpu.server_cores.is_none_or(|cores| cores > 0.0);
        (result.units > 0 && has_run).then(|| Self {
            round: 0,
            units: result.units,
            units_per_second: result.cpu.per_second(result.units),
            server_cpu_us_per_unit: result.cpu.server_micros_per_unit,
            server_cores: result.cpu.server_cores,
            client_busy_share: result.cpu.client_busy_share,
            client_sleeps_per_unit: result.cpu.client_sleeps_per_unit,
            p50_us: result.latency.map(|latency| latency.p50.0),
            p99_us: result.latency.map(|latency| latency.p99.0),
            p99_9_us: result.latency.map(|latency| latency.p99_9.0),
            connections_per_epoll: result.connections_per_epoll.clone(),
        })
    }
}

impl Document {
    /// Replaces the scenarios and the servers that a later run has measured.
    pub(super) fn replace(&mut self, later: Self) {
        let Self { machine, settings, servers, skipped, comparisons } = later;
        (self.machine, self.settings) = (machine, settings);
        let is_named = |name: &str| {
            servers.iter().any(|new| new.name == name) || skipped.iter().any(|new| new.name == name)
        };
        self.servers.retain(|old| !is_named(&old.name));
        self.skipped.retain(|old| !is_named(&old.name));
        self.servers.extend(servers);
        self.skipped.extend(skipped);
        // At the same index, which keeps the order of the report.
        for new in comparisons {
            let is_same = |old: &ComparisonResult| {
                old.scenario == new.scenario && old.is_about_same_servers(&new)
            };
            match self.comparisons.iter_mut().find(|old| is_same(old)) {
                Some(old) => *old = new,
                None => self.comparisons.push(new),
            }
        }
    }

    /// Whether a measurement has failed.
    pub(super) fn has_failures(&self) -> bool {
        let mut cases = self.comparisons.iter().flat_map(|comparison| &comparison.cases);
        cases.any(|case| !case.failures.is_empty())
    }
}

impl Settings {
    /// Whether rounds, times and cores are the same, so that one report can describe the settings
    /// of both.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        *self == Self { seed: self.seed, ..*other }
    }
}

impl ComparisonResult {
    /// Whether two comparisons of the same scenario are of the same servers.
    fn is_about_same_servers(&self, other: &Self) -> bool {
        let last = |report: &Self| report.cases.last().map(|last| last.name.clone());
        !self.is_pair || last(self) == last(other)
    }
}
