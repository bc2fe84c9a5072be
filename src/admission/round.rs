//! How shards are looked through for what can be forgotten: in turn, and no more entries at once than a
//! loop has time for.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::timer::Millis;

/// The shard that is looked through first next time.
#[derive(Debug, Default)]
pub(super) struct Round(AtomicUsize);

/// What came of a look at one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trimmed {
    /// Entries that were looked at.
    pub(super) looked: usize,
    /// When something there can be forgotten, not later than that; `None` if nothing is there.
    pub(super) due: Option<Millis>,
}

impl Round {
    /// Has each of `shards` trimmed with the looks that are left for it, of [`LOOKS_MAX`] in all. A shard
    /// that must be looked through whole may take more. Gives the earliest moment that any of them gave.
    pub(super) fn trim(
        &self,
        shards: usize,
        mut trim: impl FnMut(usize, usize) -> Trimmed,
    ) -> Option<Millis> {
        let first = self.0.load(Ordering::Relaxed);
        let (mut left, mut due) = (LOOKS_MAX, None);
        for shard in (first..first + shards).map(|shard| shard % shards) {
            let trimmed = trim(shard, left);
            if left > 0 && trimmed.looked >= left {
                self.0.store((shard + 1) % shards, Ordering::Relaxed);
            }
            left = left.saturating_sub(trimmed.looked);
            due = due.into_iter().chain(trimmed.due).min();
        }
        due
    }
}

/// When to ask again that was told at `now` that something can be forgotten at `due`: soon where only a
/// part has been looked at, and seldom otherwise.
#[must_use]
pub fn ask_again_at(due: Millis, now: Millis) -> Millis {
    if due <= now { now.plus(PAUSE_MS) } else { due.max(now.plus(TRIM_INTERVAL_MS)) }
}

/// How often what is remembered is looked through.
pub const TRIM_INTERVAL_MS: u64 = 1000;
const PAUSE_MS: u64 = 10;
/// They take a tenth of a millisecond.
const LOOKS_MAX: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_its_turn_and_no_call_looks_at_more_than_it_may() {
        let round = Round::default();
        let mut left = [LOOKS_MAX / 2, 3 * LOOKS_MAX, 0, 5, LOOKS_MAX];
        let mut calls = 0;
        while left != [0; 5] {
            let mut looked = 0;
            let due = round.trim(left.len(), |shard, looks| {
                let own = left[shard].min(looks);
                left[shard] -= own;
                looked += own;
                Trimmed { looked: own, due: (left[shard] > 0).then_some(Millis(7)) }
            });
            assert!(looked <= LOOKS_MAX);
            assert_eq!(due.is_some(), left != [0; 5]);
            calls += 1;
        }
        assert_eq!(calls, 5);
    }

    #[test]
    fn a_part_is_followed_by_the_next_soon() {
        assert_eq!(ask_again_at(Millis(5), Millis(5)), Millis(15));
        assert_eq!(ask_again_at(Millis(6), Millis(5)), Millis(1005));
        assert_eq!(ask_again_at(Millis(9000), Millis(5)), Millis(9000));
    }
}
