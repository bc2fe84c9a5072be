//! Permits that bound the look-ups under way, and by which a look-up is cancelled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::services::Peer;

/// The permits of all look-ups, at most one for each peer.
#[derive(Debug)]
pub(super) struct Permits {
    permits_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    serials_used: u64,
    by_peer: HashMap<Peer, Holder>,
}

#[derive(Debug)]
struct Holder {
    /// Tells this look-up from a later one of the same peer.
    serial: u64,
    /// `None` between taking the permit and starting the task.
    task: Option<AbortHandle>,
}

/// A permit that is taken. Dropping it returns it, however the task ends.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Arc<Permits>,
    peer: Peer,
    serial: u64,
}

impl Permits {
    pub(super) fn new(permits_max: usize) -> Self {
        Self { permits_max, taken: Mutex::default() }
    }

    /// Takes a permit for a peer that has none; `None` if none is left.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Permit> {
        let mut taken = self.lock();
        if taken.by_peer.len() >= self.permits_max {
            return None;
        }
        taken.serials_used += 1;
        let serial = taken.serials_used;
        taken.by_peer.insert(peer, Holder { serial, task: None });
        Some(Permit { permits: Arc::clone(self), peer, serial })
    }

    /// Returns the permit of a peer and aborts its look-up; `false` if it had none.
    pub(super) fn cancel(&self, peer: Peer) -> bool {
        let holder = self.lock().by_peer.remove(&peer);
        if let Some(task) = holder.as_ref().and_then(|holder| holder.task.as_ref()) {
            task.abort();
        }
        holder.is_some()
    }

    /// Records which task holds the permit with this `serial`. If the permit has been returned or
    /// cancelled in the meantime, the task is aborted.
    pub(super) fn occupy(&self, peer: Peer, serial: u64, task: AbortHandle) {
        let late = match self.lock().by_peer.get_mut(&peer) {
            Some(holder) if holder.serial == serial => holder.task.replace(task),
            Some(_) | None => Some(task),
        };
        // Outside the lock: aborting may drop the task's permit, which takes the lock.
        if let Some(task) = late {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No code panics while it holds the lock, and the map is consistent between operations.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Tells this permit from a later one of the same peer.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns the permit; `false` if the look-up was cancelled and its answer is not awaited.
    pub(super) fn leave(&self) -> bool {
        let mut taken = self.permits.lock();
        let is_own =
            taken.by_peer.get(&self.peer).is_some_and(|holder| holder.serial == self.serial);
        if is_own {
            taken.by_peer.remove(&self.peer);
        }
        is_own
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    #[test]
    fn a_permit_is_returned_however_its_task_ends() {
        let permits = Arc::new(Permits::new(2));
        let first = permits.take(peer(1)).unwrap();
        let second = permits.take(peer(2)).unwrap();
        assert!(permits.take(peer(3)).is_none());
        assert!(first.leave());
        assert!(!first.leave());
        let third = permits.take(peer(3)).unwrap();
        drop(second);
        let fourth = permits.take(peer(4)).unwrap();
        assert!(permits.take(peer(5)).is_none());
        drop((third, fourth));
        assert!(permits.lock().by_peer.is_empty());
    }

    #[test]
    fn a_cancelled_permit_is_free_at_once_and_its_task_learns_of_it() {
        let permits = Arc::new(Permits::new(1));
        let cancelled = permits.take(peer(1)).unwrap();
        assert!(permits.cancel(peer(1)));
        assert!(!permits.cancel(peer(1)));
        // The same peer again: the rest of its first look-up does not return the new permit.
        let next = permits.take(peer(1)).unwrap();
        assert!(!cancelled.leave());
        drop(cancelled);
        assert!(next.leave());
    }

    #[test]
    fn a_task_whose_permit_was_cancelled_before_it_was_recorded_is_aborted() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let permits = Arc::new(Permits::new(1));
        let permit = permits.take(peer(1)).unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        permits.cancel(peer(1));
        permits.occupy(peer(1), permit.serial(), task.abort_handle());
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    }

    #[test]
    fn a_recorded_task_is_aborted_by_a_cancellation() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let permits = Arc::new(Permits::new(1));
        let permit = permits.take(peer(1)).unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        permits.occupy(peer(1), permit.serial(), task.abort_handle());
        permits.cancel(peer(1));
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    }
}
