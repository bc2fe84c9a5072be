//! How a command ends.

use std::io;

use thiserror::Error;

/// Why a command ended without a report.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The reason reads on from "the server".
    #[error("the server {0}")]
    Server(String),
    /// The command line asks for something that is not possible.
    #[error("{0}")]
    Usage(String),
}

/// What a finished command says of the connections that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every connection behaved as expected.
    Fine,
    /// At least one did not.
    Failures,
}
