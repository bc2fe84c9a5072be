//! The look-ups that wait or are under way: at most so many, and each can be dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::services::Peer;

/// Permits for look-ups, one for each peer.
#[derive(Debug)]
pub(super) struct Permits {
    permits_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    serials_used: u64,
    by_peer: HashMap<Peer, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    /// A later look-up of the same peer is another one.
    serial: u64,
    /// Not there for the moment between taking the place and starting the task.
    task: Option<AbortHandle>,
}

/// A place that is taken. It is given back when this is dropped, however the task ends.
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

    /// Takes a place for a peer that has none, if one is left.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Permit> {
        let mut taken = self.lock();
        if taken.by_peer.len() >= self.permits_max {
            return None;
        }
        taken.serials_used += 1;
        let serial = taken.serials_used;
        taken.by_peer.insert(peer, Occupant { serial, task: None });
        Some(Permit { permits: Arc::clone(self), peer, serial })
    }

    /// Gives a peer's place back and drops its look-up; whether it had one.
    pub(super) fn cancel(&self, peer: Peer) -> bool {
        let occupant = self.lock().by_peer.remove(&peer);
        if let Some(task) = occupant.as_ref().and_then(|occupant| occupant.task.as_ref()) {
            task.abort();
        }
        occupant.is_some()
    }

    /// Notes which task has the place that was given out as `serial`. The task may have ended
    /// already, or been cancelled: then it gets to know now.
    pub(super) fn occupy(&self, peer: Peer, serial: u64, task: AbortHandle) {
        let late = match self.lock().by_peer.get_mut(&peer) {
            Some(occupant) if occupant.serial == serial => occupant.task.replace(task),
            Some(_) | None => Some(task),
        };
        // With the lock given back: what is dropped with a task may want it.
        if let Some(task) = late {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while holding the lock, and the map is whole between operations.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// What tells this place from a later one of the same peer.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Gives the place back; `false` if the look-up was cancelled, so that nobody waits for it.
    pub(super) fn leave(&self) -> bool {
        let mut taken = self.permits.lock();
        let is_own =
            taken.by_peer.get(&self.peer).is_some_and(|occupant| occupant.serial == self.serial);
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
    fn places_are_given_back_however_it_ends() {
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
    fn a_cancelled_place_is_free_at_once_and_its_task_finds_out() {
        let permits = Arc::new(Permits::new(1));
        let cancelled = permits.take(peer(1)).unwrap();
        assert!(permits.cancel(peer(1)));
        assert!(!permits.cancel(peer(1)));
        // The same peer again: what is left of its first look-up does not take the place away.
        let next = permits.take(peer(1)).unwrap();
        assert!(!cancelled.leave());
        drop(cancelled);
        assert!(next.leave());
    }

    #[test]
    fn a_task_that_lost_its_place_before_it_was_noted_is_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let permits = Arc::new(Permits::new(1));
        let permit = permits.take(peer(1)).unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        permits.cancel(peer(1));
        permits.occupy(peer(1), permit.serial(), task.abort_handle());
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    }

    #[test]
    fn a_task_that_is_noted_is_ended_by_a_cancellation() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let permits = Arc::new(Permits::new(1));
        let permit = permits.take(peer(1)).unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        permits.occupy(peer(1), permit.serial(), task.abort_handle());
        permits.cancel(peer(1));
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    }
}
