//! What loops report to the owner of their server.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Something that happened to a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopEvent {
    /// Which loop, from 0.
    pub loop_index: usize,
    /// What happened to it.
    pub kind: LoopEventKind,
}

/// What happened to a loop. Each happens to it at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoopEventKind {
    /// It takes its turns.
    Started,
    /// It has ended after a drain.
    Drained,
    /// It has ended by an error or a panic, and its connections with it. The text says why.
    Failed(String),
}

/// Where one loop's events go in. Nothing here waits.
#[derive(Clone, Debug)]
pub struct LoopEventSender {
    loop_index: usize,
    events: SyncSender<LoopEvent>,
}

impl LoopEventSender {
    /// Reports something. It never waits, and always finds room: of each kind a loop reports one.
    pub fn send(&self, kind: LoopEventKind) {
        let event = LoopEvent { loop_index: self.loop_index, kind };
        drop(self.events.try_send(event));
    }
}

/// The events of all loops of a server, in the order in which they happened. Clones take from the
/// same queue.
#[derive(Clone, Debug)]
pub struct LoopEvents {
    events: Arc<Mutex<Receiver<LoopEvent>>>,
}

impl LoopEvents {
    /// The events of `loops` loops, and for each of them where they go in.
    #[must_use]
    pub fn new(loops: usize) -> (Self, Vec<LoopEventSender>) {
        let (sender, events) = sync_channel(loops * EVENTS_PER_LOOP);
        let senders = (0..loops)
            .map(|loop_index| LoopEventSender { loop_index, events: sender.clone() })
            .collect();
        (Self { events: Arc::new(Mutex::new(events)) }, senders)
    }

    /// Waits for the next event; `None` when all loops have ended and all was told.
    #[must_use]
    pub fn next(&self) -> Option<LoopEvent> {
        self.lock().recv().ok()
    }

    /// As [`LoopEvents::next`], but gives `None` after `patience` as well. It may take longer while
    /// another thread waits: clones wait for each other.
    #[must_use]
    pub fn next_within(&self, patience: Duration) -> Option<LoopEvent> {
        self.lock().recv_timeout(patience).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Receiver<LoopEvent>> {
        // Nothing panics while holding the lock.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It started, and it ended one way or the other.
const EVENTS_PER_LOOP: usize = 2;
