//! The numbers of routes over the reloads of a process: when a number may be given to another route.

use std::collections::BTreeMap;

use super::route_id::{RouteId, RouteNumbers, TooManyRoutes};
use crate::timer::Millis;

/// The numbers of routes, with those of former routes that may still be in use.
///
/// Connections stay with a route that a reload takes out of the configuration, and messages that name
/// its number may be under way between loops for a moment longer. So such a number is free only if
/// two reloads, a minute apart, found no connection with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHistory {
    numbers: RouteNumbers,
    /// The numbers of routes that are gone, and since when no connection had them.
    former: BTreeMap<u8, Option<Millis>>,
}

impl RouteHistory {
    /// The numbers of the first routes, of which there are at most 256.
    #[must_use]
    pub fn new(numbers: RouteNumbers) -> Self {
        Self { numbers, former: BTreeMap::new() }
    }

    /// The numbers, those of former routes included.
    #[must_use]
    pub fn numbers(&self) -> &RouteNumbers {
        &self.numbers
    }

    /// Whether there are former routes, so that [`RouteHistory::next`] needs to know what is in use.
    #[must_use]
    pub fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// The numbers of the routes of the next configuration, while connections have those in `in_use`.
    ///
    /// # Errors
    /// If the numbers do not suffice.
    pub fn next<'r>(
        &self,
        routes: impl Iterator<Item = &'r RouteId> + Clone,
        in_use: &[u8],
        now: Millis,
    ) -> Result<Self, TooManyRoutes> {
        let mut former = BTreeMap::new();
        for number in 0..=u8::MAX {
            let Some(id) = self.numbers.route(number) else { continue };
            if routes.clone().any(|route| route == id) {
                continue;
            }
            let unused_since = match self.former.get(&number) {
                // Served until now.
                None => None,
                Some(_) if in_use.contains(&number) => None,
                Some(None) => Some(now),
                Some(Some(since)) if now.since(*since) >= UNUSED_MS => continue,
                Some(since) => *since,
            };
            former.insert(number, unused_since);
        }
        let numbers = self.numbers.next(routes, |number| former.contains_key(&number))?;
        Ok(Self { numbers, former })
    }
}

/// How long a number must have been unused: longer than any message is under way.
const UNUSED_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(path: usize) -> RouteId {
        RouteId::new("echo", &format!("/{path}"))
    }

    fn next(history: &RouteHistory, paths: &[usize], in_use: &[u8], now: u64) -> RouteHistory {
        let ids: Vec<RouteId> = paths.iter().map(|path| id(*path)).collect();
        history.next(ids.iter(), in_use, Millis(now)).unwrap()
    }

    #[test]
    fn a_number_is_free_when_it_was_unused_for_a_minute() {
        let first = next(&RouteHistory::default(), &[0, 1], &[], 0);
        assert!(!first.has_former());
        // Gone, in use, unused.
        let mut history = next(&first, &[1], &[], 1);
        for (in_use, now) in [(&[0][..], 100_000), (&[], 200_000), (&[], 259_999)] {
            history = next(&history, &[1, 2], in_use, now);
            assert_eq!(history.numbers().number_of(&id(0)), Some(0));
            assert_eq!(history.numbers().number_of(&id(2)), Some(2));
        }
        let again = next(&history, &[1, 2, 0], &[], 260_000);
        assert_eq!(again.numbers().number_of(&id(0)), Some(0), "it has its number again");
        let other = next(&history, &[1, 2, 3], &[], 260_000);
        assert_eq!(other.numbers().number_of(&id(3)), Some(0));
    }

    proptest! {
        #[test]
        fn a_number_in_use_stays_with_its_route(
            reloads in prop::collection::vec(
                (prop::collection::btree_set(0..12usize, 0..6), any::<[bool; 4]>(), 0..100_000u64),
                1..30,
            ),
        ) {
            let mut history = RouteHistory::default();
            let mut now = 0;
            // The routes that connections are on: one of each reload stays for a while.
            let mut used: Vec<(u8, RouteId)> = Vec::new();
            for (paths, leaves, pause) in reloads {
                now += pause;
                let mut place = 0;
                used.retain(|_| { place += 1; !leaves[place % leaves.len()] });
                let in_use: Vec<u8> = used.iter().map(|(number, _)| *number).collect();
                let paths: Vec<usize> = paths.into_iter().collect();
                history = next(&history, &paths, &in_use, now);
                for (number, route) in &used {
                    prop_assert_eq!(history.numbers().route(*number), Some(route));
                }
                for path in &paths {
                    prop_assert!(history.numbers().number_of(&id(*path)).is_some());
                }
                if let Some(path) = paths.first() {
                    let route = id(*path);
                    used.extend(history.numbers().number_of(&route).map(|number| (number, route)));
                }
            }
        }
    }
}
