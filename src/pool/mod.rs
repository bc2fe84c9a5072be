//! Memory that connections hold only while bytes are in flight.
//!
//! An idle connection owns none of it: its `SlotRef` is empty and so is its queue.

mod backlog;
mod budget;
mod buffers;
mod holders;
mod partial_read;
mod slots;
mod windows;

pub use backlog::{Backlog, Conflated, FrameId, OutQueue, SLICES_MAX};
pub use budget::{Lease, Need, SharedBudget, pool_bytes_for, pool_reserve};
pub use buffers::{BUFFER_BYTES_MIN, Buffers, OverBudget};
pub use holders::{Holders, NOTED_BYTES};
pub use partial_read::{PartialReads, ReadBuffer, Unfinished};
pub use windows::{Window, Windows};
