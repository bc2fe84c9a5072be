//! The chart of the sweep: the cost of a connection by the number of connections.

use svg::node::element::{Circle, Polyline};

use super::document::SweepPart;
use crate::output::canvas::{Canvas, pixels, tick_bytes, tick_label};
use crate::output::table::grouped;
use crate::output::units::shown_bytes;

/// Draws the chart, or returns `None` unless there are two points.
pub(super) fn draw(part: &SweepPart) -> Option<String> {
    let points: Vec<(usize, f64)> = part
        .points
        .iter()
        .filter_map(|point| Some((point.connections, point.anonymous_per_connection_bytes()?)))
        .collect();
    let [_, .., (connections_max, _)] = points.as_slice() else {
        return None;
    };
    let bytes_max = points.iter().fold(1.0_f64, |max, (_, bytes)| max.max(*bytes)) * HEADROOM;
    let x = |connections: usize| {
        pixels(LEFT + connections as f64 / *connections_max as f64 * PLOT_WIDTH)
    };
    let y = |bytes: f64| pixels(BOTTOM - bytes.max(0.0) / bytes_max * PLOT_HEIGHT);

    let mut canvas = Canvas::new(TITLE, WIDTH, HEIGHT);
    canvas.text("title", 24.0, 36.0, TITLE);
    let subtitle = format!("{}: anonymous memory of its process for each connection", part.server);
    canvas.text("subtitle", 24.0, 58.0, subtitle);
    let tick = tick_bytes(bytes_max);
    let mut bytes = 0.0;
    while bytes <= bytes_max {
        canvas.line("grid", (LEFT, y(bytes)), (LEFT + PLOT_WIDTH, y(bytes)));
        canvas.text("tick-left", LEFT - 8.0, y(bytes) + 4.0, tick_label(bytes));
        bytes += tick;
    }
    canvas.line("axis", (LEFT, BOTTOM), (LEFT + PLOT_WIDTH, BOTTOM));
    let corners: Vec<String> =
        points.iter().map(|&(count, bytes)| format!("{},{}", x(count), y(bytes))).collect();
    canvas.add(Polyline::new().set("class", "curve").set("points", corners.join(" ")));
    for &(count, bytes) in &points {
        let point = Circle::new().set("class", "ours").set("r", 4.5);
        canvas.add(point.set("cx", x(count)).set("cy", y(bytes)));
        canvas.text("label", x(count), y(bytes) - 12.0, shown_bytes(bytes));
        canvas.text("tick", x(count), BOTTOM + 18.0, grouped(count as u64));
    }
    Some(canvas.into_svg())
}

const TITLE: &str = "Memory of a connection, by their number";
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 84.0;
const BOTTOM: f64 = 280.0;
const PLOT_WIDTH: f64 = 756.0;
const PLOT_HEIGHT: f64 = 190.0;
/// Room above the highest point.
const HEADROOM: f64 = 1.25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::study::document::Document;

    #[test]
    fn one_point_is_no_line_chart() {
        let document: Document =
            serde_json::from_str(include_str!("golden/memory-study.json")).unwrap();
        let mut part = document.sweep.unwrap();
        let chart = draw(&part).unwrap();
        assert_eq!(chart.matches("<circle").count(), part.points.len());
        part.points.truncate(1);
        assert_eq!(draw(&part), None);
    }
}
