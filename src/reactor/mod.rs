//! The event loop: one thread, its sockets, and turns of bounded work.

mod catch_up;
mod command;
mod drain;
mod event_loop;
mod listener;
mod mio_poller;
mod overload;
mod permits;
mod reload;
mod settings;

pub use command::{LoopCommand, LoopEnvelope, LoopState, SharedListeners};
pub use drain::{DrainPoint, DrainProgress, DrainTerms, QueuePolicy};
pub use event_loop::{EventLoop, MAILBOX_TOKEN, Turn};
pub use listener::{ListenerProtocol, ListenerSettings};
pub use mio_poller::MioPoller;
pub use overload::{OverloadMarks, OverloadSettings, Shortage};
pub use permits::ConnectionPermits;
pub use reload::{LoopReload, NotReady, ReadyForReload};
pub use settings::LoopSettings;
