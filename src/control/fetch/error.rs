//! Why a request has no reply.

use std::time::Duration;

/// Why a request has no reply. Shows neither the path nor the headers of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::control) enum FetchError {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection failed, or what came on it is not HTTP.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// The body is longer than it may be.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// There was no whole reply in time.
    #[error("no reply within {} ms", .0.as_millis())]
    Late(Duration),
}
