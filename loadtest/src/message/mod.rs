//! The messages of the traffic commands: cheap to write, and cheap to verify in every byte.
//!
//! ```text
//!  payload   ┌ message id: 16 hex digits ┬ dots ┬ body: a slice of random bytes ─────────────────┐
//!            │ sequence │ sender         │ 0..3 │ where it begins depends on sequence and sender │
//! ```
//! The header and the bodies are made once, the bodies in masked form as well. So writing a message
//! is copying it and writing its id, and verifying it is comparing two slices of memory.

mod expected;
mod json_quotes;
mod message_id;
mod mismatch;
mod pattern;

pub(crate) use message_id::{MESSAGE_ID_BYTES, MessageId};
pub(crate) use mismatch::{DeliveryError, Mismatch};
pub(crate) use pattern::{Pattern, PayloadKind};
