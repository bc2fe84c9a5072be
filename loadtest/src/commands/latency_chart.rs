//! The chart of one run: a bar for each quantile of the latency.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::error::CommandError;
use crate::output::canvas::{Canvas, pixels};
use crate::stats::latency::LatencySummary;

/// The option of the commands that measure latencies.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ChartArguments {
    /// Write a chart of the latency to this file, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

impl ChartArguments {
    /// Writes the chart if one is asked for. The first line of the report says what was measured.
    pub(crate) fn write(
        &self,
        latency: Option<&LatencySummary>,
        report: &str,
    ) -> Result<(), CommandError> {
        let Some(file) = &self.chart else { return Ok(()) };
        let Some(latency) = latency else {
            let why = format!("--chart {}: no latency was measured", file.display());
            return Err(CommandError::Usage(why));
        };
        let subtitle = report.lines().next().unwrap_or_default();
        fs::write(file, draw(latency, subtitle))
            .map_err(|error| CommandError::Usage(format!("--chart {}: {error}", file.display())))
    }
}

/// Bars on a logarithmic scale: the largest latency is often a thousand times the median.
fn draw(latency: &LatencySummary, subtitle: &str) -> String {
    let LatencySummary { p50, p90, p99, p99_9, max, .. } = *latency;
    let quantiles = [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max)];
    let decade = |micros: f64| micros.max(MICROS_MIN).log10();
    let (first, last) = (decade(p50.0).floor(), decade(max.0).ceil());
    let decades = (last - first).max(1.0);
    let x = |micros: f64| pixels(LEFT + (decade(micros) - first) / decades * WIDTH);
    let bottom = TOP + PITCH * quantiles.len() as f64;

    let mut canvas = Canvas::new(TITLE, LEFT + WIDTH + RIGHT, bottom + 36.0);
    canvas.text("title", 24.0, 36.0, TITLE);
    canvas.text("subtitle", 24.0, 58.0, subtitle);
    let mut power = first;
    while power <= first + decades {
        let micros = crate::stats::latency::Micros(10_f64.powf(power));
        canvas.line("grid", (x(micros.0), TOP), (x(micros.0), bottom));
        canvas.text("tick", x(micros.0), bottom + 18.0, tick_label(&micros.to_string()));
        power += 1.0;
    }
    for ((name, micros), index) in quantiles.into_iter().zip(0_u32..) {
        let y = TOP + PITCH * f64::from(index);
        canvas.text("name", LEFT - 12.0, y + 20.0, name);
        // The median may begin a decade: its bar is to be seen all the same.
        let length = (x(micros.0) - LEFT).max(2.0);
        canvas.bar("ours", (LEFT, y + 6.0), length, PITCH - 12.0);
        canvas.text("value", LEFT + length + 8.0, y + 20.0, micros.to_string());
    }
    canvas.line("axis", (LEFT, TOP), (LEFT, bottom));
    canvas.into_svg()
}

/// `10.00 ms` as `10 ms`.
fn tick_label(shown: &str) -> String {
    match shown.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        Some(_) | None => shown.to_owned(),
    }
}

const TITLE: &str = "Latency";
const LEFT: f64 = 84.0;
const WIDTH: f64 = 640.0;
/// Room for the figure of the longest bar.
const RIGHT: f64 = 110.0;
const TOP: f64 = 76.0;
const PITCH: f64 = 32.0;
/// Below the resolution of the figures.
const MICROS_MIN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::latency::Latencies;

    #[test]
    fn every_quantile_has_a_bar_and_decades_are_the_scale() {
        let mut latencies = Latencies::new();
        for millis in 1..=100 {
            latencies.record(Duration::from_millis(millis));
        }
        let chart = draw(&latencies.summary().unwrap(), "echo <of> 100");
        let count = |text: &str| chart.lines().filter(|line| *line == text).count();
        for name in ["p50", "p90", "p99", "p99.9", "max", "10 ms", "echo &lt;of&gt; 100"] {
            assert_eq!(count(name), 1, "{name} in {chart}");
        }
    }

    #[test]
    fn one_latency_makes_a_chart_as_well() {
        for nanos in [1, 1_000, 1_000_000_000] {
            let mut latencies = Latencies::new();
            latencies.record(Duration::from_nanos(nanos));
            let chart = draw(&latencies.summary().unwrap(), "");
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
