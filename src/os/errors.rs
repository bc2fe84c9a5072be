//! What error numbers mean for the loop.

use std::io;

use rustix::io::Errno;

/// Whether an `accept` failed because of the one connection it was about to give, so that the
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
