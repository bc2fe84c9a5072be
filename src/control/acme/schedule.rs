//! When a certificate is due, and when to try again. It knows no clock.

use crate::timer::WallTime;

/// When a certificate that is valid for this time is to be renewed, and how long before its end that is:
/// `renew_days`, or a third of its life if that is shorter, as with those that live for a few days.
pub(super) fn renewal(valid_from: WallTime, expires: WallTime, renew_days: u64) -> (WallTime, u64) {
    let life = expires.0.saturating_sub(valid_from.0);
    let before = renew_days.saturating_mul(DAY_MS).min(life / 3);
    (WallTime(expires.0.saturating_sub(before)), before)
}

/// How much earlier than that it is renewed, from a random number: up to a tenth of the time that is left
/// then. So gateways that got their certificates together do not renew them together.
pub(super) fn jitter(before_ms: u64, random: u64) -> u64 {
    random % (before_ms / 10).max(1)
}

/// How long to wait after this number of failures in a row: two minutes, doubled each time up to six hours, give
/// or take a quarter by a random number. In the first hour that is five tries, as many as Let's Encrypt
/// takes for a name that it cannot verify.
pub(super) fn retry_ms(failures: u32, random: u64) -> u64 {
    // Bits beyond the last would be lost.
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let wait = (RETRY_MS_MIN << doublings).min(RETRY_MS_MAX);
    wait - wait / 4 + random % (wait / 2)
}

const DAY_MS: u64 = 86_400_000;
const RETRY_MS_MIN: u64 = 2 * 60_000;
const RETRY_MS_MAX: u64 = 6 * 3_600_000;
/// More than lead to the longest wait.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_some_days_before_its_end_or_at_two_thirds_of_a_short_life() {
        let at = |days: u64, renew_days| {
            let (at, before) = renewal(WallTime(0), WallTime(days * DAY_MS), renew_days);
            assert_eq!(at.0 + before, days * DAY_MS);
            at.0
        };
        assert_eq!(at(90, 30), 60 * DAY_MS);
        assert_eq!(at(90, 10), 80 * DAY_MS);
        assert_eq!(at(6, 30), 4 * DAY_MS);
        assert_eq!(at(0, 30), 0);
        let backwards = renewal(WallTime(5), WallTime(2), 30);
        assert_eq!(backwards, (WallTime(2), 0));
    }

    proptest! {
        #[test]
        fn waits_grow_to_six_hours_and_differ_by_at_most_a_quarter(
            failures in prop_oneof![0..100u32, any::<u32>()],
            random: u64,
        ) {
            let wait = retry_ms(failures, random);
            let double = |wait: u64, _| (wait * 2).min(RETRY_MS_MAX);
            let middle = (1..failures.min(100)).fold(RETRY_MS_MIN, double);
            prop_assert!((middle - middle / 4..middle + middle / 4).contains(&wait), "{wait}");
        }

        #[test]
        fn jitter_is_a_small_part_of_the_time_that_is_left(before: u64, random: u64) {
            prop_assert!(jitter(before, random) <= before / 10);
        }
    }
}
