//! The method of the measurement, the versions and the machine.

use std::fmt::{self, Formatter};

use crate::commands::study::document::{Document, Outcome, ServersPart, Settings};
use crate::output::table::{NONE, Table, grouped};
use crate::output::units::shown_bytes;
use crate::stats::machine::Machine;

pub(super) fn write(f: &mut Formatter<'_>, document: &Document, first: &Machine) -> fmt::Result {
    if let Some(part) = &document.servers {
        writeln!(f, "\n## How it was measured\n")?;
        write_settings(f, &part.settings)?;
        writeln!(f, "\n{READING}\n\n## Versions\n")?;
        write_versions(f, part)?;
    }
    writeln!(f, "\n## Machine\n")?;
    write_machine(f, first)?;
    writeln!(f, "\n## To measure it again\n\n{AGAIN}")
}

/// Writes the time of a measurement, and the machine if it is not `first`.
pub(super) fn write_occasion(
    f: &mut Formatter<'_>,
    machine: &Machine,
    first: &Machine,
) -> fmt::Result {
    if machine.is_same(first) {
        let load = machine.load_average.map_or_else(String::new, load);
        writeln!(f, "\nMeasured at {}{load}.", machine.measured_at)
    } else {
        writeln!(f)?;
        write_machine(f, machine)
    }
}

fn write_settings(f: &mut Formatter<'_>, settings: &Settings) -> fmt::Result {
    let Settings { connections, cycles, hold_seconds, warm_up_connections, .. } = settings;
    let Settings { in_flight, quiet_seconds, seed, .. } = settings;
    writeln!(
        f,
        "Every server gets the same: it is started alone, as a release build with its library's \
         default settings (but for the one that is called tuned), serves an echo on 127.0.0.1, and is ended after its row. One setting is \
         not left to itself: all have an accept queue longer than the handshakes that are under \
         way at a time, for otherwise the kernel makes clients wait a second, and that would be \
         measured.\n\n\
         1. Warm-up: {warm_up_connections} connections come, echo a message and leave, one after \
         the other.\n\
         2. Baseline, once the anonymous memory has not changed for {quiet_seconds} s.\n\
         3. {} connections are opened, at most {in_flight} handshakes at a time, and rest for \
         {hold_seconds} s. Then everything is read. Per connection is the difference to the \
         baseline, divided.\n\
         4. Each connection echoes a message, which is verified, and is closed properly. Memory \
         is read again once it has settled.\n\
         5. 3 and 4, {cycles} times in all: whatever grows again is no reserve but a leak.\n\n\
         Between two servers the kernel is left to forget the closed connections (TIME_WAIT). The \
         client is one thread with one epoll; its seed is {seed}.",
        grouped(*connections as u64),
    )
}

fn write_versions(f: &mut Formatter<'_>, part: &ServersPart) -> fmt::Result {
    let mut table = Table::new(2, &["server", "built from"]);
    for row in &part.rows {
        if let Outcome::Measured(figures) = &row.outcome {
            table.row(&[row.server.clone(), figures.version.clone()]);
        }
    }
    write!(f, "{table}")
}

fn write_machine(f: &mut Formatter<'_>, machine: &Machine) -> fmt::Result {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let memory =
        machine.memory_bytes.map_or_else(|| NONE.to_owned(), |bytes| shown_bytes(bytes as f64));
    let Machine { measured_at, kernel, cores, loadtest, build, .. } = machine;
    let mut table = Table::new(2, &["", ""]);
    for (name, fact) in [
        (
            "measured at",
            format!("{measured_at}{}", machine.load_average.map_or_else(String::new, load)),
        ),
        ("system", format!("{kernel}, {}", or_none(&machine.system))),
        ("processor", format!("{cores} cores of {}", or_none(&machine.processor))),
        ("memory", memory),
        ("pages", format!("{} bytes", grouped(machine.page_bytes))),
        ("transparent huge pages", or_none(&machine.transparent_huge_pages)),
        ("open files of a process", grouped(machine.open_files_max)),
        ("processes of a user", or_none(&machine.processes_max)),
        ("threads", or_none(&machine.threads_max)),
        ("memory maps of a process", or_none(&machine.map_count_max)),
        ("accept queue", or_none(&machine.accept_queue_max)),
        ("client ports of an address", or_none(&machine.ephemeral_ports)),
        ("loadtest", format!("{loadtest}, {build} build")),
    ] {
        table.row(&[name.to_owned(), fact]);
    }
    write!(f, "{table}")
}

fn load(average: f64) -> String {
    format!(", load average {average} before")
}

const READING: &str = "\
How to read it:

- **Anonymous memory** is what the process itself allocated and touched: heap, stacks, the \
  runtime's own. It is read from `smaps_rollup`, exact to the page. **RSS** adds the pages of the \
  program's files that happened to be touched, which are shared and can be dropped.
- **Kernel slab** is of the whole machine and counts both ends of each connection, the client's \
  as well as the server's: socket, file, inode, dentry, epoll item. No server can avoid it.
- **CPU seconds to accept them all** and **connects/s** are with client and server on the same \
  cores: compare them with each other, not with another machine's.
- **After all have left** is the growth over the baseline. Allocators keep memory for the next \
  connections, and a collector may not have run: what counts is whether the second time adds to it. \
  Of the Go servers the second figure follows a collection that was asked for; the first does not.
- **tungstenite** has a read buffer of 128 KiB for each connection by default; the tuned row shows \
  what it takes with 4 KiB. **The epoll server on gorilla/websocket** reads whole messages in its \
  only loop, so a client that sends half of one, or only a ping, stops all others. **bare epoll** \
  is no server to use: it is what remains when nothing is kept.";

const AGAIN: &str = "\
```sh
cargo build --release --workspace
scripts/install-peers
target/release/loadtest study
target/release/loadtest study --tls --connections 5000
target/release/loadtest study --sweep 1000,5000,10000,19000
target/release/loadtest study --scale 1000000
```

Each writes its part of the report to `target/study`, or with `--write-docs` to the docs.";
