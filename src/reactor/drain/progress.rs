//! What the loops of a server decide together about a drain, and how far they are.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::timer::Millis;

/// The state of one drain, which the loops and the owner of the server share. Nothing of it is touched
/// while no drain is under way.
#[derive(Debug)]
pub struct DrainProgress {
    /// [`GRACE`], [`CANCELLED`], or when the first loop stopped accepting.
    stage: AtomicU64,
    /// Connections of the loops that have stopped accepting, at that time.
    connections: AtomicUsize,
    told: AtomicUsize,
}

/// Where a drain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainPoint {
    /// The loops go on accepting.
    Grace,
    /// It was called off in time.
    Cancelled,
    /// The first loop stopped accepting then, by the clock of the loops.
    Stopped(Millis),
}

impl DrainProgress {
    /// A drain that begins with its grace.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stage: AtomicU64::new(GRACE),
            connections: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn point(&self) -> DrainPoint {
        point(self.stage.load(Ordering::Acquire))
    }

    /// Calls it off, and returns whether that was in time. Either all loops stop accepting or none.
    pub fn cancel(&self) -> bool {
        self.decide(CANCELLED) == DrainPoint::Cancelled
    }

    /// A loop whose grace is over stops accepting at `now`, with all others, unless the drain was
    /// cancelled. Gives what was decided.
    pub(super) fn stop_accepting(&self, now: Millis) -> DrainPoint {
        self.decide(now.0.saturating_add(FIRST))
    }

    /// Decides on `wanted` unless something was decided before.
    fn decide(&self, wanted: u64) -> DrainPoint {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match self.stage.compare_exchange(GRACE, wanted, success, failure) {
            Ok(_) => point(wanted),
            Err(decided) => point(decided),
        }
    }

    /// A loop that stops accepting has this many connections.
    pub(super) fn add_connections(&self, count: usize) {
        self.connections.fetch_add(count, Ordering::Relaxed);
    }

    /// Connections of all loops when they stopped accepting.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A loop has told this many connections to go.
    pub(super) fn add_told(&self, count: usize) {
        self.told.fetch_add(count, Ordering::Relaxed);
    }

    /// Connections that were told to go.
    #[must_use]
    pub fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }
}

impl Default for DrainProgress {
    fn default() -> Self {
        Self::new()
    }
}

fn point(stage: u64) -> DrainPoint {
    match stage {
        GRACE => DrainPoint::Grace,
        CANCELLED => DrainPoint::Cancelled,
        stopped => DrainPoint::Stopped(Millis(stopped - FIRST)),
    }
}

const GRACE: u64 = 0;
const CANCELLED: u64 = 1;
/// The first number that stands for a moment.
const FIRST: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_cancelled_or_stops_accepting_and_never_both() {
        let progress = DrainProgress::new();
        assert_eq!(progress.point(), DrainPoint::Grace);
        assert_eq!(progress.stop_accepting(Millis(0)), DrainPoint::Stopped(Millis(0)));
        assert_eq!(progress.stop_accepting(Millis(9)), DrainPoint::Stopped(Millis(0)), "the first");
        assert!(!progress.cancel());

        let progress = DrainProgress::new();
        assert!(progress.cancel() && progress.cancel());
        assert_eq!(progress.stop_accepting(Millis(9)), DrainPoint::Cancelled);
        assert_eq!(progress.point(), DrainPoint::Cancelled);
    }
}
