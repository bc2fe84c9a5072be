//! Standard input without a buffer in between, so that what waits in it is what poll reports.

use std::io::{self, IsTerminal as _, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::stdio::stdin;

/// The process's standard input. It stays in blocking mode, which it may share with other
/// processes: read it only when it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardInput;

impl StandardInput {
    /// Whether somebody types it.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdin().is_terminal()
    }
}

impl Read for StandardInput {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(stdin(), room)?)
    }
}

impl AsFd for StandardInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        stdin()
    }
}
