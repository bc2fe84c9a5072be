//! Contests of two each: a row for each contest.

use std::fmt::{self, Formatter};

use super::super::document::{ContenderReport, ContestReport};
use super::super::statistics::{Spread, ratio};
use super::figures::{cpu, cpu_cell, latency_cell, p99_9, ratio_cell};
use super::servers::write_failures;
use crate::table::Table;

pub(super) fn write(f: &mut Formatter<'_>, contests: &[ContestReport]) -> fmt::Result {
    let Some(ContestReport { heading, unit, contenders, .. }) = contests.first() else {
        return Ok(());
    };
    let [one, other] = &contenders[..] else {
        return Ok(());
    };
    let mut scenarios: Vec<_> =
        contests.iter().map(|contest| format!("`{}`", contest.scenario)).collect();
    scenarios.dedup();
    writeln!(f, "\n### {}: {heading}\n", scenarios.join(", "))?;
    let is_named = contests
        .iter()
        .all(|contest| contest.contenders.last().is_some_and(|last| last.name == other.name));
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
    for contest in contests {
        if let [one, other] = &contest.contenders[..] {
            let p99 = |report| latency_cell(report, |sample| sample.p99_us);
            let p99_9 = |report| latency_cell(report, p99_9);
            table.row(&[
                contest.title.clone(),
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
    for contest in contests {
        for report in &contest.contenders {
            write_spread(f, report)?;
        }
        write_failures(f, contest)?;
    }
    Ok(())
}

/// How the kernel spread the connections, where there is more than one loop to spread them over.
fn write_spread(f: &mut Formatter<'_>, report: &ContenderReport) -> fmt::Result {
    // Event loops that got none serve something else.
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
    match Spread::of(shares) {
        None => Ok(()),
        Some(Spread { median, high_quartile, .. }) => writeln!(
            f,
            "\nOf the connections to {}, the fuller loop had {:.0} % (median; upper quartile \
             {:.0} %).",
            report.name,
            median * 100.0,
            high_quartile * 100.0
        ),
    }
}
