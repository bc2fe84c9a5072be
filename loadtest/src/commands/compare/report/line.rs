//! One line about a comparison's last round, while the rest is still to come.

use super::super::document::ComparisonResult;

impl ComparisonResult {
    /// What was measured in this round.
    pub(in super::super) fn line(&self, round: usize) -> String {
        let shown = |report: &super::super::document::CaseResult| {
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
