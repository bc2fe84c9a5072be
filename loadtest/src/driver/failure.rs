//! The failures of a connection.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::message::{DeliveryError, Mismatch};
use crate::tls::TlsError;
use crate::websocket::{Awaited, ProtocolError};

/// Why a connection ended without a complete closing handshake, or its messages were wrong.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("could not connect: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error("no {awaited} within {} s", within.as_secs_f64())]
    Overdue { awaited: Awaited, within: Duration },
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the server answered with error {code} ({message})")]
    Refused { code: u32, message: String },
    #[error("the socket failed: {0}")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the server sent what its protocol does not have: {0}")]
    UnreadableReply(String),
    #[error("the server sent a message that was not asked for")]
    UnaskedMessage,
    #[error("the echo differs from what was sent")]
    WrongEcho,
    #[error("message {sequence} {mismatch}")]
    WrongMessage { sequence: u32, mismatch: Mismatch },
    #[error("a pong does not carry the payload of the ping")]
    WrongPong,
}
