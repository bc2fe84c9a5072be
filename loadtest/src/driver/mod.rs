//! Drives many client connections over real sockets: one thread, one mio poll, one read buffer.
//!
//! A connection owns its socket and a few words of state. It keeps incomplete input, and output
//! that the kernel has not taken, only until these are handled, so an idle connection holds no
//! buffer. A command receives what the server does through [`Workload`]: events as they are read,
//! and the ends of connections at the end of the turn.

mod backlog;
mod context;
mod dial;
mod event_loop;
mod failure;
mod slot;
mod source_addresses;
mod wake_timer;
mod workload;

pub(crate) use context::{DriverOptions, TlsStall};
pub(crate) use event_loop::Driver;
pub(crate) use failure::Failure;
pub(crate) use source_addresses::SourceAddresses;
pub(crate) use workload::{ConnHandle, ConnKey, Workload, index};
