//! A loop's part in the drain of the server.

mod machine;
mod pace;
mod progress;
mod terms;

use std::sync::Arc;

use crate::conn::ClosesSent;
use crate::timer::Millis;

use machine::Drain;
pub use progress::{DrainPoint, DrainProgress};
pub use terms::{DrainTerms, QueuePolicy};

pub(super) use machine::Closes;

/// The drain of one loop, and what it shares with the others.
#[derive(Debug)]
pub(super) struct LoopDrain {
    drain: Drain,
    progress: Arc<DrainProgress>,
}

/// What becomes of a loop whose grace may be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing yet, or nothing any more.
    GoesOn,
    /// The drain was called off.
    Cancelled,
    /// The loop stops accepting now.
    Stops(QueuePolicy),
}

impl LoopDrain {
    pub(super) fn new(
        now: Millis,
        terms: DrainTerms,
        progress: Arc<DrainProgress>,
        seed: u64,
    ) -> Self {
        Self { drain: Drain::new(now, terms, seed), progress }
    }

    /// Decides with the other loops what follows the grace, if it is over. The loop has `count`
    /// connections. One that `has_stopped` accepting in another drain does not begin again.
    pub(super) fn decide(&mut self, now: Millis, count: usize, has_stopped: bool) -> Decision {
        if !self.drain.must_stop_accepting(now) {
            return Decision::GoesOn;
        }
        let stopped = match self.progress.stop_accepting(now) {
            DrainPoint::Stopped(stopped) => stopped,
            DrainPoint::Cancelled | DrainPoint::Grace if has_stopped => now,
            DrainPoint::Cancelled | DrainPoint::Grace => return Decision::Cancelled,
        };
        self.progress.add_connections(count);
        self.drain.stop_accepting(stopped, count);
        Decision::Stops(self.drain.queue())
    }

    /// Whether the loop has stopped accepting.
    pub(super) fn has_stopped_accepting(&self) -> bool {
        self.drain.has_stopped_accepting()
    }

    /// Which connections to tell now, if any.
    pub(super) fn closes(&mut self, now: Millis) -> Option<Closes> {
        self.drain.closes(now, self.progress.connections())
    }

    /// Notes what became of [`LoopDrain::closes`].
    pub(super) fn note(&mut self, now: Millis, sent: ClosesSent) {
        self.progress.add_told(sent.told);
        self.drain.note(now, sent);
    }

    /// When it has something to do next.
    pub(super) fn due(&self, now: Millis) -> Millis {
        self.drain.due(now, self.progress.connections())
    }

    /// Whether what is left is dropped.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        self.drain.is_over(now)
    }
}
