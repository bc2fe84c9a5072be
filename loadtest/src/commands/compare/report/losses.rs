//! The list of the comparisons in which tidegate does not win.

use std::fmt::{self, Formatter};

use super::figures::{cpu, p99_9, throughput};
use crate::commands::compare::document::{ComparisonResult, Document};
use crate::commands::compare::statistics::{Quartiles, ratio};
use crate::servers::TIDEGATE;

pub(super) fn write(f: &mut Formatter<'_>, document: &Document) -> fmt::Result {
    writeln!(f, "\n### Where tidegate does not win\n\n{RULE}\n")?;
    let lines: Vec<String> = document
        .comparisons
        .iter()
        .filter(|comparison| is_of_servers(comparison))
        .flat_map(losses)
        .collect();
    if lines.is_empty() {
        return writeln!(f, "Nowhere among what was measured here.");
    }
    lines.iter().try_for_each(|line| writeln!(f, "- {line}"))
}

/// The other comparisons are of tidegate with itself.
fn is_of_servers(comparison: &ComparisonResult) -> bool {
    comparison.cases.first().is_some_and(|own| own.name == TIDEGATE)
}

fn losses(comparison: &ComparisonResult) -> Vec<String> {
    let Some((own, others)) = comparison.cases.split_first() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for other in others {
        let cpu = ratio(own, other, cpu);
        let of_what = if comparison.is_pair { &comparison.title } else { &other.name };
        let mut line = |what: &str, ratio: Option<Quartiles>| {
            if let Some(ratio) = ratio {
                let scenario = &comparison.scenario;
                lines.push(format!("`{scenario}`, {of_what}: {what} × {:.2}", ratio.median));
            }
        };
        line("CPU", cpu.filter(|ratio| ratio.is_above_one()));
        let is_even = |ratio: &Quartiles| !ratio.is_above_one() && !ratio.is_below_one();
        line("CPU about the same,", cpu.filter(is_even));
        if comparison.is_pair {
            line("p99.9", ratio(own, other, p99_9).filter(|ratio| ratio.is_above_one()));
        } else {
            line("rate", ratio(own, other, throughput).filter(|ratio| ratio.is_below_one()));
        }
    }
    lines
}

const RULE: &str = "Where most rounds speak for the other server, and where they do not agree:";
