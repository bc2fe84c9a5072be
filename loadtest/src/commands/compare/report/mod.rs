//! The report, which is made from the raw figures alone.

mod figures;
mod losses;
mod method;
mod pairs;
mod servers;

use std::fmt::{self, Display, Formatter};

use crate::commands::compare::document::{CaseResult, ComparisonResult, Document};

impl Display for Document {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        method::write(f, self)?;
        for comparisons in self.comparisons.chunk_by(|one, next| one.heading == next.heading) {
            match comparisons {
                [comparison] if !comparison.is_pair => servers::write(f, comparison)?,
                _ => pairs::write(f, comparisons)?,
            }
        }
        losses::write(f, self)?;
        method::write_servers(f, self)
    }
}

impl ComparisonResult {
    /// A line about the latest round, for the progress of a run.
    pub(crate) fn line(&self, round: usize) -> String {
        let shown = |report: &CaseResult| {
            let sample = report.samples.last().filter(|sample| sample.round == round);
            let cpu = match sample.and_then(|sample| sample.server_cpu_us_per_unit) {
                Some(micros) => format!("{micros:.2}"),
                None => match report.failures.last() {
                    Some(reason) => format!("FAILED ({reason})"),
                    None => "?".to_owned(),
                },
            };
            format!("{} {cpu}", report.name)
        };
        let cases: Vec<_> = self.cases.iter().map(shown).collect();
        let title = if self.is_pair { format!(" {}", self.title) } else { String::new() };
        format!("{}{title}: {} µs per {}", self.scenario, cases.join(", "), self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To accept a changed report, run the tests with `UPDATE_GOLDEN=1`.
    #[test]
    fn the_report_of_fixed_figures_is_the_golden_one() {
        let document: Document =
            serde_json::from_str(include_str!("../golden/compare.json")).unwrap();
        let report = document.to_string();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
            std::fs::write(golden, &report).unwrap();
        }
        assert_eq!(report, include_str!("../golden/compare.md"));
    }

    #[test]
    fn later_figures_replace_earlier_ones() {
        let text = include_str!("../golden/compare.json");
        let document: Document = serde_json::from_str(text).unwrap();
        let mut both = document.clone();
        both.comparisons.reverse();
        both.comparisons.truncate(1);
        both.replace(document.clone());
        assert_eq!(both.comparisons.len(), document.comparisons.len());
        assert_eq!(both.servers.len(), document.servers.len());
        let mut again = document.clone();
        again.replace(document.clone());
        assert_eq!(again.to_string(), document.to_string());
    }

    const GOLDEN: &str = "src/commands/compare/golden/compare.md";
}
