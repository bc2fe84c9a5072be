//! The commands, one file each.

pub(crate) mod idle;
pub(crate) mod study;

use std::io;

use thiserror::Error;

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
