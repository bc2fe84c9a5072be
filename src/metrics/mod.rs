//! What the gateway counts.

mod counters;
mod report;

pub use counters::{ControlCounters, Counter, Counters, SharedCounter};
pub use report::report;
