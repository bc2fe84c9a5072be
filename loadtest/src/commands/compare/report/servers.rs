//! The table of a comparison of all servers: a row for each server.

use std::fmt::{self, Formatter};

use super::figures::{
    SATURATED, cpu, cpu_cell, is_client_saturated, latency_cell, p99_9, rate_cell, ratio_cell,
    throughput,
};
use crate::commands::compare::document::{CaseResult, ComparisonResult};
use crate::commands::compare::statistics::ratio;
use crate::output::table::{NONE, Table};

pub(super) fn write(f: &mut Formatter<'_>, comparison: &ComparisonResult) -> fmt::Result {
    let ComparisonResult { scenario, heading, unit, cases, .. } = comparison;
    let Some((own, others)) = cases.split_first() else {
        return Ok(());
    };
    writeln!(f, "\n### `{scenario}`: {heading}\n")?;
    let name = &own.name;
    let columns = [
        "server",
        &format!("CPU per {unit}"),
        &format!("CPU, {name} : it"),
        "per second",
        &format!("rate, {name} : it"),
        "p50",
        "p99",
        "p99.9",
    ];
    let mut table = Table::new(1, &columns);
    table.row(&row(own, [NONE.to_owned(), NONE.to_owned()]));
    for other in others {
        let ratios = [ratio(own, other, cpu), ratio(own, other, throughput)].map(ratio_cell);
        table.row(&row(other, ratios));
    }
    write!(f, "{table}")?;
    if cases.iter().any(is_client_saturated) {
        let mark = SATURATED.trim_start();
        writeln!(
            f,
            "\n\\{mark} The load generator had no time to spare: the server may do more. Its CPU \
             time tells."
        )?;
    }
    write_failures(f, comparison)
}

/// Writes the cases with failures, and the reason of the first.
pub(super) fn write_failures(f: &mut Formatter<'_>, comparison: &ComparisonResult) -> fmt::Result {
    let failed = comparison.cases.iter().filter(|report| !report.failures.is_empty());
    for (index, CaseResult { name, failures, samples }) in failed.enumerate() {
        if index == 0 {
            writeln!(f)?;
        }
        let reason = failures[0].lines().next().unwrap_or_default();
        let (failed, went_well) = (failures.len(), samples.len());
        writeln!(f, "- {name}: **failed** {failed} times, went well {went_well} times: {reason}")?;
    }
    Ok(())
}

fn row(report: &CaseResult, [cpu, rate]: [String; 2]) -> Vec<String> {
    vec![
        report.name.clone(),
        cpu_cell(report),
        cpu,
        rate_cell(report),
        rate,
        latency_cell(report, |sample| sample.p50_us),
        latency_cell(report, |sample| sample.p99_us),
        latency_cell(report, p99_9),
    ]
}
