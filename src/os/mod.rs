//! The operating system, which only this folder and the poller know.

mod cgroup;
mod handover;
mod listening;
mod outbound;
mod passed_sockets;
mod process;
mod process_use;
mod ready_pipe;
mod signals;
mod sockets;
mod standard_streams;
#[cfg(feature = "client")]
mod stop_signals;
mod supervisor;
mod system_clock;

pub use cgroup::GroupMemory;
pub use handover::{NewProcess, NewProcessState};
pub(crate) use listening::set_keep_alive;
pub use listening::{BindError, KeepAlive, ListenOptions, apply_options, bind_listeners};
pub(crate) use outbound::{connect, probe};
pub use passed_sockets::{PassedError, PassedSocket, PassedSockets};
pub use process::{
    Descriptors, host_name, kernel_warnings, pin_thread, raise_descriptor_limit,
    return_freed_memory, return_scattered_memory,
};
pub use process_use::ProcessUse;
pub use ready_pipe::ReadyPipe;
pub use signals::{Request, Signals, StopListening, Wake};
pub(crate) use sockets::{ReserveDescriptor, is_about_one_connection, send_before_end};
pub use standard_streams::{write_stderr, write_stdout};
#[cfg(feature = "client")]
pub(crate) use stop_signals::StopSignals;
pub use supervisor::Supervisor;
pub use system_clock::SystemClock;
