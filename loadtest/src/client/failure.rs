//! Why a connection did not do what was asked of it.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use super::frame::FrameError;
use super::handshake::HandshakeError;
use crate::deliveries::DeliveryError;
use crate::message::Mismatch;

/// What ended a connection before its proper end.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("the server sent bytes after its Close frame")]
    BytesAfterClose,
    #[error("the server closed the connection: {}", described(*.code, .reason))]
    ClosedByServer { code: Option<u16>, reason: String },
    #[error("could not connect: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error("the server ended the connection without a Close frame")]
    EndOfStream,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no {awaited} within {} s", within.as_secs_f64())]
    Overdue { awaited: Awaited, within: Duration },
    #[error("the socket failed: {0}")]
    Socket(#[source] io::Error),
    #[error("the server sent a message that nobody asked for")]
    UnaskedMessage,
    #[error("the echo differs from what was sent")]
    WrongEcho,
    #[error("message {sequence} {mismatch}")]
    WrongMessage { sequence: u32, mismatch: Mismatch },
    #[error("a pong does not carry the payload of the ping")]
    WrongPong,
}

/// The answer that a connection owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    Close,
    Echo,
    EndOfStream,
    Handshake,
    Pong,
    TcpConnection,
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
