//! Messages between threads: from loop to loop, to a loop from other threads, and from a loop to the
//! owner of the server.
//!
//! [`mesh()`] makes all mailboxes of a server. A loop has an [`Outbox`], which keeps what its mailboxes
//! have no room for and says what the loop must leave alone until they do, and an [`Inbox`]. Every
//! mailbox has two lanes, one for each [`Class`] of message, so that full mailboxes never wait for
//! each other: `outbox.rs` says why. A [`Reply`] is the way back for a command, [`LoopEvents`] tell of
//! a loop's beginning and end, and by an [`Attendance`] the loops know whether any of them still has connections.

mod attendance;
mod event;
mod inbox;
mod lane;
mod mailbox;
mod mesh;
mod message;
mod outbox;
mod reply;

pub use attendance::Attendance;
pub use event::{LoopEvent, LoopEventKind, LoopEventSender, LoopEvents};
pub use inbox::Inbox;
pub use lane::{Class, Lanes, MailItem, MailLimits};
pub use mailbox::{Mailbox, Wake};
pub use mesh::{LoopMailboxes, mesh};
pub(crate) use message::LoopMessageKind;
pub use message::{Envelope, LoopMessage, LoopSender};
pub use outbox::Outbox;
pub use reply::{NoReply, Reply, ReplyReceiver};
