//! The operating system, which only this folder and the poller know.

mod listening;
mod process;
mod process_use;
mod signals;
mod sockets;
mod standard_streams;
#[cfg(feature = "client")]
mod stop_signals;
mod system_clock;

pub(crate) use listening::set_keep_alive;
pub use listening::{BindError, KeepAlive, ListenOptions, bind_listeners};
pub use process::{
    Descriptors, kernel_warnings, pin_thread, raise_descriptor_limit, return_freed_memory,
    return_scattered_memory,
};
pub use process_use::ProcessUse;
pub use signals::{Request, Signals, StopListening};
pub(crate) use sockets::{ReserveDescriptor, is_about_one_connection, send_before_end};
pub use standard_streams::{write_stderr, write_stdout};
#[cfg(feature = "client")]
pub(crate) use stop_signals::StopSignals;
pub use system_clock::SystemClock;
