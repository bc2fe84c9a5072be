//! The cells of the tables.

use crate::commands::compare::document::{CaseResult, Sample};
use crate::commands::compare::statistics::{Quartiles, median};
use crate::output::table::{NONE, rate};
use crate::stats::cpu_use::SATURATED_SHARE;
use crate::stats::latency::Micros;

/// The figures that are compared.
pub(super) fn cpu(sample: &Sample) -> Option<f64> {
    sample.server_cpu_us_per_unit
}

pub(super) fn throughput(sample: &Sample) -> Option<f64> {
    Some(sample.units_per_second)
}

pub(super) fn p99_9(sample: &Sample) -> Option<f64> {
    sample.p99_9_us
}

/// The median CPU time for each unit.
pub(super) fn cpu_cell(report: &CaseResult) -> String {
    cell(median(report, cpu), |micros| match micros {
        micros if micros < 9.995 => format!("{micros:.2} µs"),
        micros if micros < 99.95 => format!("{micros:.1} µs"),
        micros => format!("{micros:.0} µs"),
    })
}

/// The median rate, with a mark where it may be the limit of the load generator.
pub(super) fn rate_cell(report: &CaseResult) -> String {
    let mark = if is_client_saturated(report) { SATURATED } else { "" };
    cell(median(report, throughput), |per_second| format!("{}{mark}", rate(per_second)))
}

pub(super) fn is_client_saturated(report: &CaseResult) -> bool {
    median(report, |sample| Some(sample.client_busy_share))
        .is_some_and(|share| share > SATURATED_SHARE)
}

/// The median of a latency.
pub(super) fn latency_cell(
    report: &CaseResult,
    latency: impl Fn(&Sample) -> Option<f64>,
) -> String {
    cell(median(report, latency), |micros| Micros(micros).to_string())
}

/// A ratio and its quartiles.
pub(super) fn ratio_cell(ratio: Option<Quartiles>) -> String {
    cell(ratio, |ratio| {
        let Quartiles { median, low_quartile, high_quartile } = ratio;
        format!("**{median:.2}** ({low_quartile:.2}–{high_quartile:.2})")
    })
}

fn cell<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

pub(super) const SATURATED: &str = " *";
