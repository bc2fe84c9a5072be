//! The messages of the traffic commands: cheap to write, and cheap to verify byte for byte.
//!
//! ```text
//!  payload   ┌ message id: 16 hex digits ┬ dots ┬ a slice of the random bodies ───────────────────┐
//!            │ sequence │ sender    │ 0..3 │ where it begins depends on sequence and sender │
//! ```
//! Header and bodies are made once, the bodies also in its masked form, so that to write a
//! message is to copy it and to write its id, and to verify one is to compare two slices of memory.

mod expected;
mod json_quotes;
mod message_id;
mod mismatch;
mod pattern;

pub(crate) use message_id::{MESSAGE_ID_BYTES, MessageId};
pub(crate) use mismatch::{DeliveryError, Mismatch};
pub(crate) use pattern::{Pattern, PayloadKind};
