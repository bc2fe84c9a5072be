//! The differences between a message that arrived and the one that was sent.

use thiserror::Error;

/// How a message differs from what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    #[error("differs from what was sent at byte {offset}")]
    Byte { offset: usize },
    #[error("is binary where text was sent, or the other way round")]
    Kind,
    #[error("came as it is although compression was agreed and makes it shorter")]
    Plain,
    #[error("goes on after the {sent} bytes that were sent")]
    TooLong { sent: usize },
    #[error("ends after {arrived} of the {sent} bytes that were sent")]
    TooShort { arrived: usize, sent: usize },
}

/// Why a message is not one of the publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DeliveryError {
    #[error("publication {sequence} of publisher {publisher} {mismatch}")]
    Altered { publisher: usize, sequence: u32, mismatch: Mismatch },
    #[error("a message arrived that was never published")]
    Foreign,
}
