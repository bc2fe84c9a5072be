//! What carries the bytes of a connection: TCP. TLS would be added here, and nowhere else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd as _;

use thiserror::Error;

use super::url::Scheme;
use crate::os::Watched;

/// A connected stream that never blocks.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    /// What may still be read before [`Transport::allow_read`] is called again.
    read_bytes_left: usize,
    has_blocked_write: bool,
}

/// Why a URL cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "wss:// is not supported yet: this client speaks no TLS. Use ws://, if need be to a proxy \
     that speaks TLS for it"
)]
pub(super) struct NoTls;

impl Transport {
    /// Whether there is a transport for URLs of this scheme.
    pub(super) fn check(scheme: Scheme) -> Result<(), NoTls> {
        match scheme {
            Scheme::Plain => Ok(()),
            Scheme::Secure => Err(NoTls),
        }
    }

    /// Messages are small and somebody waits for each: no delay to join them into segments.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read_bytes_left: 0, has_blocked_write: false })
    }

    /// Lets this many bytes be read until the next call. So nobody who sends without end can keep
    /// a turn of the client from ending.
    pub(super) fn allow_read(&mut self, bytes: usize) {
        self.read_bytes_left = bytes;
    }

    /// Whether bytes wait for room to be written.
    pub(super) fn has_blocked_write(&self) -> bool {
        self.has_blocked_write
    }

    /// What to wait for before the next try.
    pub(super) fn watched(&self) -> Watched<'_> {
        Watched::readable(self.stream.as_fd()).or_writable(self.has_blocked_write)
    }
}

impl Read for Transport {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let allowed = room.len().min(self.read_bytes_left);
        let Some(room) = room.get_mut(..allowed).filter(|room| !room.is_empty()) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let count = self.stream.read(room)?;
        self.read_bytes_left -= count;
        Ok(count)
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        self.has_blocked_write =
            result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
