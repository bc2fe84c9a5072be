//! The table of published figures beside those of this study.

use std::fmt::{self, Formatter};

use crate::commands::study::document::{Outcome, ServersPart};
use crate::output::table::{Table, bytes, count, grouped};

/// The figures that were published for 10,000 connections.
struct Published {
    row: &'static str,
    server: &'static str,
    heap: &'static str,
    goroutines: u64,
}

const PUBLISHED: [Published; 3] = [
    Published {
        row: "goroutine-gorilla",
        server: "gorilla/websocket, a goroutine per connection",
        heap: "147.93 MB",
        goroutines: 10_003,
    },
    Published {
        row: "epoll-gorilla",
        server: "epoll + gorilla/websocket",
        heap: "79.94 MB",
        goroutines: 5,
    },
    Published { row: "epoll-gobwas", server: "epoll + gobwas/ws", heap: "3.25 MB", goroutines: 5 },
];

/// Writes nothing if none of these servers was measured.
pub(super) fn write(f: &mut Formatter<'_>, part: &ServersPart) -> fmt::Result {
    let mut table = Table::new(
        1,
        &[
            "server",
            "heap, published",
            "heap after a collection, here",
            "heap in use, here",
            "goroutines, published",
            "goroutines, here",
        ],
    );
    let mut is_empty = true;
    for published in &PUBLISHED {
        let figures = part.rows.iter().find_map(|row| match &row.outcome {
            Outcome::Measured(figures) if row.row == published.row => Some(figures),
            Outcome::Failed { .. } | Outcome::Measured(_) | Outcome::Skipped { .. } => None,
        });
        let Some(figures) = figures else {
            continue;
        };
        is_empty = false;
        let first = figures.first_cycle().and_then(|cycle| cycle.runtime_stats);
        let collected = figures
            .cycles
            .iter()
            .rev()
            .find_map(|cycle| cycle.runtime_stats?.heap_after_collection);
        table.row(&[
            published.server.to_owned(),
            published.heap.to_owned(),
            bytes(collected.map(|heap| heap.heap_alloc_bytes as f64)),
            bytes(first.and_then(|view| view.heap).map(|heap| heap.heap_in_use_bytes as f64)),
            grouped(published.goroutines),
            count(first.and_then(|view| view.goroutines)),
        ]);
    }
    if is_empty {
        return Ok(());
    }
    writeln!(f, "\n### The published figures of the Go servers\n\n{table}\n{DIFFERENCE}")
}

const DIFFERENCE: &str = "\
The published figures, for 10,000 connections, are what `pprof` showed as in use: the objects that \
the last collection found alive, projected from samples, with an older Go and older libraries. \
`Heap after a collection` counts the same objects exactly, after a collection asked for while the \
connections were held for the second time. `Heap in use` counts the spans that hold them at the moment of the \
measurement, with dead objects that no collection has found yet. Neither is what the process \
costs: stacks, the runtime's own memory and freed spans that were not given back come on top, \
which is why the tables above compare anonymous memory.";
