//! How a command ends: with an error, or with a report and a verdict.

use std::io;

use thiserror::Error;

/// Why a command ended without a report.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The reason continues the sentence that begins with "the server".
    #[error("the server {0}")]
    Server(String),
    /// The command line asks for what is not possible.
    #[error("{0}")]
    Usage(String),
}

/// Whether the connections of a finished command behaved as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of them did.
    Fine,
    /// At least one did not.
    Failures,
}
