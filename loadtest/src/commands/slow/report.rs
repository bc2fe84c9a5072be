//! The report of `slow`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::SlowArguments;
use super::tracker::Tracker;
use crate::output::units::Bytes;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::{Latencies, LatencySummary};
use crate::stats::proc_stats::ProcessStats;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SlowReport {
    command: &'static str,
    address: Origin,
    path: String,
    connections: usize,
    slow_readers: usize,
    message_bytes: usize,
    message_kind: &'static str,
    before: StageReport,
    during: StageReport,
    /// After all connections were closed.
    after_server: Option<ProcessStats>,
    slow_readers_that_caught_up: usize,
    slow_readers_left_behind: usize,
    slow_readers_closed_by_server: Tally,
    slow_readers_cut_off: Tally,
    failures: Tally,
}

/// The figures of one stage.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct StageReport {
    /// Of the active connections.
    latency: Option<LatencySummary>,
    /// The server's figures when its anonymous memory was largest.
    highest_server: Option<ProcessStats>,
    cpu: CpuUse,
}

impl SlowReport {
    pub(super) fn new(
        arguments: &SlowArguments,
        [before, during]: [StageReport; 2],
        after_server: Option<ProcessStats>,
        behind: usize,
        tracker: &Tracker,
    ) -> Self {
        let paths = &arguments.paths;
        let path = if arguments.broadcast { &paths.subscribe_path } else { &arguments.path };
        let (ends, slow_readers) = (tracker.ends(), arguments.slow.get());
        let gone = ends.closed.count() + ends.cut_off.count() + behind;
        Self {
            command: "slow",
            address: arguments.session.address.origin(),
            path: path.clone(),
            connections: arguments.connections.get(),
            slow_readers,
            message_bytes: arguments.message.bytes,
            message_kind: arguments.message.payload_kind().as_str(),
            before,
            during,
            after_server,
            slow_readers_that_caught_up: slow_readers.saturating_sub(gone),
            slow_readers_left_behind: behind,
            slow_readers_closed_by_server: ends.closed.clone(),
            slow_readers_cut_off: ends.cut_off.clone(),
            failures: tracker.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }
}

impl StageReport {
    pub(super) fn new(
        latencies: &Latencies,
        highest_server: Option<ProcessStats>,
        cpu: CpuUse,
    ) -> Self {
        Self { latency: latencies.summary(), highest_server, cpu }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        writeln!(f, "{name}:")?;
        match &self.latency {
            Some(latency) => writeln!(f, "  latency of the others: {latency}")?,
            None => writeln!(f, "  the others received nothing")?,
        }
        if let Some(server) = &self.highest_server {
            write_memory(f, "  server's memory at its highest", server)?;
        }
        for line in self.cpu.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SlowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, slow_readers, address, path, .. } = self;
        let Self { message_bytes, message_kind, .. } = self;
        writeln!(
            f,
            "{slow_readers} readers of {address}{path} stop reading, {connections} go on; \
             {message_bytes} B {message_kind}"
        )?;
        self.before.write(f, "while all read")?;
        self.during.write(f, "while some do not read")?;
        writeln!(
            f,
            "when the slow read again: {} caught up, {} were left behind, {} had been closed by \
             the server, {} cut off",
            self.slow_readers_that_caught_up,
            self.slow_readers_left_behind,
            self.slow_readers_closed_by_server.count(),
            self.slow_readers_cut_off.count()
        )?;
        for ends in [&self.slow_readers_closed_by_server, &self.slow_readers_cut_off] {
            if let Some(reason) = ends.first_reason() {
                writeln!(f, "  the first: {reason}")?;
            }
        }
        if let Some(server) = &self.after_server {
            write_memory(f, "server's memory after all left", server)?;
        }
        writeln!(f, "{}", self.failures)
    }
}

fn write_memory(f: &mut fmt::Formatter<'_>, name: &str, stats: &ProcessStats) -> fmt::Result {
    let (anonymous, resident) = (Bytes(stats.anonymous_bytes), Bytes(stats.rss_bytes));
    writeln!(f, "{name}: {anonymous} anonymous, {resident} resident")
}
