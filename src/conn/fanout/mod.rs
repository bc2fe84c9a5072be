//! Fan-out: what is pushed to one connection or to the members of a topic.
//!
//! ```text
//!   service ──effects──► this loop ──mail──► home loop of the topic ──mail──► every other loop
//!                            │                       │                             │
//!                            └── Order::Sender ──────┴──► members of the topic ◄───┘
//! ```

mod frame_batch;
mod membership;
mod push;
mod shared_frame;
mod volume;
mod walks;

pub(super) use membership::Membership;
pub(super) use push::{PushResult, Pusher};
pub(super) use shared_frame::SharedFrame;
pub(super) use volume::Volume;
pub(super) use walks::{Ahead, Delivered, Encoded, Walk, Walks};
