//! How a process that takes over says that it is ready.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

/// Where the process that this one takes over from waits. Dropping it without [`ReadyPipe::say_ready`]
/// tells that process to stay.
#[derive(Debug)]
pub struct ReadyPipe {
    pipe: File,
}

impl ReadyPipe {
    pub(super) fn new(owned: OwnedFd) -> Self {
        Self { pipe: File::from(owned) }
    }

    /// Tells the other process that this one serves.
    ///
    /// # Errors
    /// Those of write(2): the other process has ended.
    pub fn say_ready(mut self) -> io::Result<()> {
        self.pipe.write_all(b"1")
    }
}
