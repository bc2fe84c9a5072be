//! Counters by a label that is known only while the program runs: those of routes and of listeners.
//!
//! A label stays with its counters as long as the process lives, so that what was counted is not lost
//! when a reload removes a route, and goes on when it comes back.

use std::fmt;
use std::iter::successors;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The counters of one loop by label. Its loop adds labels, any thread may read.
pub struct Labelled<C> {
    first: OnceLock<Arc<Entry<C>>>,
}

/// The counters of one label.
#[derive(Debug)]
pub struct Entry<C> {
    label: Arc<str>,
    counters: C,
    next: OnceLock<Arc<Self>>,
}

impl<C: Default> Labelled<C> {
    /// The counters of this label, new ones if there are none. Beyond [`LABELS_MAX`] labels all others
    /// share the counters of [`OTHERS`]. To be called by one thread.
    pub fn of(&self, label: &str) -> Arc<Entry<C>> {
        let (mut next, mut count) = (&self.first, 0);
        loop {
            // The label after the last that is allowed.
            let label = if count < LABELS_MAX { label } else { OTHERS };
            let entry = next.get_or_init(|| Arc::new(Entry::new(label)));
            if *entry.label == *label {
                return Arc::clone(entry);
            }
            (next, count) = (&entry.next, count + 1);
        }
    }
}

impl<C> Labelled<C> {
    /// All counters, in the order in which their labels came.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<C>> {
        let first = self.first.get().map(|entry| &**entry);
        successors(first, |entry| entry.next.get().map(|next| &**next))
    }
}

impl<C: Default> Entry<C> {
    /// New counters with a label.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self { label: label.into(), counters: C::default(), next: OnceLock::new() }
    }
}

impl<C> Entry<C> {
    /// What the counters are about.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }
}

impl<C> Deref for Entry<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.counters
    }
}

impl<C> Default for Labelled<C> {
    fn default() -> Self {
        Self { first: OnceLock::new() }
    }
}

impl<C> fmt::Debug for Labelled<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(Entry::label)).finish()
    }
}

/// Labels that have counters of their own.
pub const LABELS_MAX: usize = 512;
/// The label of all beyond them.
pub const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::super::RouteCounters;
    use super::*;

    #[test]
    fn a_label_keeps_its_counters() {
        let routes: Labelled<RouteCounters> = Labelled::default();
        assert_eq!(routes.iter().count(), 0);
        for label in ["a", "b", "a", "c"] {
            routes.of(label).opened.add(1);
        }
        let seen: Vec<_> =
            routes.iter().map(|own| (own.label().to_string(), own.opened.value())).collect();
        let expected =
            [("a", 2), ("b", 1), ("c", 1)].map(|(label, count)| (label.to_owned(), count));
        assert_eq!(seen, expected);
        assert!(Arc::ptr_eq(&routes.of("b"), &routes.of("b")));
    }

    #[test]
    fn labels_beyond_the_last_share_counters() {
        let routes: Labelled<RouteCounters> = Labelled::default();
        for number in 0..2 * LABELS_MAX {
            routes.of(&number.to_string()).opened.add(1);
        }
        assert_eq!(routes.iter().count(), LABELS_MAX + 1);
        let others = routes.iter().last().unwrap();
        assert_eq!((&**others.label(), others.opened.value()), (OTHERS, LABELS_MAX as u64));
    }
}
