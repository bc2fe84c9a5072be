//! The table of comparisons of two cases: a row for each comparison.

use std::fmt::{self, Formatter};

use super::figures::{cpu, cpu_cell, latency_cell, p99_9, ratio_cell};
use super::servers::write_failures;
use crate::commands::compare::document::{CaseResult, ComparisonResult};
use crate::commands::compare::statistics::{Quartiles, ratio};
use crate::output::table::Table;

pub(super) fn write(f: &mut Formatter<'_>, comparisons: &[ComparisonResult]) -> fmt::Result {
    let Some(ComparisonResult { heading, unit, cases, .. }) = comparisons.first() else {
        return Ok(());
    };
    let [one, other] = &cases[..] else {
        return Ok(());
    };
    let mut scenarios: Vec<_> =
        comparisons.iter().map(|comparison| format!("`{}`", comparison.scenario)).collect();
    scenarios.dedup();
    writeln!(f, "\n### {}: {heading}\n", scenarios.join(", "))?;
    let is_named = comparisons
        .iter()
        .all(|comparison| comparison.cases.last().is_some_and(|last| last.name == other.name));
    let (one, other) = (&one.name, if is_named { &other.name } else { "the other" });
    let columns = [
        "",
        &format!("CPU per {unit}, {one}"),
        &format!("CPU per {unit}, {other}"),
        &format!("CPU, {one} : {other}"),
        &format!("p99, {one}"),
        &format!("p99, {other}"),
        &format!("p99.9, {one}"),
        &format!("p99.9, {other}"),
    ];
    let mut table = Table::new(1, &columns);
    for comparison in comparisons {
        if let [one, other] = &comparison.cases[..] {
            let p99 = |report| latency_cell(report, |sample| sample.p99_us);
            let p99_9 = |report| latency_cell(report, p99_9);
            table.row(&[
                comparison.title.clone(),
                cpu_cell(one),
                cpu_cell(other),
                ratio_cell(ratio(one, other, cpu)),
                p99(one),
                p99(other),
                p99_9(one),
                p99_9(other),
            ]);
        }
    }
    write!(f, "{table}")?;
    for comparison in comparisons {
        for report in &comparison.cases {
            write_distribution(f, report)?;
        }
        write_failures(f, comparison)?;
    }
    Ok(())
}

/// Writes how the kernel distributed the connections, for a server with several loops.
fn write_distribution(f: &mut Formatter<'_>, report: &CaseResult) -> fmt::Result {
    // An epoll instance without connections belongs to another thread.
    let loops = |sizes: &[usize]| -> Vec<usize> {
        sizes.iter().copied().filter(|size| *size > 0).collect()
    };
    let shares: Vec<f64> = report
        .samples
        .iter()
        .map(|sample| loops(&sample.connections_per_epoll))
        .filter(|loops| loops.len() > 1)
        .filter_map(|loops| {
            let largest = *loops.iter().max()?;
            Some(largest as f64 / loops.iter().sum::<usize>() as f64)
        })
        .collect();
    match Quartiles::of(shares) {
        None => Ok(()),
        Some(Quartiles { median, high_quartile, .. }) => writeln!(
            f,
            "\nOf the connections to {}, the fuller loop had {:.0} % (median; upper quartile \
             {:.0} %).",
            report.name,
            median * 100.0,
            high_quartile * 100.0
        ),
    }
}
