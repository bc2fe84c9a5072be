//! Violations of the protocol by the server, and the answers that it can owe.

use std::fmt;

use thiserror::Error;

use super::frame::FrameError;
use super::handshake::HandshakeError;

/// Why a connection ended before its closing handshake was complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ProtocolError {
    #[error("the server sent bytes after its Close frame")]
    BytesAfterClose,
    #[error("the server closed the connection: {}", described(*.code, .reason))]
    ClosedByServer { code: Option<u16>, reason: String },
    #[error("the server ended the connection without a Close frame")]
    EndOfStream,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// The answer that a server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    Close,
    Echo,
    EndOfStream,
    Handshake,
    Pong,
    TcpConnection,
    TlsHandshake,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "Close frame in answer to ours",
            Self::Echo => "echo",
            Self::EndOfStream => "end of stream after the Close frames",
            Self::Handshake => "complete answer to the upgrade request",
            Self::Pong => "pong",
            Self::TcpConnection => "TCP connection",
            Self::TlsHandshake => "complete TLS handshake",
        })
    }
}

fn described(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, _) => "no code".to_owned(),
        (Some(code), "") => format!("code {code}"),
        (Some(code), reason) => format!("code {code}, {reason:?}"),
    }
}
