//! The report of `idle`: as text, or as one JSON document.
//!
//! The names of the fields are the keys of the document; each ends in its unit.

use std::fmt;
use std::num::NonZeroU32;

use serde::Serialize;

use super::arguments::IdleArguments;
use super::record::{CycleReport, Record};
use crate::output::units::{Bytes, Seconds, SignedBytes};
use crate::stats::meter::{PerConnection, Snapshot};
use crate::stats::tally::Tally;
use crate::target::Origin;
use crate::tls::TlsSummary;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IdleReport {
    command: &'static str,
    address: Origin,
    path: String,
    connections: usize,
    cycles: usize,
    warm_up_connections: usize,
    in_flight: usize,
    #[serde(rename = "hold_seconds")]
    hold: Seconds,
    server_pid: Option<NonZeroU32>,
    /// The file that the server's anonymous memory was read from; absent if it was not read.
    anonymous_source: Option<&'static str>,
    baseline: Option<Snapshot>,
    cycle_reports: Vec<CycleReport>,
    /// The server's anonymous memory after the last cycle, minus that after the first.
    between_cycles_growth_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSummary>,
    failures: Tally,
    notes: Vec<&'static str>,
}

impl IdleReport {
    pub(super) fn new(
        arguments: &IdleArguments,
        server_pid: Option<NonZeroU32>,
        record: Record,
    ) -> Self {
        let mut notes = vec![KERNEL_NOTE];
        if server_pid.is_none() {
            notes.push(NO_SERVER_NOTE);
        }
        let shares = record.cycles.iter().filter_map(|cycle| cycle.per_connection.as_ref());
        if shares.into_iter().any(PerConnection::has_shrunk_kernel) {
            notes.push(SHRUNK_KERNEL_NOTE);
        }
        Self {
            command: "idle",
            address: arguments.target.address().origin(),
            path: arguments.target.path().to_owned(),
            connections: arguments.connections.get(),
            cycles: arguments.cycles.get(),
            warm_up_connections: arguments.warm_up,
            in_flight: arguments.in_flight.get(),
            hold: Seconds(arguments.hold),
            server_pid,
            anonymous_source: record
                .baseline
                .and_then(|baseline| baseline.server)
                .map(|stats| stats.anonymous_source.as_str()),
            baseline: record.baseline,
            between_cycles_growth_bytes: record.between_cycles_growth_bytes(),
            cycle_reports: record.cycles,
            tls: record.tls,
            failures: record.failures,
            notes,
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }

    fn write_snapshots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(baseline) = &self.baseline else {
            return Ok(());
        };
        writeln!(
            f,
            "\n{:24}{:>12}{:>12}{:>9}{:>14}{:>9}{:>14}",
            "", "anonymous", "resident", "threads", "kernel slab", "sockets", "tcp buffers"
        )?;
        write_row(f, "baseline", baseline)?;
        for report in &self.cycle_reports {
            write_row(f, &format!("cycle {}, held", report.cycle), &report.held)?;
            write_row(f, &format!("cycle {}, all left", report.cycle), &report.left.snapshot)?;
        }
        Ok(())
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, address, path, hold, in_flight, .. } = self;
        writeln!(
            f,
            "{connections} idle connections to {address}{path}, held {hold}, \
             {in_flight} answers awaited at a time"
        )?;
        if let Some(tls) = &self.tls {
            writeln!(f, "{tls}")?;
        }
        if let (Some(pid), Some(source)) = (self.server_pid, self.anonymous_source) {
            writeln!(f, "server: pid {pid}; its anonymous memory is {source}")?;
        }
        self.write_snapshots(f)?;
        for cycle in &self.cycle_reports {
            write!(f, "\n{cycle}")?;
        }
        if let Some(growth) = self.between_cycles_growth_bytes {
            writeln!(
                f,
                "\nfrom the first to the last cycle the server grew {}",
                SignedBytes(growth)
            )?;
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f, "{}", self.failures)
    }
}

impl fmt::Display for CycleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "cycle {}: {} opened in {}, {:.0}/s",
            self.cycle, self.connections_opened, self.opening, self.connects_per_second
        )?;
        if let Some(share) = &self.per_connection {
            if let (Some(anonymous), Some(resident)) =
                (share.server_anonymous_bytes, share.server_rss_bytes)
            {
                writeln!(
                    f,
                    "  per connection, server: {anonymous:.1} B anonymous, {resident:.1} B resident"
                )?;
            }
            writeln!(
                f,
                "  per connection, kernel, both ends: {:.0} B slab ({:.0} B unreclaimable), \
                 {:.0} B tcp buffers",
                share.kernel_slab_both_ends_bytes,
                share.kernel_slab_unreclaimable_both_ends_bytes,
                share.kernel_tcp_buffer_both_ends_bytes
            )?;
        }
        if let Some((opening, holding)) = self.opening_server_cpu.zip(self.holding_server_cpu) {
            writeln!(f, "  server CPU: {opening} to accept them all, {holding} to hold them")?;
        }
        writeln!(
            f,
            "  {} held, {} answered their ping, {} closed properly, {} pings of the server answered",
            self.connections_held,
            self.pongs_verified,
            self.connections_closed,
            self.server_pings_answered
        )?;
        let Some(growth) = self.left_growth_bytes else {
            return Ok(());
        };
        let state = if self.left.is_settled { "settled" } else { "STILL CHANGING" };
        writeln!(
            f,
            "  after all left: {} to the baseline, {state} after {}",
            SignedBytes(growth),
            self.left.settling
        )
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, snapshot: &Snapshot) -> fmt::Result {
    let absent = || "-".to_owned();
    let (anonymous, resident, threads) = snapshot.server.map_or_else(
        || (absent(), absent(), absent()),
        |stats| {
            (
                Bytes(stats.anonymous_bytes).to_string(),
                Bytes(stats.rss_bytes).to_string(),
                stats.threads.to_string(),
            )
        },
    );
    let kernel = &snapshot.kernel;
    writeln!(
        f,
        "{name:24}{anonymous:>12}{resident:>12}{threads:>9}{:>14}{:>9}{:>14}",
        Bytes(kernel.slab_bytes),
        kernel.sockets_used,
        Bytes(kernel.tcp_buffer_bytes)
    )
}

const KERNEL_NOTE: &str = "the kernel's figures are of the whole machine; per connection they \
     count both ends, the server's and the load generator's, with socket, file and epoll item";
const SHRUNK_KERNEL_NOTE: &str = "a negative figure of the kernel is none of these connections: \
     elsewhere on the machine more was freed than they took; hold more, or measure when it is quiet";
const NO_SERVER_NOTE: &str =
    "the server's memory and CPU time are skipped: name its process with --pid or --spawn";
