//! The currency of work: what is done in a turn of a loop, in units that take about a nanosecond each.
//!
//! The core has no clock, so it counts what it does at the prices of [`prices`]. A turn has a bound,
//! and so has the share of one connection in it. Each step charges what it does, asks whether the
//! share is used up, and leaves the rest for a later turn if it is.

pub mod meter;
pub mod prices;

/// What one turn may cost, and the share of one connection in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkLimits {
    /// Units of one turn.
    pub turn: u64,
    /// Units that one connection, or one fan-out, gets before the others have theirs.
    pub share: u64,
}

impl Default for WorkLimits {
    /// 4 ms for a turn, half a millisecond for a share.
    fn default() -> Self {
        Self { turn: 4_000_000, share: 500_000 }
    }
}

/// The phases of a turn, each of which begins new work only while the turn has not come further than
/// its part of the limit. So none takes the time of those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What the poller reported: until half of the turn is used. Events beyond only mark their
    /// connections, which run later.
    Events,
    /// What was left over by earlier turns, mail and deadlines: until three quarters are.
    Leftovers,
    /// Writing what was pushed, accepting and closing.
    End,
}

/// The account of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    used: u64,
    share_end: u64,
    /// Where the phases end, and how long a share is.
    events_end: u64,
    leftovers_end: u64,
    end: u64,
    share: u64,
}

impl Work {
    /// Turns by these limits.
    #[must_use]
    pub fn new(limits: WorkLimits) -> Self {
        // At least one unit each, so that every share gets something done.
        let (turn, share) = (limits.turn.max(1), limits.share.max(1));
        let (events_end, leftovers_end) = (turn.div_ceil(2), turn - turn / 4);
        Self { used: 0, share_end: share, events_end, leftovers_end, end: turn, share }
    }

    /// Begins a turn, and a share in it.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.used = 0;
        self.share_end = self.share;
    }

    /// Begins the share of another connection, which it gets whole even at the end of a turn.
    #[inline]
    pub fn begin_share(&mut self) {
        self.share_end = self.used + self.share;
    }

    /// Begins a share that lasts as long as it takes: for what can neither wait nor be dropped.
    pub fn begin_share_without_end(&mut self) {
        self.share_end = u64::MAX;
    }

    /// The share is used up, whatever it came to.
    pub fn end_share(&mut self) {
        self.share_end = self.used;
    }

    /// Charges work that is done.
    #[inline]
    pub fn charge(&mut self, units: u64) {
        self.used += units;
    }

    /// Whether the share is used up: what is left is to wait for another.
    #[inline]
    #[must_use]
    pub fn is_share_used(&self) -> bool {
        self.used >= self.share_end
    }

    /// What is left of the share.
    #[inline]
    #[must_use]
    pub fn share_left(&self) -> u64 {
        self.share_end.saturating_sub(self.used)
    }

    /// Whether a phase is to begin nothing more in this turn.
    #[inline]
    #[must_use]
    pub fn is_over(&self, phase: Phase) -> bool {
        let end = match phase {
            Phase::Events => self.events_end,
            Phase::Leftovers => self.leftovers_end,
            Phase::End => self.end,
        };
        self.used >= end
    }

    /// Units charged since the turn began.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_end_one_after_the_other() {
        let mut work = Work::new(WorkLimits { turn: 100, share: 20 });
        let phases = [Phase::Events, Phase::Leftovers, Phase::End];
        for (charged, over) in [
            (49, [false; 3]),
            (1, [true, false, false]),
            (25, [true, true, false]),
            (25, [true; 3]),
        ] {
            work.charge(charged);
            assert_eq!(phases.map(|phase| work.is_over(phase)), over);
        }
    }

    #[test]
    fn a_share_is_whole_whenever_it_begins() {
        let mut work = Work::new(WorkLimits { turn: 100, share: 20 });
        work.charge(99);
        assert!(work.is_share_used());
        work.begin_share();
        assert_eq!(work.share_left(), 20);
        work.charge(19);
        assert!(!work.is_share_used());
        work.charge(500);
        assert_eq!((work.is_share_used(), work.share_left()), (true, 0));
    }

    #[test]
    fn limits_of_nothing_still_let_work_begin() {
        let work = Work::new(WorkLimits { turn: 0, share: 0 });
        assert!(!work.is_share_used() && !work.is_over(Phase::End));
    }
}
