//! Signals as a readable descriptor, for the client command.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// Becomes readable with the first SIGINT or SIGTERM. A second one ends the process by the signal's
/// default action: the thread may be blocked in a write and never read the first.
#[derive(Debug)]
pub(crate) struct StopSignals {
    signalled: UnixStream,
}

impl StopSignals {
    /// Installs handlers for both signals.
    ///
    /// # Errors
    /// Those of sigaction(2) and socketpair(2).
    pub(crate) fn listen() -> io::Result<Self> {
        let (signalled, writer) = UnixStream::pair()?;
        signalled.set_nonblocking(true)?;
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters, as actions run in the order of their registration: the first
            // signal must find the flag still false, and set it for the second.
            flag::register_conditional_default(signal, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { signalled })
    }

    /// Takes the signal, so that the descriptor is no longer readable.
    pub(crate) fn take(&mut self) {
        // The socket is non-blocking, and an error or an empty read means that no signal is left.
        let _ = self.signalled.read(&mut [0; 16]);
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signalled.as_fd()
    }
}
