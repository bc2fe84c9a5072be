//! Memory that is lent to connections while bytes are in flight, and taken back when they are not.
//!
//! A connection at rest owns none of this: it has a link that points nowhere and an empty queue.

mod backlog;
mod budget;
mod buffers;
mod partial_read;
mod windows;

pub use backlog::{Backlog, FrameId, OutQueue, SLICES_MAX};
pub use budget::{Lease, SharedBudget};
pub use buffers::{BUFFER_BYTES_MIN, Buffers, OverBudget};
pub use partial_read::{PartialReads, ReadBuffer};
pub use windows::{Window, Windows};
