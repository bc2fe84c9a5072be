//! What goes wrong with TLS: before a run, and on a connection.

use std::io;
use std::path::PathBuf;

use rustls::InvalidMessage;
use thiserror::Error;

/// Why there can be no TLS at all.
#[derive(Debug, Error)]
pub(crate) enum TlsSetupError {
    #[error("{option} {}: {why}", path.display())]
    File { option: &'static str, path: PathBuf, why: String },
    #[error("{0:?} is no name that a certificate could be for")]
    ServerName(String),
    #[error(
        "this system has no certificates of authorities: name a file of them with --ca, or give \
         --insecure"
    )]
    NoRoots,
    #[error("no TLS with these options: {0}")]
    Options(#[from] rustls::Error),
    #[error("the certificate for the servers cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why the TLS of a connection failed.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("the server ended the connection during the TLS handshake")]
    EndOfStream,
    #[error("the server does not answer with TLS: is this its port for ws://?")]
    NotTls,
    #[error("TLS: {0}")]
    Protocol(#[source] rustls::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        // The first byte of an HTTP response is no type of a record (RFC 8446 §5.1).
        if matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) {
            Self::NotTls
        } else {
            Self::Protocol(error)
        }
    }
}
