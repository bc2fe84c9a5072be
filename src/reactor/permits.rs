//! One loop's permits to hold connections, of those that `connections_max` allows the process, and how
//! a loop that waits for one learns that another loop has released one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crate::mail::Wake;
use crate::pool::{Lease, SharedBudget};

/// The permits of one loop.
#[derive(Debug)]
pub struct ConnectionPermits {
    /// Without blocks: beside an accept the shared count costs nothing, and permits that one loop kept
    /// would have another refuse clients before the limit is reached.
    lease: Lease,
    waiters: Arc<Waiters>,
    index: usize,
}

/// Which loops wait for a permit while a listener of theirs is pending.
struct Waiters {
    /// Whether any does, so that a release at other times looks at one value.
    is_any: AtomicBool,
    loops: Vec<(AtomicBool, Wake)>,
}

impl ConnectionPermits {
    /// The permits of each loop, which all come from `budget`; the loops are woken by `wakes`.
    #[must_use]
    pub fn for_loops(budget: &SharedBudget, wakes: &[Wake]) -> Vec<Self> {
        let loops = wakes.iter().map(|wake| (AtomicBool::new(false), Wake::clone(wake)));
        let waiters = Arc::new(Waiters { is_any: AtomicBool::new(false), loops: loops.collect() });
        let permits = |index| Self {
            lease: Lease::new(budget.clone(), 0),
            waiters: Arc::clone(&waiters),
            index,
        };
        (0..wakes.len()).map(permits).collect()
    }

    /// Takes a permit if there is one.
    pub(super) fn take(&mut self) -> bool {
        self.lease.take(1)
    }

    /// Whether there is a permit now. Another loop may take it first.
    pub(super) fn has_room(&self) -> bool {
        self.lease.has_room()
    }

    /// Gives a permit back, and wakes the other loops that wait for one. All of them: the first may find
    /// that its queue has become empty.
    pub(super) fn release(&mut self) {
        self.lease.give(1);
        // Pairs with that of `wait`: either that sees the permit, or this sees who waits.
        fence(Ordering::SeqCst);
        if self.waiters.is_any.load(Ordering::Relaxed) {
            self.waiters.wake_others(self.index);
        }
    }

    /// Has the loop woken by the next release of another loop. Returns whether there is a permit
    /// already, so that the loop must not wait.
    pub(super) fn wait(&self) -> bool {
        if let Some((is_waiting, _)) = self.waiters.loops.get(self.index) {
            is_waiting.store(true, Ordering::Relaxed);
            self.waiters.is_any.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
        }
        self.has_room()
    }
}

impl Waiters {
    #[cold]
    fn wake_others(&self, own_index: usize) {
        // Before the flags are read: a loop that comes to wait meanwhile sets it again.
        self.is_any.swap(false, Ordering::AcqRel);
        for (index, (is_waiting, wake)) in self.loops.iter().enumerate() {
            // The loop that releases finds the permit by itself.
            if is_waiting.swap(false, Ordering::AcqRel) && index != own_index {
                wake();
            }
        }
    }
}

impl std::fmt::Debug for Waiters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waiters").field("is_any", &self.is_any).finish_non_exhaustive()
    }
}
