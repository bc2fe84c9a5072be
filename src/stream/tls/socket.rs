//! Reads and writes of the socket itself.

use std::io::{ErrorKind, IoSlice};

use crate::stream::contract::{Received, Source, StreamError};
use crate::transport::Transport;

/// One read; what is to be given back where it brought no bytes.
pub(super) fn read_once<S: Transport>(socket: &mut S, room: &mut [u8]) -> Result<usize, Received> {
    debug_assert!(!room.is_empty(), "a read into no room looks like the end of input");
    loop {
        return match socket.read(room) {
            Ok(0) => Err(Received::Ended { clean: false }),
            Ok(count) => Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(Received::Nothing(Source::Drained))
            }
            Err(_) => Err(Received::Failed),
        };
    }
}

/// Writes until all is taken or the socket has no more room; how many bytes it took.
pub(super) fn write_all<S: Transport>(socket: &mut S, bytes: &[u8]) -> Result<usize, StreamError> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&[IoSlice::new(&bytes[written..])]) {
            Ok(0) => return Err(StreamError),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Err(StreamError),
        }
    }
    Ok(written)
}

/// Reads and throws away: closing with bytes unread would reset the connection, and the peer would
/// not learn why.
pub(super) fn discard<S: Transport>(socket: &mut S, room: &mut [u8]) -> Received {
    for _ in 0..READS_MAX {
        match socket.read(room) {
            Ok(0) => return Received::Ended { clean: true },
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Received::Nothing(Source::Drained);
            }
            Err(_) => return Received::Failed,
        }
    }
    Received::Nothing(Source::MayHaveMore)
}

/// Reads of one call that bring no plaintext.
pub(super) const READS_MAX: usize = 8;
