//! The log of the process: which lines it takes, how they are written, and how they get to standard
//! error without that anything waits for its reader.
//!
//! A record of the `log` crate passes the [`Log`], which the program installs once: its filter
//! (`RUST_LOG`, or the level of the configuration), the limit of lines in a second, the encoding as a
//! line, and a bounded queue that a thread of its own empties. The [`AccessLog`] has such a queue and such a
//! thread too: loops tell it of connections that have ended.

mod access_line;
mod access_log;
mod fields;
mod filter;
mod limit;
mod line;
mod logger;
mod queue;
mod settings;

pub use access_log::{AccessLog, AccessOutput};
pub(crate) use line::thousands;
pub use logger::{Log, flush_log};
pub use settings::{LogFormat, LogSettings};
