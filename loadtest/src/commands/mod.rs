//! The commands, one folder each.

pub(crate) mod churn;
pub(crate) mod compare;
pub(crate) mod echo;
pub(crate) mod fanout;
mod figures;
pub(crate) mod idle;
mod options;
pub(crate) mod rate;
mod session;
pub(crate) mod slow;
pub(crate) mod storm;
pub(crate) mod study;
pub(crate) mod ulimit;

use std::io;

use thiserror::Error;

use crate::file_limit;
use crate::source_address::SourceAddresses;
use crate::target::Target;

/// Why a command could not come to its report.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the server {0}")]
    Server(String),
    #[error("{0}")]
    Usage(String),
}

/// How a command that came to its report ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every connection did what was asked of it.
    Fine,
    /// Some did not.
    Failures,
}

/// Every connection takes a port and an open file.
fn require_capacity(
    connections: usize,
    target: &Target,
    sources: &SourceAddresses,
) -> Result<(), CommandError> {
    let connections_max = sources.connections_max();
    if connections > connections_max {
        return Err(CommandError::Usage(format!(
            "--connections {connections} does not fit: this machine's ports allow \
             {connections_max} to {} (net.ipv4.ip_local_port_range)",
            target.address
        )));
    }
    let granted = file_limit::raise();
    let connections_max = granted.saturating_sub(file_limit::RESERVED_FILES);
    if connections > connections_max {
        return Err(CommandError::Usage(format!(
            "--connections {connections} does not fit: the limit on open files (ulimit -Hn) is \
             {granted}, which allows {connections_max}"
        )));
    }
    Ok(())
}
