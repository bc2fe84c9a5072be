//! How far a server is with its drain, as its owner sees it.

use std::sync::Arc;

use crate::reactor::{DrainPoint, DrainProgress, DrainTerms};
use crate::timer::Millis;

/// The stages of a server, in their order. A drain that is cancelled leads from the grace back to serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStage {
    /// No drain is under way.
    Serving,
    /// It accepts and serves, and asks balancers to send new clients elsewhere: it is not ready.
    Grace,
    /// It accepts no more, and tells its clients to go.
    Draining,
    /// All loops have ended.
    Ended,
}

/// How far a server is with its drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainState {
    /// The stage.
    pub stage: DrainStage,
    /// Connections now, in any phase.
    pub connections: usize,
    /// Connections that were told to go.
    pub told: usize,
    /// Seconds until what is left is dropped, rounded up; `None` while no drain is under way.
    pub seconds_left: Option<u64>,
}

/// A drain that was begun.
#[derive(Clone, Debug)]
pub(super) struct BegunDrain {
    terms: DrainTerms,
    began: Millis,
    progress: Arc<DrainProgress>,
}

impl BegunDrain {
    /// A drain that begins `now`, with what the loops share of it.
    pub(super) fn new(now: Millis, terms: DrainTerms) -> (Self, Arc<DrainProgress>) {
        let progress = Arc::new(DrainProgress::new());
        (Self { terms, began: now, progress: Arc::clone(&progress) }, progress)
    }

    /// Calls it off, and returns whether that was in time.
    pub(super) fn cancel(&self) -> bool {
        self.progress.cancel()
    }

    /// How far it is, with `connections` left of which none is known to the drain itself.
    pub(super) fn state(&self, now: Millis, connections: usize) -> DrainState {
        let drain_ms = self.terms.drain_ms;
        let (stage, ends) = match self.progress.point() {
            DrainPoint::Cancelled => (DrainStage::Serving, None),
            DrainPoint::Grace => {
                // The loops may be a turn behind.
                let stops = self.began.plus(self.terms.grace_ms).max(now);
                (DrainStage::Grace, Some(stops.plus(drain_ms)))
            }
            DrainPoint::Stopped(stopped) => (DrainStage::Draining, Some(stopped.plus(drain_ms))),
        };
        let seconds_left = ends.map(|ends| ends.since(now).div_ceil(1000));
        DrainState { stage, connections, told: self.progress.told(), seconds_left }
    }
}
