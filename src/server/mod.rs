//! A server: listeners, one thread per event loop, the mailboxes between them, and their end.
//!
//! [`Handle::start`] starts all of it, and the [`Handle`] is what everybody else has of it: addresses,
//! counters, commands to the loops, and their events.

mod built_in;
mod certificates;
mod drain_state;
mod handle;
mod listener_numbers;
mod listeners;
mod loop_thread;
mod reload;
mod request_rules;
mod saved_streams;
mod serving;
mod settings;
mod start;
mod start_error;
mod until_signal;

pub use crate::os::{PassedError, PassedSockets, Signals};
pub use crate::reactor::{DrainTerms, QueuePolicy};
#[cfg(feature = "redis")]
pub(crate) use built_in::token_in;
pub use built_in::{
    ChannelProxies, EventBackends, ForChannels, IdentityChecks, RouteObservers, Upstreams,
    built_in_routes, channel_namespaces,
};
pub use certificates::{
    CertificateFileError, LoadedUpstreamTls, UpstreamTlsError, certificate_lines,
    check_certificates,
};
pub use drain_state::{DrainStage, DrainState};
pub use handle::Handle;
pub use listener_numbers::TooManyListeners;
pub(crate) use listeners::name_of as passed_name;
pub use loop_thread::LoopFailure;
pub(crate) use loop_thread::current_loop;
pub use reload::{ReloadError, Reloaded};
pub use saved_streams::with_saved_streams;
pub use start_error::StartError;
pub use until_signal::ServeError;
pub(crate) use until_signal::stop_with_the_loops;
