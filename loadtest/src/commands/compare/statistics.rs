//! Medians, quartiles, and ratios within rounds.

use super::document::{CaseResult, Sample};

/// The median and the quartiles of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quartiles {
    pub(super) median: f64,
    pub(super) low_quartile: f64,
    pub(super) high_quartile: f64,
}

impl Quartiles {
    /// `None` if there are no values.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&values, 0.5)?,
            low_quartile: quantile(&values, 0.25)?,
            high_quartile: quantile(&values, 0.75)?,
        })
    }

    /// Whether three quarters of the values are above one.
    pub(super) fn is_above_one(self) -> bool {
        self.low_quartile > 1.0
    }

    /// Whether three quarters of the values are below one.
    pub(super) fn is_below_one(self) -> bool {
        self.high_quartile < 1.0
    }
}

/// The median of one figure of a case.
pub(super) fn median(report: &CaseResult, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    Quartiles::of(report.samples.iter().filter_map(figure).collect()).map(|spread| spread.median)
}

/// The ratios of one case's figure to the other's, in the rounds in which both were measured.
pub(super) fn ratio(
    one: &CaseResult,
    other: &CaseResult,
    figure: impl Fn(&Sample) -> Option<f64>,
) -> Option<Quartiles> {
    let in_same_round = |sample: &Sample| {
        let beside = other.samples.iter().find(|beside| beside.round == sample.round)?;
        Some(figure(sample)? / figure(beside)?)
    };
    Quartiles::of(one.samples.iter().filter_map(in_same_round).collect())
}

/// A quantile of sorted values, interpolated between two of them.
fn quantile(values: &[f64], quantile: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let position = quantile * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position between the first and the last"
    )]
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(values[below] + (values[above] - values[below]) * (position - below as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: &[(usize, f64)]) -> CaseResult {
        let sample = |&(round, cpu)| Sample {
            round,
            server_cpu_us_per_unit: Some(cpu),
            ..Sample::default()
        };
        CaseResult { samples: values.iter().map(sample).collect(), ..Default::default() }
    }

    #[test]
    fn quartiles_lie_between_the_values() {
        assert_eq!(Quartiles::of(Vec::new()), None);
        let spread = |low_quartile, median, high_quartile| {
            Some(Quartiles { median, low_quartile, high_quartile })
        };
        assert_eq!(Quartiles::of(vec![2.0]), spread(2.0, 2.0, 2.0));
        assert_eq!(Quartiles::of(vec![4.0, 1.0, 3.0, 2.0, 5.0]), spread(2.0, 3.0, 4.0));
        assert_eq!(Quartiles::of(vec![1.0, 2.0]), spread(1.25, 1.5, 1.75));
    }

    #[test]
    fn ratios_are_within_rounds() {
        // The machine is twice as slow in the second round. Only one of the cases has a third.
        let one = report(&[(1, 2.0), (2, 4.0), (3, 100.0)]);
        let other = report(&[(1, 4.0), (2, 8.0)]);
        let ratio = ratio(&one, &other, |sample| sample.server_cpu_us_per_unit).unwrap();
        assert_eq!((ratio.low_quartile, ratio.median, ratio.high_quartile), (0.5, 0.5, 0.5));
        assert!(ratio.is_below_one() && !ratio.is_above_one());
        assert_eq!(median(&one, |sample| sample.server_cpu_us_per_unit), Some(4.0));
    }
}
