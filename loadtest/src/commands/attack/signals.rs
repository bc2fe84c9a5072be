//! What the thread of the attackers and the thread of the bystanders tell each other.

use std::sync::atomic::{AtomicBool, Ordering};

/// The points of a run that one of the two threads waits for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    is_ready: AtomicBool,
    has_begun: AtomicBool,
    is_stopped: AtomicBool,
}

impl Signals {
    /// The attackers are prepared: the attack can begin.
    pub(super) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// The stage before the attack is over.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// The run is over, whatever the attackers still have to do.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// Stops the attackers when the bystanders' thread leaves its scope, also because of an error.
#[derive(Debug)]
pub(super) struct StopOnDrop<'a>(pub(super) &'a Signals);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
