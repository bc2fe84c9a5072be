//! Why a server does not start.

use std::io;
use std::net::SocketAddr;

use super::certificates::CertificateFileError;
use super::listener_numbers::TooManyListeners;
use crate::display::debug_as_display;
use crate::os::BindError;

/// The server could not start. Nothing was served.
#[derive(thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no event queue or no thread.
    #[error("cannot start an event loop: {0}")]
    Loop(#[from] io::Error),
    /// A socket was passed to the process that no listener is configured for.
    #[error("no listener has the address {address} of the socket that was passed as {name:?}")]
    Passed {
        /// Where the socket listens.
        address: SocketAddr,
        /// What the supervisor calls it.
        name: String,
    },
    /// A file of certificates, keys or authorities cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFileError),
    /// Line clients are to join a route that is not served.
    #[error("no WebSocket route has the path {0}, which line clients are to join")]
    Route(String),
    /// There are more listeners than numbers for them.
    #[error(transparent)]
    Listeners(#[from] TooManyListeners),
}

debug_as_display!(StartError);
