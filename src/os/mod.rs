//! The operating system: the only place, besides the poller, that knows it.

mod allocator;
mod errors;
mod limits;
mod listening;
mod pinning;
mod readiness;
mod reserve;
mod send_more;
mod signals;
mod standard_input;
mod stop_signals;
mod system_clock;

pub use allocator::return_freed_memory;
pub(crate) use errors::is_about_one_connection;
pub use limits::{Descriptors, kernel_warnings, raise_descriptor_limit};
pub use listening::{BindError, KeepAlive, ListenOptions, bind_listeners};
pub use pinning::pin_thread;
pub(crate) use readiness::{Watched, wait_ready};
pub(crate) use reserve::ReserveDescriptor;
pub(crate) use send_more::send_before_end;
pub use signals::{Request, Requests, StopListening};
pub(crate) use standard_input::StandardInput;
pub(crate) use stop_signals::StopSignals;
pub use system_clock::SystemClock;
