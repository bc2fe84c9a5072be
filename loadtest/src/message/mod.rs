//! The messages of the traffic commands: cheap to write, and cheap to verify byte for byte.
//!
//! ```text
//!  payload   ┌ stamp: 16 hex digits ┬ dots ┬ a stretch of random filling ───────────────────┐
//!            │ sequence │ sender    │ 0..3 │ where it begins depends on sequence and sender │
//! ```
//! Header and filling are made once, the filling also in its masked form, so that to write a
//! message is to copy it and to stamp it, and to verify one is to compare two stretches of memory.

mod deflate;
mod expected;
mod pattern;
mod prices;
mod stamp;

pub(crate) use deflate::Inflater;
pub(crate) use expected::Mismatch;
pub(crate) use pattern::{Filling, Pattern};
pub(crate) use stamp::{STAMP_BYTES, Stamp};
