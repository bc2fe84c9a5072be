//! Items that stand in a list twice.

use std::collections::HashSet;
use std::hash::Hash;

/// The first item that equals an earlier one, with its index.
pub(super) fn first_repeated<T: Eq + Hash + Copy>(
    mut items: impl Iterator<Item = (usize, T)>,
) -> Option<(usize, T)> {
    let mut seen = HashSet::new();
    items.find(|(_, item)| !seen.insert(*item))
}
