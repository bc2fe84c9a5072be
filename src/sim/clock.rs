//! Both clocks of the simulation. They move only when a test moves them.

use std::cell::Cell;
use std::rc::Rc;

use crate::timer::{Clock, Millis, WallTime};

/// The clocks of one network: the monotonic one, and a wall clock that can be set. Clones are the same
/// clock.
#[derive(Clone, Debug, Default)]
pub struct SimClock(Rc<Times>);

#[derive(Debug, Default)]
struct Times {
    monotonic_ms: Cell<u64>,
    /// How far the wall clock was set forwards, or backwards.
    wall_offset_ms: Cell<i64>,
    /// How long it takes to read the wall clock, the next time.
    stall_ms: Cell<u64>,
}

impl SimClock {
    /// Moves both clocks on by `ms`.
    pub fn advance(&self, ms: u64) {
        self.0.monotonic_ms.set(self.0.monotonic_ms.get() + ms);
    }

    /// Sets the wall clock forwards by `ms`, or backwards if that is negative.
    pub fn set_wall(&self, ms: i64) {
        self.0.wall_offset_ms.set(self.0.wall_offset_ms.get() + ms);
    }

    /// Has `ms` pass before the wall clock is read the next time, as for a thread that is not run meanwhile.
    pub fn stall(&self, ms: u64) {
        self.0.stall_ms.set(ms);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        Millis(self.0.monotonic_ms.get())
    }

    fn wall_now(&self) -> WallTime {
        self.advance(self.0.stall_ms.take());
        let started = START_MS.saturating_add_signed(self.0.wall_offset_ms.get());
        WallTime(started.saturating_add(self.0.monotonic_ms.get()))
    }
}

/// 1 January 2026, 00:00 UTC.
const START_MS: u64 = 1_767_225_600_000;
