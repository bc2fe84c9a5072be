//! SIGINT and SIGTERM as something to read, for a thread that waits for other things as well.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// Becomes readable with the first signal. A second one ends the process as if nobody listened,
/// whatever it is doing: it may be stuck in a write.
#[derive(Debug)]
pub(crate) struct StopSignals {
    signalled: UnixStream,
}

impl StopSignals {
    /// Takes the signals over from their defaults.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn listen() -> io::Result<Self> {
        let (signalled, writer) = UnixStream::pair()?;
        signalled.set_nonblocking(true)?;
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Actions run in this order, so the first signal finds the flag still down.
            flag::register_conditional_default(signal, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { signalled })
    }

    /// Takes the signal, so that this is no longer readable.
    pub(crate) fn take(&mut self) {
        // Nothing to read is fine, and there is nobody else to end the other side.
        let _ = self.signalled.read(&mut [0; 16]);
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signalled.as_fd()
    }
}
