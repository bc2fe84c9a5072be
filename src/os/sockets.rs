//! What accepting and writing need beyond what mio offers.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Whether an `accept` failed because of the connection that it would have returned, so that the
/// next may succeed: accept(2) passes on errors that were pending on the new socket.
pub(crate) fn is_about_one_connection(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|number| {
        matches!(
            number,
            Errno::CONNABORTED
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::INTR
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::PROTO
        )
    })
}

/// A descriptor that is held in reserve. When descriptors run out, dropping it lets one more
/// connection be accepted and closed at once: left in the accept queue, its peer would wait without
/// an answer.
#[derive(Debug)]
pub(crate) struct ReserveDescriptor {
    #[expect(dead_code, reason = "held for its descriptor alone")]
    file: File,
}

impl ReserveDescriptor {
    /// Opens the descriptor.
    ///
    /// # Errors
    /// Those of open(2), such as `EMFILE`.
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/dev/null").map(|file| Self { file })
    }
}

/// Writes `bytes` right before the end of the stream. `MSG_MORE` (send(2)) holds back a partial
/// segment until the FIN joins it: one packet instead of two, and one wake-up of the peer.
///
/// # Errors
/// Those of send(2).
pub(crate) fn send_before_end(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // Without MSG_NOSIGNAL a write to a socket that the peer has reset raises SIGPIPE.
    Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}
