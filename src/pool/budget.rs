//! Process-wide budgets (connections, bytes): one atomic counter each, from which loops lease
//! blocks so that they rarely touch the shared cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::holders::SharedRanks;

/// A process-wide budget, and what of it is leased.
#[derive(Clone, Debug)]
pub struct SharedBudget {
    units: Arc<Units>,
    ranks: SharedRanks,
}

#[derive(Debug)]
struct Units {
    /// More than there are after the budget was lowered, until enough is given back.
    leased: AtomicUsize,
    total: AtomicUsize,
    /// The last units, which are not for every need.
    reserve: AtomicUsize,
}

/// What units are for, which decides how far down the budget may go for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Whatever can grow large: it leaves the whole reserve.
    Message,
    /// What an innocent recipient or sender needs little of: queueing a delivery, and a buffer of the
    /// smallest size. It leaves half of the reserve.
    Small,
    /// Request heads, so that clients get in although others use up the budget.
    Head,
}

/// The reserve of a pool of `total` bytes: a sixteenth, at least 256 KiB, but never more than a
/// quarter of a small pool.
#[must_use]
pub const fn pool_reserve(total: usize) -> usize {
    let sixteenth = total / 16;
    let wanted = if sixteenth > RESERVE_BYTES_LEAST { sixteenth } else { RESERVE_BYTES_LEAST };
    if wanted < total / 4 { wanted } else { total / 4 }
}

/// The smallest pool whose reserve leaves `bytes` for messages.
#[must_use]
pub const fn pool_bytes_for(bytes: usize) -> usize {
    // One for each of the three sizes of the reserve.
    let of_small = bytes.saturating_add(bytes.div_ceil(3));
    let of_middle = bytes.saturating_add(RESERVE_BYTES_LEAST);
    let of_large = bytes.saturating_add(bytes.div_ceil(15));
    let of_others = if of_middle > of_large { of_middle } else { of_large };
    if of_small < of_others { of_small } else { of_others }
}

const RESERVE_BYTES_LEAST: usize = 256 << 10;
/// As many as the key `loops` accepts. Those beyond would not take part in who goes first.
const LOOPS_MAX: usize = 1024;

impl SharedBudget {
    /// A budget of `total` units, which are for every need.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self::with_reserve(total, 0)
    }

    /// The budget of a pool of `total` bytes, with its [reserve](pool_reserve).
    #[must_use]
    pub fn for_pool(total: usize) -> Self {
        Self::with_reserve(total, pool_reserve(total))
    }

    fn with_reserve(total: usize, reserve: usize) -> Self {
        // Only a pool has large holders.
        let ranks = SharedRanks::new(if reserve > 0 { LOOPS_MAX } else { 0 });
        let units = Units {
            leased: AtomicUsize::new(0),
            total: AtomicUsize::new(total),
            reserve: AtomicUsize::new(reserve),
        };
        Self { units: Arc::new(units), ranks }
    }

    /// From now on there are `total` units, those in use included; of a pool, with its
    /// [reserve](pool_reserve). Where more are in use, none is to be had until enough are given back.
    pub fn set_total(&self, total: usize) {
        // Not at one moment, which nothing needs: each is a bound by itself.
        if self.reserve() > 0 {
            self.units.reserve.store(pool_reserve(total), Ordering::Relaxed);
        }
        self.units.total.store(total, Ordering::Relaxed);
    }

    fn reserve(&self) -> usize {
        self.units.reserve.load(Ordering::Relaxed)
    }

    /// The ranks of the largest holders.
    pub(super) fn ranks(&self) -> SharedRanks {
        self.ranks.clone()
    }

    /// All units, those in use included.
    #[must_use]
    pub fn total(&self) -> usize {
        self.units.total.load(Ordering::Relaxed)
    }

    /// Whether so much is leased that only the reserve is left.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let reserve = self.reserve();
        reserve > 0 && self.available() < reserve
    }

    /// The units that no loop has leased.
    #[must_use]
    pub fn available(&self) -> usize {
        self.total().saturating_sub(self.units.leased.load(Ordering::Relaxed))
    }

    /// The units that are left whatever is taken for this need.
    fn floor(&self, need: Need) -> usize {
        match need {
            Need::Message => self.reserve(),
            Need::Small => self.reserve() / 2,
            Need::Head => 0,
        }
    }

    /// Takes at least `least` units, and up to `most` where these do not come from the reserve. Takes
    /// nothing and returns 0 if fewer than `least` are left for this need.
    fn take(&self, least: usize, most: usize, need: Need) -> usize {
        // Relaxed is enough: the counter alone must be consistent, it guards no other memory.
        let mut leased = self.units.leased.load(Ordering::Relaxed);
        loop {
            let available = self.total().saturating_sub(leased);
            if available.saturating_sub(self.floor(need)) < least {
                return 0;
            }
            let taken = most.min(available.saturating_sub(self.reserve())).max(least);
            match self.units.leased.compare_exchange_weak(
                leased,
                leased + taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return taken,
                Err(now) => leased = now,
            }
        }
    }

    fn give(&self, units: usize) {
        self.units.leased.fetch_sub(units, Ordering::Relaxed);
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
        self.take_for(Need::Message, units)
    }

    /// As [`Lease::take`], for a need that may use some of the reserve.
    #[must_use]
    pub fn take_for(&mut self, need: Need, units: usize) -> bool {
        let spare = self.leased - self.used;
        if units > spare {
            let missing = units - spare;
            let taken = self.shared.take(missing, missing.max(self.block), need);
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
        // the use swings around the end of a block. What came from the reserve goes back at once:
        // as a spare unit it would be there for every need.
        let is_wanted = self.used == 0 || self.shared.is_short();
        if spare > 2 * self.block || is_wanted {
            let kept = if is_wanted { 0 } else { self.block };
            self.shared.give(spare - kept);
            self.leased -= spare - kept;
        }
    }

    /// The units in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether so little is left, beside what this loop has leased, that large holders are to go. It
    /// is twice the reserve of a large pool, so that there is most often room for the next that asks.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        let (total, reserve) = (self.shared.total(), self.shared.reserve());
        let spare = self.leased - self.used;
        reserve > 0 && self.shared.available() + spare < reserve + total / 16
    }

    /// The budget that this is a part of.
    #[must_use]
    pub fn shared(&self) -> &SharedBudget {
        &self.shared
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

    fn need() -> impl Strategy<Value = Need> {
        prop_oneof![Just(Need::Message), Just(Need::Small), Just(Need::Head)]
    }

    proptest! {
        #[test]
        fn the_smallest_pool_for_a_message_holds_it_and_a_smaller_one_does_not(
            bytes in prop_oneof![0..1usize << 12, 0..1usize << 24, 0..1usize << 34],
        ) {
            let least = pool_bytes_for(bytes);
            prop_assert!(least - pool_reserve(least) >= bytes);
            // Rounding may cost a few bytes.
            let less = least.saturating_sub(4);
            prop_assert!(bytes < 4 || less - pool_reserve(less) < bytes);
        }

        #[test]
        fn loops_never_use_more_than_there_is(
            total in 0..200usize,
            block in 0..20usize,
            reserve in 0..40usize,
            steps in prop::collection::vec((0..3usize, any::<bool>(), 1..30usize, need()), 0..200),
        ) {
            let reserve = reserve.min(total);
            let shared = SharedBudget::with_reserve(total, reserve);
            let mut leases: Vec<Lease> =
                (0..3).map(|_| Lease::new(shared.clone(), block)).collect();
            for (at, take, units, need) in steps {
                if take {
                    let used_elsewhere: usize =
                        leases.iter().map(|lease| lease.leased).sum::<usize>() - leases[at].leased;
                    let floor = [reserve, reserve / 2, 0][need as usize];
                    let is_spare = units <= leases[at].leased - leases[at].used;
                    let fits = leases[at].used + units + used_elsewhere + floor <= total;
                    prop_assert_eq!(leases[at].take_for(need, units), is_spare || fits);
                } else {
                    let units = units.min(leases[at].used);
                    leases[at].give(units);
                    let spare = leases[at].leased - leases[at].used;
                    prop_assert!(spare == 0 || shared.available() >= reserve);
                }
                let leased: usize = leases.iter().map(|lease| lease.leased).sum();
                prop_assert_eq!(leased + shared.available(), total);
                prop_assert!(leases.iter().all(|lease| lease.used <= lease.leased));
                prop_assert!(leases.iter().all(|lease| lease.leased - lease.used <= 2 * block));
            }
            drop(leases);
            prop_assert_eq!(shared.available(), total);
        }

        #[test]
        fn a_lowered_budget_gives_nothing_until_enough_came_back(
            totals in prop::collection::vec(0..200usize, 1..5),
            steps in prop::collection::vec((any::<bool>(), 1..30usize, 0..20usize), 0..200),
        ) {
            let shared = SharedBudget::new(totals[0]);
            let mut lease = Lease::new(shared.clone(), 0);
            let mut total = totals[0];
            for (takes, units, at) in steps {
                if let Some(next) = totals.get(at) {
                    total = *next;
                    shared.set_total(total);
                }
                let used = lease.used();
                match takes {
                    true => prop_assert_eq!(lease.take(units), used + units <= total),
                    false => lease.give(units.min(used)),
                }
                prop_assert_eq!(shared.available(), total.saturating_sub(lease.used()));
                prop_assert_eq!(shared.total(), total);
            }
        }
    }
}
