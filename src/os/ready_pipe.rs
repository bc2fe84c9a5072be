//! What a process that takes over says to the one that it takes over from.
//!
//! The two have a pair of sockets, and each message begins with one byte. The new process says that it is
//! ready, and before, if it wants that, it asks for the snapshot of channels and says that it opens. The
//! other process answers only what it is asked. One of an earlier version has a pipe instead, and answers
//! nothing.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// Where the process that this one takes over from waits. Dropping it without [`ReadyPipe::say_ready`]
/// tells that process to stay.
#[derive(Debug)]
pub struct ReadyPipe {
    /// Not as a socket, which a pipe is not.
    pipe: File,
}

impl ReadyPipe {
    pub(super) fn new(owned: OwnedFd) -> Self {
        Self { pipe: File::from(owned) }
    }

    /// Asks for a snapshot and waits for it, each step up to `patience`: the key by which its file is known, or
    /// `None` if there is none.
    ///
    /// # Errors
    /// Those of setsockopt(2) where the other process has a pipe, and of read(2) and write(2): it has ended, or
    /// does not answer.
    pub fn ask_snapshot(
        &mut self,
        patience: Duration,
    ) -> io::Result<Option<[u8; SNAPSHOT_KEY_BYTES]>> {
        // First, as this fails for a pipe, whose reader would take the question for something else.
        set_socket_timeout(&self.pipe, Timeout::Recv, Some(patience))?;
        self.pipe.write_all(&ASKS)?;
        let mut answer = [0];
        self.pipe.read_exact(&mut answer)?;
        if answer != SNAPSHOT {
            return Ok(None);
        }
        let mut key = [0; SNAPSHOT_KEY_BYTES];
        self.pipe.read_exact(&mut key)?;
        Ok(Some(key))
    }

    /// Tells the other process that this one opens, once it has a snapshot: the other may not go on from then
    /// on as if this one had never been.
    ///
    /// # Errors
    /// Those of write(2): the other process has ended.
    pub fn say_opens(&mut self) -> io::Result<()> {
        self.pipe.write_all(&OPENS)
    }

    /// Tells the other process that this one serves.
    ///
    /// # Errors
    /// Those of write(2): the other process has ended.
    pub fn say_ready(mut self) -> io::Result<()> {
        self.pipe.write_all(&READY)
    }
}

/// Bytes of the key of a snapshot.
pub(super) const SNAPSHOT_KEY_BYTES: usize = 16;
/// The new process serves.
pub(super) const READY: [u8; 1] = *b"1";
/// The new process wants a snapshot.
pub(super) const ASKS: [u8; 1] = *b"S";
/// The new process is about to accept connections.
pub(super) const OPENS: [u8; 1] = *b"O";
/// There is a snapshot, whose key follows.
pub(super) const SNAPSHOT: [u8; 1] = *b"W";
/// There is none.
pub(super) const NO_SNAPSHOT: [u8; 1] = *b"N";
