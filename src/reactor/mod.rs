//! The event loop: one thread, its sockets, and turns of bounded work.

mod drain;
mod event_loop;
mod listener;
mod mailbox;
mod mio_poller;
mod poller;

pub use event_loop::{EventLoop, LoopCommand, LoopMailboxes, LoopSettings, MAILBOX_TOKEN, Turn};
pub use listener::{ListenerProtocol, ListenerSettings};
pub use mailbox::{Mailbox, Wake};
pub use mio_poller::MioPoller;
pub use poller::{AcceptError, Poller, Readiness, Transport};
