//! The chart of the servers: a bar for each server, as long as its memory per connection.
//!
//! One scale cannot show a server that takes 150 KiB and one that takes 70 bytes. So the chart
//! repeats the short bars below, enlarged.

use super::document::{Outcome, RowReport, ServersPart};
use crate::output::canvas::{Canvas, pixels, tick_bytes, tick_label};
use crate::output::table::grouped;
use crate::output::units::shown_bytes;
use crate::servers::TIDEGATE;

/// Draws the chart, or returns `None` if nothing was measured.
pub(super) fn draw(part: &ServersPart) -> Option<String> {
    let mut bars: Vec<Bar<'_>> = part.rows.iter().filter_map(Bar::of).collect();
    bars.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    let largest = bars.first()?.bytes.max(1.0);
    let small = bars.partition_point(|bar| bar.bytes >= largest * SMALL);
    let enlarged = &bars[small..];
    let has_enlarged = small > 0 && enlarged.first().is_some_and(|bar| bar.bytes >= 1.0);

    let below = HEAD_HEIGHT + part_height(&bars);
    let height = below + if has_enlarged { CAPTION_HEIGHT + part_height(enlarged) } else { 0.0 };
    let mut canvas = Canvas::new(TITLE, WIDTH, height);
    canvas.text("title", MARGIN, 36.0, TITLE);
    canvas.text("subtitle", MARGIN, 58.0, subtitle(part));
    draw_bars(&mut canvas, HEAD_HEIGHT, &bars, largest);
    if has_enlarged {
        let times = largest / enlarged[0].bytes;
        let caption = format!("The small ones again, enlarged {times:.0} times");
        canvas.text("part", MARGIN, below + 14.0, caption);
        draw_bars(&mut canvas, below + CAPTION_HEIGHT, enlarged, enlarged[0].bytes);
    }
    Some(canvas.into_svg())
}

#[derive(Debug)]
struct Bar<'a> {
    row: &'a RowReport,
    bytes: f64,
}

impl<'a> Bar<'a> {
    /// `None` for a server that was not measured.
    fn of(row: &'a RowReport) -> Option<Self> {
        match &row.outcome {
            Outcome::Measured(figures) => {
                // A negative figure is noise.
                let bytes = figures.anonymous_per_connection_bytes()?.max(0.0);
                Some(Self { row, bytes })
            }
            Outcome::Failed { .. } | Outcome::Skipped { .. } => None,
        }
    }

    fn class(&self) -> &'static str {
        if self.row.row.starts_with(TIDEGATE) { "ours" } else { "other" }
    }
}

fn subtitle(part: &ServersPart) -> String {
    let connections = grouped(part.settings.connections as u64);
    format!(
        "{connections} idle connections; anonymous memory of the server's process, \
         without the kernel's; shorter is better"
    )
}

fn draw_bars(canvas: &mut Canvas, top: f64, bars: &[Bar<'_>], largest: f64) {
    let bottom = top + BAR_PITCH * bars.len() as f64;
    let x = |bytes: f64| pixels(BARS_LEFT + bytes / largest * BARS_WIDTH);
    let tick = tick_bytes(largest);
    let mut bytes = 0.0;
    while bytes <= largest {
        canvas.line("grid", (x(bytes), top), (x(bytes), bottom));
        canvas.text("tick", x(bytes), bottom + 16.0, tick_label(bytes));
        bytes += tick;
    }
    for (bar, index) in bars.iter().zip(0_u32..) {
        let y = top + BAR_PITCH * f64::from(index);
        let Bar { row, bytes, .. } = bar;
        canvas.text(name_class(bar), BARS_LEFT - 12.0, y + 15.0, row.server.as_str());
        canvas.text("design", BARS_LEFT - 12.0, y + 29.0, row.design.as_str());
        let length = pixels(bytes / largest * BARS_WIDTH);
        canvas.bar(bar.class(), (BARS_LEFT, y + 8.0), length, BAR_PITCH - 16.0);
        canvas.text("value", BARS_LEFT + length + 8.0, y + 23.0, shown_bytes(*bytes));
    }
    canvas.line("axis", (BARS_LEFT, top), (BARS_LEFT, bottom));
}

fn name_class(bar: &Bar<'_>) -> &'static str {
    if bar.class() == "ours" { "name ours" } else { "name" }
}

fn part_height(bars: &[Bar<'_>]) -> f64 {
    BAR_PITCH * bars.len() as f64 + TICKS_HEIGHT
}

const TITLE: &str = "Memory of an idle WebSocket connection";
const WIDTH: f64 = 880.0;
const MARGIN: f64 = 24.0;
const HEAD_HEIGHT: f64 = 80.0;
const CAPTION_HEIGHT: f64 = 28.0;
const BARS_LEFT: f64 = 270.0;
/// Leaves room for the figure of the longest bar.
const BARS_WIDTH: f64 = 510.0;
const BAR_PITCH: f64 = 38.0;
const TICKS_HEIGHT: f64 = 38.0;
/// Bars below this part of the longest are repeated.
const SMALL: f64 = 0.04;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::study::document::Document;

    fn part() -> ServersPart {
        let document: Document =
            serde_json::from_str(include_str!("golden/memory-study.json")).unwrap();
        document.servers.unwrap()
    }

    #[test]
    fn every_measured_server_has_a_bar_and_the_small_ones_have_two() {
        let chart = draw(&part()).unwrap();
        // Each text stands on a line of its own.
        let count = |text: &str| chart.lines().filter(|line| *line == text).count();
        assert_eq!(count("gorilla/websocket"), 1);
        assert_eq!(count("tidegate"), 2);
        assert_eq!(count("Bun"), 0, "it was skipped");
        assert!(chart.contains("enlarged"));
    }

    #[test]
    fn without_measured_servers_there_is_no_chart() {
        let mut part = part();
        part.rows.retain(|row| !matches!(row.outcome, Outcome::Measured(_)));
        assert_eq!(draw(&part), None);
    }
}
