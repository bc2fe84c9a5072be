//! Writing what the end of the stream follows at once.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{SendFlags, send};

/// Sends `bytes` but holds back what would be a packet of its own until more follows, such as the
/// end of the stream: one packet instead of two, and one wake-up of the peer (`MSG_MORE`, send(2)).
///
/// # Errors
/// As write(2) on a socket.
pub(crate) fn send_before_end(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}
