//! Metrics by family, as collectors take them, and the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4).

use std::borrow::Cow;
use std::fmt::Write as _;

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl FamilyKind {
    /// Its name in the text format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the prefix that all have.
    pub name: Cow<'static, str>,
    /// What the samples are.
    pub kind: FamilyKind,
    /// What is measured, as a sentence.
    pub help: Cow<'static, str>,
    /// The samples, no two with the same labels.
    pub samples: Vec<Sample>,
}

/// One value of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values. Every name stands in the code, and every value comes from the code or from the
    /// configuration: what clients send never becomes a label.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: SampleValue,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Buckets(Buckets),
}

/// How often a value was at most so large.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds, and the number of values up to each that are above the bound before.
    pub counts: Vec<(f64, u64)>,
    /// The number of values above all bounds.
    pub above: u64,
    /// The sum of all values.
    pub sum: f64,
}

impl Family {
    /// A family without samples.
    #[must_use]
    pub fn new(
        kind: FamilyKind,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name: name.into(), kind, help: help.into(), samples: Vec::new() }
    }

    /// The family with one more sample.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.push(labels, SampleValue::Number(value));
        self
    }

    /// Adds a sample.
    pub fn push(&mut self, labels: &[(&'static str, &str)], value: SampleValue) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value });
    }

    /// The unit that its name says, if it says one.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(&self.name);
        UNITS.iter().find(|unit| name.ends_with(**unit)).copied()
    }
}

/// The text that a collector reads: for each family its help, its type, its unit if it has one, and its
/// samples.
#[must_use]
pub fn prometheus_text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let name = format!("{PREFIX}{}", family.name);
        text.push_str(&format!("# HELP {name} "));
        escape(&mut text, &family.help, false);
        text.push_str(&format!("\n# TYPE {name} {}\n", family.kind.name()));
        if let Some(unit) = family.unit() {
            // A comment to those who do not know it.
            text.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        for Sample { labels, value } in &family.samples {
            match value {
                SampleValue::Number(value) => line(&mut text, &name, labels, None, *value),
                SampleValue::Buckets(buckets) => histogram(&mut text, &name, labels, buckets),
            }
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &[(&str, String)], buckets: &Buckets) {
    let bucket = format!("{name}_bucket");
    let mut total = 0;
    for (bound, count) in &buckets.counts {
        total += count;
        line(text, &bucket, labels, Some(&bound.to_string()), to_float(total));
    }
    total += buckets.above;
    line(text, &bucket, labels, Some("+Inf"), to_float(total));
    line(text, &format!("{name}_sum"), labels, None, buckets.sum);
    line(text, &format!("{name}_count"), labels, None, to_float(total));
}

fn line(text: &mut String, name: &str, labels: &[(&str, String)], bound: Option<&str>, value: f64) {
    text.push_str(name);
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let mut separator = '{';
    for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        text.push(separator);
        text.push_str(name);
        text.push_str("=\"");
        escape(text, value, true);
        text.push('"');
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, " {value}");
}

fn escape(text: &mut String, part: &str, is_quoted: bool) {
    for character in part.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_quoted => text.push_str("\\\""),
            character => text.push(character),
        }
    }
}

/// A count as the formats have it: exact up to 2⁵³.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "collectors keep all values so")]
pub fn to_float(count: u64) -> f64 {
    count as f64
}

/// What all names begin with.
const PREFIX: &str = "tidegate_";
const UNITS: &[&str] = &["seconds", "bytes"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_family_is_written_with_help_type_unit_and_samples() {
        let family = Family::new(FamilyKind::Counter, "sent_bytes_total", "Bytes\nsent.")
            .with(&[("route", "room \"/a\"\\")], 12.0)
            .with(&[], 0.5);
        assert_eq!(
            prometheus_text(&[family, Family::new(FamilyKind::Gauge, "empty", "None.")]),
            "# HELP tidegate_sent_bytes_total Bytes\\nsent.\n\
             # TYPE tidegate_sent_bytes_total counter\n\
             # UNIT tidegate_sent_bytes_total bytes\n\
             tidegate_sent_bytes_total{route=\"room \\\"/a\\\"\\\\\"} 12\n\
             tidegate_sent_bytes_total 0.5\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut family = Family::new(FamilyKind::Histogram, "turn_duration_seconds", "Turns.");
        let counts = vec![(0.001, 2), (0.002, 3)];
        let buckets = Buckets { counts, above: 1, sum: 4.5 };
        family.push(&[("loop", "0")], SampleValue::Buckets(buckets));
        let text = prometheus_text(&[family]);
        let (_, samples) = text.split_once("seconds\ntidegate").unwrap();
        assert_eq!(
            samples,
            "_turn_duration_seconds_bucket{loop=\"0\",le=\"0.001\"} 2\n\
             tidegate_turn_duration_seconds_bucket{loop=\"0\",le=\"0.002\"} 5\n\
             tidegate_turn_duration_seconds_bucket{loop=\"0\",le=\"+Inf\"} 6\n\
             tidegate_turn_duration_seconds_sum{loop=\"0\"} 4.5\n\
             tidegate_turn_duration_seconds_count{loop=\"0\"} 6\n"
        );
    }

    proptest! {
        /// Whatever the configuration calls a route, each sample stays one line.
        #[test]
        fn a_label_cannot_end_its_line(label in "\\PC*|[\"\\\\\n]{0,8}") {
            let family = Family::new(FamilyKind::Gauge, "x", "X.").with(&[("route", &label)], 1.0);
            let text = prometheus_text(&[family]);
            prop_assert_eq!(text.lines().count(), 3);
            let last = text.lines().last().unwrap();
            let inner = last.strip_prefix("tidegate_x{route=\"").unwrap();
            let inner = inner.strip_suffix("\"} 1").unwrap();
            let back = inner.replace("\\\\", "\u{0}").replace("\\n", "\n").replace("\\\"", "\"");
            prop_assert_eq!(back.replace('\u{0}', "\\"), label);
        }
    }
}
