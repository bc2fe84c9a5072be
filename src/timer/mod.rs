//! Time: a clock that the event loop reads once per turn, and a wheel of deadlines.

mod clock;
mod wheel;

pub use clock::{Clock, Millis, Moment, TICK_MS, Tick, WallTime, earliest};
pub use wheel::{TimerLink, TimerLinks, Wheel};
