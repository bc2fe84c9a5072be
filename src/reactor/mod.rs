//! The event loop: one thread, its sockets, and turns of bounded work.

mod drain;
mod event_loop;
mod listener;
mod mio_poller;

pub use event_loop::{EventLoop, LoopCommand, LoopMailboxes, LoopSettings, MAILBOX_TOKEN, Turn};
pub use listener::{ListenerProtocol, ListenerSettings};
pub use mio_poller::MioPoller;
