//! Process-wide budgets (connections, bytes): one atomic counter each, from which loops lease
//! blocks so that they rarely touch the shared cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of a process-wide budget.
#[derive(Clone, Debug)]
pub struct SharedBudget {
    available: Arc<AtomicUsize>,
}

impl SharedBudget {
    /// A budget of `total` units.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { available: Arc::new(AtomicUsize::new(total)) }
    }

    /// The units that no loop has leased.
    #[must_use]
    pub fn available(&self) -> usize {
        self.available.load(Ordering::Relaxed)
    }

    /// Takes at most `most` units. Takes nothing and returns 0 if fewer than `least` are left.
    fn take(&self, least: usize, most: usize) -> usize {
        // Relaxed is enough: the counter alone must be consistent, it guards no other memory.
        let mut available = self.available();
        loop {
            let taken = most.min(available);
            if taken < least {
                return 0;
            }
            match self.available.compare_exchange_weak(
                available,
                available - taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return taken,
                Err(now) => available = now,
            }
        }
    }

    fn give(&self, units: usize) {
        self.available.fetch_add(units, Ordering::Relaxed);
    }
}

/// One loop's share of a budget. It takes and returns whole blocks and keeps at most two unused
/// blocks. With a block of 0 it keeps none, and all of the budget is available to every loop.
#[derive(Debug)]
pub struct Lease {
    shared: SharedBudget,
    leased: usize,
    used: usize,
    block: usize,
}

impl Lease {
    /// An empty lease that grows by at least `block` units at a time.
    #[must_use]
    pub fn new(shared: SharedBudget, block: usize) -> Self {
        Self { shared, leased: 0, used: 0, block }
    }

    /// Whether one unit could be used now. Another loop may take it before [`Lease::take`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.leased > self.used || self.shared.available() > 0
    }

    /// Uses `units` more. Returns `false` and changes nothing if the process has none left.
    #[must_use]
    pub fn take(&mut self, units: usize) -> bool {
        let spare = self.leased - self.used;
        if units > spare {
            let missing = units - spare;
            let taken = self.shared.take(missing, missing.max(self.block));
            if taken == 0 {
                return false;
            }
            self.leased += taken;
        }
        self.used += units;
        true
    }

    /// Uses `units` less.
    pub fn give(&mut self, units: usize) {
        debug_assert!(units <= self.used);
        self.used = self.used.saturating_sub(units);
        let spare = self.leased - self.used;
        // The gap between two spare blocks and one avoids a lease and a return for each unit when
        // the use swings around the end of a block.
        if spare > 2 * self.block || self.used == 0 {
            let kept = if self.used == 0 { 0 } else { self.block };
            self.shared.give(spare - kept);
            self.leased -= spare - kept;
        }
    }

    /// The units in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.give(self.leased);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn loops_never_use_more_than_there_is(
            total in 0..200usize,
            block in 0..20usize,
            steps in prop::collection::vec((0..3usize, any::<bool>(), 1..30usize), 0..200),
        ) {
            let shared = SharedBudget::new(total);
            let mut leases: Vec<Lease> =
                (0..3).map(|_| Lease::new(shared.clone(), block)).collect();
            for (at, take, units) in steps {
                if take {
                    let used_elsewhere: usize =
                        leases.iter().map(|lease| lease.leased).sum::<usize>() - leases[at].leased;
                    let fits = leases[at].used + units + used_elsewhere <= total;
                    prop_assert_eq!(leases[at].take(units), fits);
                } else {
                    let units = units.min(leases[at].used);
                    leases[at].give(units);
                }
                let leased: usize = leases.iter().map(|lease| lease.leased).sum();
                prop_assert_eq!(leased + shared.available(), total);
                prop_assert!(leases.iter().all(|lease| lease.used <= lease.leased));
                prop_assert!(leases.iter().all(|lease| lease.leased - lease.used <= 2 * block));
            }
            drop(leases);
            prop_assert_eq!(shared.available(), total);
        }
    }
}
