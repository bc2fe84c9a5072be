//! The clocks as a trait, and the units in which time is kept.
//!
//! **Durations are measured by the monotonic clock, expiry dates by the wall clock.** The first never
//! goes backwards and does not know what day it is; so everything that lasts (deadlines, pings, waits,
//! rates, ages) counts in [`Millis`] and [`Tick`]s. The second is set by people and by NTP, forwards and
//! backwards; so it serves only to be compared with a date that another machine has written down, such as
//! the expiry of a token, at the moment when it matters. A difference of two [`WallTime`]s is never a
//! duration, and there is no method that makes one.

/// A source of time. The server reads the system's clocks; tests set theirs by hand.
pub trait Clock {
    /// Milliseconds since a fixed moment in the past; never decreases.
    fn now(&self) -> Millis;

    /// The date, which may jump in either direction.
    fn wall_now(&self) -> WallTime;

    /// As [`Clock::now`] in microseconds, for measuring short durations.
    fn micros(&self) -> u64 {
        self.now().0 * 1000
    }

    /// The date that it was at a moment in the past, in microseconds as [`Clock::micros`] counts them. However
    /// long ago that is: a thread that was not run between the two readings is not ahead of all others.
    fn wall_at(&self, moment_us: u64) -> WallTime {
        let wall = self.wall_now();
        WallTime(wall.0.saturating_sub(self.micros().saturating_sub(moment_us) / 1000))
    }
}

/// A date: milliseconds since 1 January 1970, 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// A moment, in milliseconds since the clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The tick that contains this moment.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap after 8.7 years of uptime")]
    pub const fn tick(self) -> Tick {
        Tick((self.0 / TICK_MS) as u32)
    }
}

/// The first of these moments, if there are any.
// By reference: an array that is moved into an iterator is walked by index, which nothing unrolls. And one
// that never comes stands for none, so that nothing branches.
#[inline]
#[must_use]
pub fn earliest<T: Moment, const N: usize>(moments: [Option<T>; N]) -> Option<T> {
    let mut first = T::NEVER;
    for moment in &moments {
        first = first.min(moment.unwrap_or(T::NEVER));
    }
    (first < T::NEVER).then_some(first)
}

/// What [`earliest`] compares.
pub trait Moment: Copy + Ord {
    /// After all others; no clock gets there.
    const NEVER: Self;
}

impl Moment for Millis {
    const NEVER: Self = Self(u64::MAX);
}

impl Moment for Tick {
    const NEVER: Self = Self(u32::MAX);
}

/// Length of a tick, in milliseconds: the resolution of deadlines of connections.
pub const TICK_MS: u64 = 64;

/// A moment in units of [`TICK_MS`]; its 32 bits fit into a connection's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// The moment at which the tick begins.
    #[must_use]
    pub const fn begins(self) -> Millis {
        Millis(self.0 as u64 * TICK_MS)
    }

    /// The first tick that begins at least `ms` milliseconds after any moment of this one. A
    /// deadline computed with it is up to two ticks late and never early.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "configuration bounds times to a day")]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.div_ceil(TICK_MS) as u32).saturating_add(1))
    }
}
