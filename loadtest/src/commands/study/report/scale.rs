//! The part of the report about connections in several processes.

use std::fmt::{self, Formatter};

use super::method::write_occasion;
use crate::commands::study::document::{ScalePart, ScaledServer};
use crate::output::table::{Table, grouped, rate};
use crate::output::units::shown_bytes;
use crate::stats::machine::Machine;

/// `first` is the machine that the report describes in full.
pub(super) fn write(f: &mut Formatter<'_>, part: &ScalePart, first: &Machine) -> fmt::Result {
    let connections = grouped(part.connections as u64);
    writeln!(f, "\n## {connections} connections in several processes\n")?;
    writeln!(
        f,
        "One process may have {} files open here, so {} of tidegate share the port \
         (`share_port = true`) and the kernel spreads the connections over them; {} processes of \
         clients open them from addresses of their own in 127.0.0.0/8.\n",
        grouped(part.machine.open_files_max),
        part.servers.len(),
        part.client_processes,
    )?;
    if part.servers.len() > ROWS_MAX {
        writeln!(f, "Shown are the processes with the fewest and with the most connections.\n")?;
    }
    write_table(f, part)?;
    let held = part.held().max(1) as f64;
    let slab = part.kernel_held.slab_bytes as f64 - part.kernel_baseline.slab_bytes as f64;
    writeln!(
        f,
        "{} of {connections} connections were opened in {:.1} s ({}/s), {} held, {} echoed a \
         message after {:.0} s and {} were closed properly. Each costs {} of anonymous memory, and \
         {} of the kernel's slab at both ends.",
        grouped(part.connections_opened as u64),
        part.opening_seconds,
        rate(part.connections_opened as f64 / part.opening_seconds),
        grouped(part.held() as u64),
        grouped(part.echoes_verified as u64),
        part.hold_seconds,
        grouped(part.connections_closed as u64),
        shown_bytes(part.anonymous_per_connection_bytes()),
        shown_bytes(slab / held),
    )?;
    write_shares(f, part)?;
    if let Some(reason) = part.failures.first_reason() {
        writeln!(f, "\n**{} failures**, the first: {reason}", part.failures.count())?;
    }
    write_occasion(f, &part.machine, first)
}

/// Writes what the servers hold beside what the kernel holds, and what opening costs.
fn write_shares(f: &mut Formatter<'_>, part: &ScalePart) -> fmt::Result {
    let [before, held] = [&part.kernel_baseline, &part.kernel_held];
    let (connections, growth) =
        (part.held().max(1) as f64, |held: u64, before: u64| held as f64 - before as f64);
    let anonymous = part.anonymous_per_connection_bytes() * connections;
    let mut table = Table::new(1, &["held by", "in all", "for each connection"]);
    for (name, bytes) in [
        ("the processes of tidegate, anonymous memory", anonymous),
        ("the kernel's slab, both ends", growth(held.slab_bytes, before.slab_bytes)),
        (
            "…of it unreclaimable",
            growth(held.slab_unreclaimable_bytes, before.slab_unreclaimable_bytes),
        ),
        // The kernel counts them in batches, so the figure may be a little below that of before.
        (
            "buffers of TCP, both ends",
            growth(held.tcp_buffer_bytes, before.tcp_buffer_bytes).max(0.0),
        ),
    ] {
        let cells = [name.to_owned(), shown_bytes(bytes), shown_bytes(bytes / connections)];
        table.row(&cells);
    }
    write!(f, "\n{table}")?;
    if let Some(micros) = part.opening_cpu_micros() {
        write!(f, "\nThe servers took {micros:.0} µs of CPU time to open one")?;
        match part.ping_idle_seconds {
            Some(seconds) => writeln!(f, "; they pinged after a silence of {seconds:.0} s.")?,
            None => writeln!(f, ".")?,
        }
    }
    if let Some(available) = part.memory_available_bytes {
        writeln!(
            f,
            "\nWhile all were held, {} of the machine's memory were still available.",
            shown_bytes(available as f64)
        )?;
    }
    Ok(())
}

/// The servers with their numbers; of many, the one with the fewest and the one with the most
/// connections.
fn shown(servers: &[ScaledServer]) -> Vec<(usize, &ScaledServer)> {
    let numbered = || (1..).zip(servers);
    if servers.len() <= ROWS_MAX {
        return numbered().collect();
    }
    let by_connections = |(_, server): &(usize, &ScaledServer)| server.connections;
    let ends = [numbered().min_by_key(by_connections), numbered().max_by_key(by_connections)];
    ends.into_iter().flatten().collect()
}

fn write_table(f: &mut Formatter<'_>, part: &ScalePart) -> fmt::Result {
    let mut table = Table::new(
        1,
        &[
            "process",
            "connections",
            "anonymous memory before",
            "…with all connections",
            "…after all have left",
            "RSS with all connections",
            "CPU seconds",
        ],
    );
    for (number, server) in shown(&part.servers) {
        let ScaledServer { connections, baseline, held, left, .. } = server;
        table.row(&[
            format!("tidegate {number}"),
            grouped(*connections as u64),
            shown_bytes(baseline.anonymous_bytes as f64),
            shown_bytes(held.anonymous_bytes as f64),
            shown_bytes(left.anonymous_bytes as f64),
            shown_bytes(held.rss_bytes as f64),
            format!("{:.2}", left.cpu.0.as_secs_f64()),
        ]);
    }
    let sum = |pick: fn(&ScaledServer) -> f64| part.servers.iter().map(pick).sum::<f64>();
    table.row(&[
        "**all**".to_owned(),
        grouped(part.held() as u64),
        shown_bytes(sum(|server| server.baseline.anonymous_bytes as f64)),
        shown_bytes(sum(|server| server.held.anonymous_bytes as f64)),
        shown_bytes(sum(|server| server.left.anonymous_bytes as f64)),
        shown_bytes(sum(|server| server.held.rss_bytes as f64)),
        format!("{:.2}", sum(|server| server.left.cpu.0.as_secs_f64())),
    ]);
    writeln!(f, "{table}")
}

const ROWS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::study::document::Document;

    #[test]
    fn of_many_servers_those_with_the_fewest_and_the_most_connections_are_shown() {
        let document: Document =
            serde_json::from_str(include_str!("../golden/memory-study.json")).unwrap();
        let one = document.scale.unwrap().servers[0];
        let servers: Vec<ScaledServer> = (0..20)
            .map(|index| ScaledServer { connections: [7, 3, 9, 8][index % 4] + index, ..one })
            .collect();
        let numbers = |servers| -> Vec<usize> {
            shown(servers).into_iter().map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(&servers), [2, 20]);
        assert_eq!(numbers(&servers[..ROWS_MAX]), (1..=ROWS_MAX).collect::<Vec<_>>());
    }
}
