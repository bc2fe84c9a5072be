//! The method of the measurement, and the servers.

use std::fmt::{self, Formatter};

use crate::commands::compare::document::{Document, Settings};
use crate::output::table::{NONE, Table};

pub(super) fn write(f: &mut Formatter<'_>, document: &Document) -> fmt::Result {
    let Document { machine, settings, .. } = document;
    let Settings { rounds, seconds, warm_up_seconds, server_core, client_core, .. } = settings;
    let processor = machine.processor.as_deref().unwrap_or(NONE);
    writeln!(
        f,
        "Measured at {} on {} cores of {processor}, {}. The servers took turns: in each of \
         {rounds} rounds every server was started on core {server_core}, put under the load from \
         core {client_core} for {warm_up_seconds} s and then measured for {seconds} s, in an order \
         drawn anew. Every byte that came back was compared with what was sent.\n\n\
         Figures are medians of the rounds. Ratios are taken within each round and then their \
         median, with the quartiles in brackets: they compare where the absolute figures, which \
         drift with what else the machine does, do not. A ratio of CPU below 1 and one of rates \
         above 1 are in tidegate's favour. CPU is what the kernel charged to the server's process, \
         all threads, user and system.",
        machine.measured_at, machine.cores, machine.kernel,
    )?;
    if settings.tls { writeln!(f, "\n{TLS}") } else { Ok(()) }
}

const TLS: &str = "All servers and clients spoke TLS 1.3 with X25519 and AES-128-GCM, and all servers had \
     the same certificate on P-256. nginx passes on to a plain tidegate on the same core, whose CPU is \
     not in its figures.";

pub(super) fn write_servers(f: &mut Formatter<'_>, document: &Document) -> fmt::Result {
    writeln!(f, "\n### The servers\n")?;
    let mut table = Table::new(3, &["server", "design", "built from"]);
    for server in &document.servers {
        table.row(&[server.name.clone(), server.design.clone(), server.about.clone()]);
    }
    write!(f, "{table}")?;
    for (index, skipped) in document.skipped.iter().enumerate() {
        if index == 0 {
            writeln!(f)?;
        }
        writeln!(f, "- {}: skipped: {}", skipped.name, skipped.reason)?;
    }
    Ok(())
}
