//! The part of the report about increasing numbers of connections.

use std::fmt::{self, Formatter};

use super::method::write_occasion;
use crate::commands::study::cost_growth::CHANCE_BYTES;
use crate::commands::study::document::{IMAGES, LINE_CHART, SweepPart};
use crate::output::table::{NONE, Table, bytes, grouped, rate};
use crate::output::units::{Seconds, shown_bytes};
use crate::stats::machine::Machine;

/// `first` is the machine that the report describes in full.
pub(super) fn write(f: &mut Formatter<'_>, part: &SweepPart, first: &Machine) -> fmt::Result {
    writeln!(f, "\n## More and more connections\n")?;
    if part.points.len() > 1 {
        writeln!(f, "![Memory per connection over connections]({IMAGES}/{LINE_CHART})\n")?;
    }
    let mut table = Table::new(
        0,
        &[
            "connections",
            "anonymous memory per connection",
            "kernel slab per connection, both ends",
            "CPU to accept one",
            "connects/s",
            "anonymous memory after all have left",
        ],
    );
    for point in &part.points {
        let report = point.first_cycle().map(|cycle| &cycle.report);
        let share = report.and_then(|report| report.per_connection);
        let cpu = report
            .and_then(|report| report.opening_server_cpu)
            .map_or_else(|| NONE.to_owned(), |cpu| cpu_share(cpu, point.connections));
        let left = report.and_then(|report| report.left_growth_bytes);
        table.row(&[
            grouped(point.connections as u64),
            bytes(point.anonymous_per_connection_bytes()),
            bytes(share.map(|share| share.kernel_slab_both_ends_bytes)),
            cpu,
            report.map_or_else(|| NONE.to_owned(), |report| rate(report.connects_per_second)),
            bytes(left.map(|bytes| bytes as f64)),
        ]);
    }
    writeln!(f, "{table}")?;
    match part.growth() {
        None => writeln!(
            f,
            "The memory of a connection does not grow with their number, when {} of the whole \
             process are taken for chance.",
            shown_bytes(CHANCE_BYTES),
        )?,
        Some(growth) => writeln!(
            f,
            "**The memory of a connection grows**, from {} at {} connections to {} at {}.",
            shown_bytes(growth.from_bytes),
            grouped(growth.from_connections as u64),
            shown_bytes(growth.to_bytes),
            grouped(growth.to_connections as u64),
        )?,
    }
    for point in &part.points {
        if let Some(reason) = point.failures.first_reason() {
            let connections = grouped(point.connections as u64);
            writeln!(f, "- {connections} connections: **failures**, the first: {reason}")?;
        }
    }
    write_occasion(f, &part.machine, first)
}

/// The kernel counts CPU time in ticks. Below one tick, only the bound is known.
fn cpu_share(cpu: Seconds, connections: usize) -> String {
    let (sign, seconds) = match cpu.0.as_secs_f64() {
        0.0 => ("< ", 1.0 / rustix::param::clock_ticks_per_second() as f64),
        seconds => ("", seconds),
    };
    format!("{sign}{:.0} µs", seconds * 1e6 / connections as f64)
}
