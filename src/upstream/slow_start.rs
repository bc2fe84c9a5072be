//! The part of a server that has come back: it grows, so that a server which has yet to fill its caches is
//! not run over.

use super::server_name::WEIGHT_MAX;

/// What a server counts in the balance `age_ms` after it has come back: its weight in units of
/// [`WHOLE`], from a hundredth up in a straight line, and all of it from `slow_start_ms` on.
pub(super) fn grown(weight: u32, age_ms: u64, slow_start_ms: u64) -> u32 {
    let whole = weight.clamp(1, WEIGHT_MAX) * WHOLE;
    if age_ms >= slow_start_ms {
        return whole;
    }
    let part = u128::from(whole) * u128::from(age_ms) / u128::from(slow_start_ms);
    u32::try_from(part).unwrap_or(whole).max(whole / 100)
}

/// What a weight of 1 counts in the balance once it is whole.
pub(super) const WHOLE: u32 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_grows_in_a_straight_line() {
        let parts = [0, 1, 300, 500, 999, 1000, 5000].map(|age_ms| grown(2, age_ms, 1000));
        assert_eq!(parts, [20, 20, 600, 1000, 1998, 2000, 2000]);
        assert_eq!(grown(3, 0, 0), 3 * WHOLE, "without a slow start it is whole at once");
    }

    proptest! {
        #[test]
        fn a_part_never_shrinks_and_is_never_nothing(
            weight in 1..=WEIGHT_MAX,
            ages: (u64, u64),
            slow_start_ms: u64,
        ) {
            let (young, old) = (ages.0.min(ages.1), ages.0.max(ages.1));
            let part = |age_ms| grown(weight, age_ms, slow_start_ms);
            prop_assert!(0 < part(young) && part(young) <= part(old));
            prop_assert_eq!(part(slow_start_ms), weight * WHOLE);
        }
    }
}
