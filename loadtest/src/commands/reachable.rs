//! Whether anything listens where the load is to go, asked when no connection was let in.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::CommandError;

/// An error that says what to do if the address takes no connection at all.
pub(super) fn require_listener(address: SocketAddr, given: &str) -> Result<(), CommandError> {
    match TcpStream::connect_timeout(&address, CONNECT_MAX) {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::Server(format!(
            "at {given} takes no connections ({error}): start it, name its address with --address, \
             or have it started by --spawn COMMAND"
        ))),
    }
}

const CONNECT_MAX: Duration = Duration::from_secs(5);
