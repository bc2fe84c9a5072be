//! Memory that connections hold only while bytes are in flight.
//!
//! An idle connection owns none of it: its `SlotRef` is empty and so is its queue.

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
