//! The transport under the connection: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd as _;

use rustls::ClientConnection;

use super::tls;
use super::waiting::Watched;

/// A connected, non-blocking stream.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    /// `None` on a plain connection.
    tls: Option<Box<ClientConnection>>,
    /// The bytes that may be read from the socket before [`Transport::allow_read`] is called again.
    read_bytes_left: usize,
    has_blocked_write: bool,
}

impl Transport {
    /// A transport over a connected stream. It disables Nagle's algorithm (`TCP_NODELAY`, tcp(7)),
    /// which would delay short messages.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, tls: None, read_bytes_left: 0, has_blocked_write: false })
    }

    /// Has everything from now on go through a TLS session, which begins with the handshake.
    pub(super) fn start_tls(&mut self, session: ClientConnection) {
        self.tls = Some(Box::new(session));
    }

    /// Goes on with the TLS handshake; returns whether it is complete. It would block while the server
    /// has to answer.
    pub(super) fn shake_hands(&mut self) -> io::Result<()> {
        while let Some(session) = &mut self.tls {
            self.has_blocked_write = !write_records(session, &mut self.stream)?;
            if !session.is_handshaking() && !self.has_blocked_write {
                break;
            }
            if self.read_records()? == 0 {
                let error = "the server ended the connection during the TLS handshake";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, error));
            }
        }
        Ok(())
    }

    /// Allows this many bytes to be read from the socket until the next call. The limit ends a turn of
    /// the session even if the server sends without pause. What a record holds is read to its end,
    /// because poll(2) would not report it again.
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

    /// Reads records from the socket once; returns how many bytes of them, 0 at the end of the stream.
    fn read_records(&mut self) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return Ok(0) };
        let count = session.read_tls(&mut self.stream)?;
        if let Err(error) = session.process_new_packets() {
            // The alert tells the server why; the session ends whether or not it arrives.
            let _ = write_records(session, &mut self.stream);
            return Err(io::Error::new(ErrorKind::InvalidData, tls::explain(&error)));
        }
        self.has_blocked_write = !write_records(session, &mut self.stream)?;
        Ok(count)
    }

    /// Reads what the records hold.
    fn read_opened(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(session) = &mut self.tls else { return Ok(0) };
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without close_notify (RFC 8446 §6.1) the end is one all the same: the close frame
                // tells whether all has arrived.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if self.read_bytes_left == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = self.read_records()?;
            self.read_bytes_left = self.read_bytes_left.saturating_sub(count);
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.read_opened(buffer);
        }
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
        let Some(session) = &mut self.tls else {
            let result = self.stream.write(bytes);
            self.has_blocked_write =
                result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            return result;
        };
        // The session has a limit on what it keeps, and takes nothing above it.
        let count = session.writer().write(bytes)?;
        self.has_blocked_write = !write_records(session, &mut self.stream)?;
        if count == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.tls else { return self.stream.flush() };
        self.has_blocked_write = !write_records(session, &mut self.stream)?;
        if self.has_blocked_write { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

impl Drop for Transport {
    /// Tells the server that nothing follows (RFC 8446 §6.1), as far as the socket takes it.
    fn drop(&mut self) {
        if let Some(session) = &mut self.tls {
            session.send_close_notify();
            let _ = write_records(session, &mut self.stream);
        }
    }
}

/// Writes the records that the session has; returns whether the socket took all of them.
fn write_records(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
