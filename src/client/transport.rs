//! The transport under the connection: TCP. TLS would be added here and nowhere else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd as _;

use thiserror::Error;

use super::url::Scheme;
use super::waiting::Watched;

/// A connected, non-blocking stream.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    /// The bytes that may be read before [`Transport::allow_read`] is called again.
    read_bytes_left: usize,
    has_blocked_write: bool,
}

/// The client has no transport for `wss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "wss:// is not supported yet: this client speaks no TLS. Use ws://, if need be to a proxy \
     that speaks TLS for it"
)]
pub(super) struct NoTls;

impl Transport {
    /// Checks that there is a transport for URLs of this scheme.
    pub(super) fn check(scheme: Scheme) -> Result<(), NoTls> {
        match scheme {
            Scheme::Plain => Ok(()),
            Scheme::Secure => Err(NoTls),
        }
    }

    /// A transport over a connected stream. It disables Nagle's algorithm (`TCP_NODELAY`, tcp(7)),
    /// which would delay short messages.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read_bytes_left: 0, has_blocked_write: false })
    }

    /// Allows this many bytes to be read until the next call. The limit ends a turn of the session
    /// even if the server sends without pause.
    pub(super) fn allow_read(&mut self, bytes: usize) {
        self.read_bytes_left = bytes;
    }

    /// Whether the last write found the socket full.
    pub(super) fn has_blocked_write(&self) -> bool {
        self.has_blocked_write
    }

    /// The readiness to wait for before the next read or write.
    pub(super) fn watched(&self) -> Watched<'_> {
        Watched::readable(self.stream.as_fd()).or_writable(self.has_blocked_write)
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = buffer.len().min(self.read_bytes_left);
        let Some(buffer) = buffer.get_mut(..allowed).filter(|buffer| !buffer.is_empty()) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let count = self.stream.read(buffer)?;
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
