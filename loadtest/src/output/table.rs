//! Tables in markdown, and the numbers in them.

use std::fmt::{self, Display, Formatter};

use crate::output::units::shown_bytes;

/// A table whose first columns hold text and whose other columns hold numbers.
#[derive(Debug)]
pub(crate) struct Table {
    columns: usize,
    lines: Vec<String>,
}

impl Table {
    /// The first `words` columns hold text; the others hold numbers and are aligned right.
    pub(crate) fn new(words: usize, columns: &[&str]) -> Self {
        let rule: Vec<&str> =
            (0..columns.len()).map(|index| if index < words { "---" } else { "--:" }).collect();
        let lines = vec![line(columns), line(&rule)];
        Self { columns: columns.len(), lines }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns, "a cell for each column");
        self.lines.push(line(cells));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<String> =
        cells.iter().map(|cell| cell.as_ref().replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |", cells.join(" | "))
}

/// Stands in a cell whose value was not measured.
pub(crate) const NONE: &str = "–";

/// A number of bytes, if there is one.
pub(crate) fn bytes(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), shown_bytes)
}

/// A count, if there is one.
pub(crate) fn count(value: Option<u64>) -> String {
    value.map_or_else(|| NONE.to_owned(), grouped)
}

/// A rate per second, rounded to tens: the last digit is noise.
pub(crate) fn rate(per_second: f64) -> String {
    group_digits(&format!("{:.0}", (per_second / 10.0).round() * 10.0))
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(value: u64) -> String {
    group_digits(&value.to_string())
}

fn group_digits(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut groups: Vec<&str> = Vec::new();
    if first > 0 {
        groups.push(&digits[..first]);
    }
    groups.extend((first..digits.len()).step_by(3).map(|from| &digits[from..from + 3]));
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (value, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(value), shown);
        }
        assert_eq!(rate(12_345.6), "12,350");
    }

    #[test]
    fn pipes_and_line_breaks_in_a_cell_are_escaped() {
        let mut table = Table::new(1, &["a", "b"]);
        table.row(&["x|y".to_owned(), "1\n2".to_owned()]);
        assert_eq!(table.to_string(), "| a | b |\n| --- | --: |\n| x\\|y | 1 2 |\n");
    }
}
