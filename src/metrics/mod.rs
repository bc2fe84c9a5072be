//! What the gateway counts.

mod counters;

pub use counters::{Counter, Counters};
