//! What is really done, counted where it is done and not by the step that does it: the simulation
//! holds it against what was charged, and so finds a step that forgets to charge.
//!
//! Without the simulation, and in optimized builds, it is nothing.

#[cfg(all(feature = "sim", debug_assertions))]
use std::cell::Cell;

#[cfg(all(feature = "sim", debug_assertions))]
thread_local! {
    static SPENT: Cell<u64> = const { Cell::new(0) };
}

/// Something is done that takes this many units.
#[cfg(all(feature = "sim", debug_assertions))]
pub fn spend(units: u64) {
    SPENT.set(SPENT.get() + units);
}

/// As the other one, where nothing is counted.
#[cfg(not(all(feature = "sim", debug_assertions)))]
#[inline(always)]
pub const fn spend(units: u64) {
    let _ = units;
}

/// What this thread has done since it was last asked; 0 where nothing is counted.
#[cfg(feature = "sim")]
#[must_use]
pub fn take() -> u64 {
    #[cfg(debug_assertions)]
    return SPENT.take();
    #[cfg(not(debug_assertions))]
    return 0;
}
