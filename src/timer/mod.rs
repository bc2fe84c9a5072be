//! Time as the event loop sees it: a clock read once per turn, and one wheel of deadlines.

mod clock;
mod wheel;

pub use clock::{Clock, Millis, TICK_MS, Tick, WallTime};
pub use wheel::{TimerLink, TimerLinks, Wheel};
