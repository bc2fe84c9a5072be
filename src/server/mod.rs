//! A server: listeners, one thread per event loop, the mailboxes between them, and their end.
//!
//! [`Handle::start`] starts all of it, and the [`Handle`] is what everybody else has of it: addresses,
//! counters, commands to the loops, and their events.

mod built_in;
mod certificates;
mod drain_state;
mod handle;
mod listener_numbers;
mod loop_thread;
mod reload;
mod serving;
mod settings;
mod start;
mod until_signal;

pub use crate::os::Signals;
pub use crate::reactor::{DrainTerms, QueuePolicy};
pub use built_in::{TokenLookups, built_in_routes};
pub use certificates::{CertificateFileError, certificate_lines, check_certificates};
pub use drain_state::{DrainStage, DrainState};
pub use handle::Handle;
pub use listener_numbers::TooManyListeners;
pub use loop_thread::LoopFailure;
pub(crate) use loop_thread::current_loop;
pub use reload::{ReloadError, Reloaded};
pub use start::StartError;
pub use until_signal::ServeError;
pub(crate) use until_signal::stop_with_the_loops;
