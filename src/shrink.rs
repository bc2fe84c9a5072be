//! Gives memory back after a peak: the standard collections keep their largest capacity for ever.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// A collection that can give back the capacity that it no longer needs.
///
/// The policy is the same for all: when less than a quarter of the capacity is in use, shrink to
/// twice the length. Between two reallocations at least a quarter of the capacity must be filled or
/// emptied, so the cost of shrinking is a constant per element, and a length that swings a little
/// never reallocates.
pub(crate) trait Shrink {
    /// Shrinks to `max(2 × length, kept)` elements if the length is below a quarter of the capacity,
    /// or 0, and the capacity is above `kept`; does nothing otherwise. Call it after removals.
    ///
    /// `kept` is the capacity, in elements, that always stays: what the usual load needs. With 0 an
    /// empty collection holds no memory. A `HashMap` rounds up to the next table size, which holds
    /// at most 16⁄7 of the elements asked for.
    fn shrink_if_sparse(&mut self, kept: usize);
}

/// The capacity to shrink to, if the policy asks for it.
fn target(length: usize, capacity: usize, kept: usize) -> Option<usize> {
    // The smallest tables hold three, of which a quarter is none.
    let is_sparse = (length < capacity / 4 || length == 0) && capacity > kept;
    is_sparse.then(|| kept.max(2 * length))
}

impl<T> Shrink for Vec<T> {
    fn shrink_if_sparse(&mut self, kept: usize) {
        if let Some(capacity) = target(self.len(), self.capacity(), kept) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink_if_sparse(&mut self, kept: usize) {
        if let Some(capacity) = target(self.len(), self.capacity(), kept) {
            self.shrink_to(capacity);
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink_if_sparse(&mut self, kept: usize) {
        // The capacity of a map may stay above `kept` because of the rounding. `shrink_to` returns
        // at once when the table already has the right size.
        if let Some(capacity) = target(self.len(), self.capacity(), kept) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks a capacity before and after against the policy, written down naively.
    fn check(
        length: usize,
        [before, after]: [usize; 2],
        kept: usize,
        rounded: impl Fn(usize) -> usize,
    ) -> Result<(), TestCaseError> {
        let is_sparse = (length == 0 || length * 4 + 4 <= before) && before > kept;
        if is_sparse {
            let wanted = if 2 * length > kept { 2 * length } else { kept };
            prop_assert!(after >= wanted.min(before), "{after} of {before} for {length}");
            prop_assert!(after <= rounded(wanted), "{after} of {before} for {length}");
        } else {
            prop_assert_eq!(after, before);
        }
        Ok(())
    }

    /// Lengths, of which the smallest and none at all are frequent.
    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![0..5usize, 0..2000usize]
    }

    proptest! {
        #[test]
        fn sparse_collections_shrink_and_others_do_not(
            steps in prop::collection::vec((length(), length()), 1..20),
            kept in prop_oneof![Just(0usize), 1..300usize],
        ) {
            let (mut vec, mut deque, mut map) = (Vec::new(), VecDeque::new(), HashMap::new());
            for (peak, length) in steps {
                vec.extend(vec.len()..peak);
                deque.extend(deque.len()..peak);
                map.extend((map.len()..peak).map(|key| (key, key)));
                vec.truncate(length);
                deque.truncate(length);
                map.retain(|key, _| *key < length);
                let before = [vec.capacity(), deque.capacity(), map.capacity()];
                vec.shrink_if_sparse(kept);
                deque.shrink_if_sparse(kept);
                map.shrink_if_sparse(kept);
                let naive: Vec<usize> = (0..vec.len()).collect();
                check(naive.len(), [before[0], vec.capacity()], kept, |wanted| wanted)?;
                check(naive.len(), [before[1], deque.capacity()], kept, |wanted| wanted)?;
                // The smallest table holds three.
                check(naive.len(), [before[2], map.capacity()], kept, |wanted| match wanted {
                    0 => 0,
                    wanted => (wanted * 16).div_ceil(7).max(3),
                })?;
                prop_assert_eq!(&vec, &naive);
                prop_assert_eq!(deque.iter().copied().collect::<Vec<_>>(), naive);
                prop_assert!((0..vec.len()).all(|key| map.get(&key) == Some(&key)));
                prop_assert_eq!(map.len(), vec.len());
            }
        }
    }

    #[test]
    fn emptied_collections_keep_what_was_asked_for() {
        let mut vec: Vec<u32> = (0..10_000).collect();
        vec.clear();
        vec.shrink_if_sparse(64);
        assert_eq!(vec.capacity(), 64);
        vec.shrink_if_sparse(0);
        assert_eq!(vec.capacity(), 0);
        let mut map: HashMap<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
        for key in 0..10_000 {
            map.remove(&key);
            map.shrink_if_sparse(0);
        }
        assert_eq!(map.capacity(), 0);
    }

    #[test]
    fn an_empty_collection_keeps_no_smallest_table() {
        let mut map: HashMap<u32, u32> = (0..1).map(|key| (key, key)).collect();
        map.shrink_if_sparse(0);
        assert_eq!(map.len(), 1);
        map.clear();
        assert!(map.capacity() > 0);
        map.shrink_if_sparse(0);
        assert_eq!(map.capacity(), 0);
    }
}
