//! Where tidegate does not win against another server.

use std::fmt::{self, Formatter};

use super::super::document::{ContestReport, Document};
use super::super::statistics::{Spread, ratio};
use super::figures::{cpu, p99_9, throughput};
use crate::servers::TIDEGATE;

pub(super) fn write(f: &mut Formatter<'_>, document: &Document) -> fmt::Result {
    writeln!(f, "\n### Where tidegate does not win\n\n{RULE}\n")?;
    let lines: Vec<String> = document
        .contests
        .iter()
        .filter(|contest| is_of_servers(contest))
        .flat_map(losses)
        .collect();
    if lines.is_empty() {
        return writeln!(f, "Nowhere among what was measured here.");
    }
    lines.iter().try_for_each(|line| writeln!(f, "- {line}"))
}

/// Other contests are of tidegate with itself.
fn is_of_servers(contest: &ContestReport) -> bool {
    contest.contenders.first().is_some_and(|own| own.name == TIDEGATE)
}

fn losses(contest: &ContestReport) -> Vec<String> {
    let Some((own, rivals)) = contest.contenders.split_first() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for rival in rivals {
        let cpu = ratio(own, rival, cpu);
        let of_what = if contest.is_pair { &contest.title } else { &rival.name };
        let mut line = |what: &str, ratio: Option<Spread>| {
            if let Some(ratio) = ratio {
                let scenario = &contest.scenario;
                lines.push(format!("`{scenario}`, {of_what}: {what} × {:.2}", ratio.median));
            }
        };
        line("CPU", cpu.filter(|ratio| ratio.is_above_one()));
        let is_even = |ratio: &Spread| !ratio.is_above_one() && !ratio.is_below_one();
        line("CPU about the same,", cpu.filter(is_even));
        if contest.is_pair {
            line("p99.9", ratio(own, rival, p99_9).filter(|ratio| ratio.is_above_one()));
        } else {
            line("rate", ratio(own, rival, throughput).filter(|ratio| ratio.is_below_one()));
        }
    }
    lines
}

const RULE: &str = "Where most rounds speak for the other server, and where they do not agree:";
