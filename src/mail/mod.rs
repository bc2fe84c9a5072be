//! Messages between threads: from loop to loop, and between a loop and the control thread.

mod mailbox;
mod message;

pub use mailbox::{Mailbox, Wake};
pub(crate) use message::LoopMessageKind;
pub use message::{LoopMessage, LoopSender};
