//! The part of the report about the servers side by side.

use std::fmt::{self, Formatter, Write as _};

use crate::commands::study::document::{
    BAR_CHART, Figures, IMAGES, Outcome, RowReport, ServersPart,
};
use crate::output::table::{NONE, Table, bytes, count, grouped, rate};
use crate::output::units::shown_bytes;
use crate::stats::meter::PerConnection;

pub(super) fn write(f: &mut Formatter<'_>, part: &ServersPart) -> fmt::Result {
    let connections = grouped(part.settings.connections as u64);
    match part.settings.tls {
        Some(version) => {
            writeln!(f, "\n## {connections} idle connections with {}\n", version.shown())?;
            writeln!(f, "{TLS_METHOD}\n")?;
        }
        None => writeln!(f, "\n## {connections} idle connections\n")?,
    }
    if part.machine.is_debug_build() {
        writeln!(f, "**Measured with a debug build: these figures are for tests only.**\n")?;
    }
    if rows(part).next().is_some() {
        if part.settings.tls.is_none() {
            writeln!(f, "![Memory per connection, a bar for each server]({IMAGES}/{BAR_CHART})\n")?;
        }
        writeln!(f, "{}", memory_table(part))?;
        write!(f, "{}", work_table(part))?;
    }
    write_remarks(f, part)
}

/// The servers that were measured.
fn rows(part: &ServersPart) -> impl Iterator<Item = (&RowReport, &Figures)> {
    part.rows.iter().filter_map(|row| match &row.outcome {
        Outcome::Measured(figures) => Some((row, figures.as_ref())),
        Outcome::Failed { .. } | Outcome::Skipped { .. } => None,
    })
}

fn memory_table(part: &ServersPart) -> String {
    let mut table = Table::new(
        2,
        &[
            "server",
            "design",
            "anonymous memory per connection",
            "RSS per connection",
            "RSS of the process",
            "Go heap in use",
            "kernel slab per connection, both ends",
        ],
    );
    for (row, figures) in rows(part) {
        let cycle = figures.first_cycle();
        let share = |pick: fn(&PerConnection) -> Option<f64>| {
            bytes(cycle.and_then(|cycle| pick(cycle.report.per_connection.as_ref()?)))
        };
        let held = cycle.and_then(|cycle| cycle.report.held.server);
        let heap = cycle.and_then(|cycle| cycle.runtime_stats?.heap);
        table.row(&[
            format!("{}{}", row.server, mark(figures)),
            row.design.clone(),
            share(|share| share.server_anonymous_bytes),
            share(|share| share.server_rss_bytes),
            bytes(held.map(|held| held.rss_bytes as f64)),
            bytes(heap.map(|heap| heap.heap_in_use_bytes as f64)),
            format!(
                "{}{}",
                if figures.is_kernel_disturbed() { "~" } else { "" },
                share(|share| Some(share.kernel_slab_both_ends_bytes)),
            ),
        ]);
    }
    table.to_string()
}

fn work_table(part: &ServersPart) -> String {
    let mut table = Table::new(
        1,
        &[
            "server",
            "threads",
            "goroutines or tasks",
            "connects/s",
            "CPU seconds to accept them all",
            "anonymous memory after all have left",
            "…for the second time",
        ],
    );
    for (row, figures) in rows(part) {
        let cycle = figures.first_cycle();
        let report = cycle.map(|cycle| &cycle.report);
        let held = report.and_then(|report| report.held.server);
        let tasks = cycle.and_then(|cycle| {
            let view = cycle.runtime_stats?;
            view.goroutines.or(view.tasks)
        });
        let left = |index: usize| {
            let growth = figures.cycles.get(index)?.report.left_growth_bytes?;
            Some(growth as f64)
        };
        table.row(&[
            format!("{}{}", row.server, mark(figures)),
            count(held.map(|held| held.threads)),
            count(tasks),
            report.map_or_else(|| NONE.to_owned(), |report| rate(report.connects_per_second)),
            report
                .and_then(|report| report.opening_server_cpu)
                .map_or_else(|| NONE.to_owned(), |cpu| format!("{:.2}", cpu.0.as_secs_f64())),
            growth(left(0)),
            growth(left(1)),
        ]);
    }
    table.to_string()
}

fn growth(bytes: Option<f64>) -> String {
    bytes.map_or_else(
        || NONE.to_owned(),
        |bytes| format!("{}{}", if bytes < 0.0 { "" } else { "+" }, shown_bytes(bytes)),
    )
}

/// The mark of a server that has a remark below the table.
fn mark(figures: &Figures) -> &'static str {
    if figures.fewer_because.is_some() || figures.failures.count() > 0 { " *" } else { "" }
}

fn write_remarks(f: &mut Formatter<'_>, part: &ServersPart) -> fmt::Result {
    let mut remarks = String::new();
    if rows(part).any(|(_, figures)| figures.is_kernel_disturbed()) {
        writeln!(remarks, "{DISTURBED}")?;
    }
    for row in &part.rows {
        write_remark(&mut remarks, row)?;
    }
    if remarks.is_empty() { Ok(()) } else { write!(f, "\n{remarks}") }
}

fn write_remark(remarks: &mut String, row: &RowReport) -> fmt::Result {
    let server = &row.server;
    match &row.outcome {
        Outcome::Failed { reason, last_log_lines } => {
            writeln!(remarks, "- {server}: **failed**: {reason}")?;
            if !last_log_lines.is_empty() {
                writeln!(remarks, "  ```text\n  {}\n  ```", last_log_lines.join("\n  "))?;
            }
        }
        Outcome::Measured(figures) => {
            if let Some(reason) = &figures.fewer_because {
                let connections = grouped(figures.connections as u64);
                writeln!(remarks, "- \\* {server}: with {connections} connections: {reason}")?;
            }
            if let Some(reason) = figures.failures.first_reason() {
                let count = figures.failures.count();
                writeln!(remarks, "- \\* {server}: **{count} failures**, the first: {reason}")?;
            }
        }
        Outcome::Skipped { reason } => writeln!(remarks, "- {server}: skipped: {reason}")?,
    }
    Ok(())
}

const TLS_METHOD: &str = "Measured as above, with TLS: the same certificate on P-256 for all, X25519, \
     AES-128-GCM, no resumption. Nothing is sent after the handshake and the upgrade, and the echo is \
     read after the figures were taken. nginx passes on to a plain tidegate, whose memory is not in it.";
const DISTURBED: &str = "- ~ the kernel's figure only: other connections of this machine came or \
     went in the meantime, and their sockets are in it.";
