//! What the charts share: the page in the colours of the reader's theme, and functions to draw.

use svg::Document;
use svg::node::Node;
use svg::node::element::{Line, Rectangle, Style, Text, Title};

use super::units::shown_bytes;

/// A chart that is being drawn. The unit is a pixel; the origin is the top left corner.
#[derive(Debug)]
pub(crate) struct Canvas {
    document: Document,
}

impl Canvas {
    /// `title` is what a screen reader reads.
    pub(crate) fn new(title: &str, width: f64, height: f64) -> Self {
        let document = Document::new()
            .set("viewBox", format!("0 0 {width} {height}"))
            .set("width", width)
            .set("height", height)
            .set("role", "img")
            .add(Title::new(title))
            .add(Style::new(STYLE))
            .add(rectangle(0.0, 0.0, width, height).set("class", "page").set("rx", 8));
        Self { document }
    }

    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, text: impl Into<String>) {
        self.add(Text::new(text).set("class", class).set("x", x).set("y", y));
    }

    pub(crate) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let line = Line::new().set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2);
        self.add(line.set("class", class));
    }

    /// A bar that grows to the right.
    pub(crate) fn bar(&mut self, class: &str, (x, y): (f64, f64), width: f64, height: f64) {
        self.add(rectangle(x, y, width, height).set("class", class).set("rx", 2));
    }

    pub(crate) fn add(&mut self, node: impl Into<Box<dyn Node>>) {
        self.document.append(node);
    }

    /// The chart as the text of an SVG file.
    pub(crate) fn into_svg(self) -> String {
        format!("{}\n", self.document)
    }
}

fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Rectangle {
    Rectangle::new().set("x", x).set("y", y).set("width", width).set("height", height)
}

/// Rounded to a tenth of a pixel, so that files do not differ in digits that cannot be seen.
pub(crate) fn pixels(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A round number of bytes that fits three to five times into `bytes`.
pub(crate) fn tick_bytes(bytes: f64) -> f64 {
    let mut unit = 1.0;
    loop {
        for step in [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0] {
            if bytes / (step * unit) <= TICKS_MAX {
                return step * unit;
            }
        }
        unit *= 1024.0;
    }
}

/// The label of a tick, without trailing zeros.
pub(crate) fn tick_label(bytes: f64) -> String {
    let shown = shown_bytes(bytes);
    match shown.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        Some(_) | None => shown,
    }
}

const TICKS_MAX: f64 = 5.0;

/// The colours follow the theme of the page that shows the chart, light or dark.
const STYLE: &str = "
text { font-family: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2933 }
.page { fill: #ffffff }
.title { font-size: 20px; font-weight: 600 }
.subtitle, .part { font-size: 13px; fill: #616e7c }
.part { font-weight: 600; fill: #3e4c59 }
.name { font-size: 13px; font-weight: 600; text-anchor: end }
.design { font-size: 11px; fill: #7b8794; text-anchor: end }
.value { font-size: 13px; font-variant-numeric: tabular-nums }
.tick { font-size: 11px; fill: #7b8794; text-anchor: middle }
.tick-left { font-size: 11px; fill: #7b8794; text-anchor: end }
.label { font-size: 12px; text-anchor: middle; font-variant-numeric: tabular-nums }
.grid { stroke: #e4e7eb; stroke-width: 1 }
.axis { stroke: #9aa5b1; stroke-width: 1 }
.other { fill: #9fb3c8 }
.ours { fill: #0e9aa7 }
.name.ours { fill: #0b7a84 }
.curve { fill: none; stroke: #0e9aa7; stroke-width: 2.5; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #e4e7eb }
.page { fill: #161b22 }
.subtitle, .design, .tick, .tick-left { fill: #9aa5b1 }
.part { fill: #cbd2d9 }
.grid { stroke: #2d3641 }
.axis { stroke: #616e7c }
.other { fill: #486581 }
.ours { fill: #2cb1bc }
.name.ours { fill: #54d1db }
.curve { stroke: #2cb1bc }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(tick_bytes(90.0), 20.0);
        assert_eq!(tick_bytes(500.0), 100.0);
        assert_eq!(tick_bytes(1362.0), 512.0);
        assert_eq!(tick_bytes(4096.0), 1024.0);
        assert_eq!(tick_bytes(160.0 * 1024.0), 50.0 * 1024.0);
        assert_eq!(tick_label(50.0 * 1024.0), "50 KiB");
        assert_eq!(tick_label(100.0 * 1024.0), "100 KiB");
        assert_eq!(tick_label(20.0), "20 B");
    }

    #[test]
    fn markup_in_text_is_escaped() {
        let mut canvas = Canvas::new("a < b", 10.0, 10.0);
        canvas.text("name", 0.0, 0.0, "<script> & co");
        let svg = canvas.into_svg();
        assert!(svg.contains("&lt;script&gt; &amp; co"), "{svg}");
        assert!(!svg.contains("<script>"), "{svg}");
    }
}
