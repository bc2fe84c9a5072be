//! One connection with its socket: reads into its state machine, writes what that says.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem;
use std::time::Instant;

use mio::net::TcpStream;

use super::{ConnKey, DriverOptions, Workload};
use crate::client::{Awaited, Connection, Failure, Outgoing};
use crate::random::Random;

/// A connection as a command may act on it.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    connection: &'a mut Connection,
    outgoing: Outgoing<'a>,
    deadline: Instant,
}

impl Peer<'_> {
    /// Unique in the run, counted from 0.
    pub(crate) fn serial(&self) -> u64 {
        self.connection.serial()
    }

    /// Sends a text message; data is due in return.
    pub(crate) fn text(&mut self, text: &str) {
        self.connection.text(text, self.deadline, &mut self.outgoing);
    }

    /// Sends a ping; a pong is due in return.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.connection.ping(payload, self.deadline, &mut self.outgoing);
    }

    /// Starts the closing handshake; the server's Close and the end of the stream are due.
    pub(crate) fn close(&mut self) {
        self.connection.close(self.deadline, &mut self.outgoing);
    }
}

/// What connections share while they are served, one at a time.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: DriverOptions,
    pub(super) random: Random,
    pub(super) now: Instant,
    /// What the connection being served wrote; empty between two of them.
    pub(super) output: Vec<u8>,
}

impl Context {
    fn outgoing(&mut self) -> Outgoing<'_> {
        Outgoing { bytes: &mut self.output, random: &mut self.random }
    }

    fn peer<'a>(&'a mut self, connection: &'a mut Connection) -> Peer<'a> {
        let deadline = self.now + self.options.answer_max;
        Peer { connection, outgoing: self.outgoing(), deadline }
    }
}

/// Whether a connection goes on or came to its proper end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Ended,
    Live,
}

/// A connection, its socket, and what could not be dealt with yet.
#[derive(Debug)]
pub(super) struct Slot {
    connection: Connection,
    socket: TcpStream,
    /// Input that is not a whole frame yet; owns no memory while there is none.
    carry: Vec<u8>,
    /// Output that the kernel did not take yet; owns no memory while there is none.
    unsent: Vec<u8>,
    pub(super) has_ended: bool,
}

impl Slot {
    pub(super) fn new(serial: u64, deadline: Instant, socket: TcpStream) -> Self {
        let connection = Connection::new(serial, deadline);
        Self { connection, socket, carry: Vec::new(), unsent: Vec::new(), has_ended: false }
    }

    pub(super) fn key(&self, index: usize) -> ConnKey {
        ConnKey { index, serial: self.connection.serial() }
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.connection.is_awaiting()
    }

    pub(super) fn overdue(&self, now: Instant) -> Option<Awaited> {
        self.connection.overdue(now)
    }

    /// Lets a command write.
    pub(super) fn act(
        &mut self,
        context: &mut Context,
        action: impl FnOnce(&mut Peer<'_>),
    ) -> Result<Progress, Failure> {
        action(&mut context.peer(&mut self.connection));
        self.flush(&mut context.output)?;
        Ok(Progress::Live)
    }

    /// The socket became ready.
    pub(super) fn on_ready(
        &mut self,
        event: &mio::event::Event,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        if !self.connection.is_established() && !self.establish(context)? {
            return Ok(Progress::Live);
        }
        let received = if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.receive(event.is_read_closed(), input, context, workload)
        } else {
            Ok(Progress::Live)
        };
        // Even a connection that failed may have something to say: the answer to a Close.
        let flushed = self.flush(&mut context.output);
        let progress = received?;
        flushed?;
        Ok(progress)
    }

    /// Asks for the upgrade once the socket is connected; tells whether it is.
    fn establish(&mut self, context: &mut Context) -> Result<bool, Failure> {
        if let Some(error) = self.socket.take_error().map_err(Failure::Connect)? {
            return Err(Failure::Connect(error));
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(Failure::Connect(error)),
        }
        let Context { options, output, .. } = context;
        let target = &options.target;
        self.connection.establish(&target.authority, &target.path, options.seed, output);
        Ok(true)
    }

    fn receive(
        &mut self,
        is_closing: bool,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        loop {
            let read_bytes = match self.socket.read(input) {
                Ok(0) => return self.connection.end_of_stream().map(|()| Progress::Ended),
                Ok(read_bytes) => read_bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Live),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Socket(error)),
            };
            self.digest(&input[..read_bytes], context, workload)?;
            // A short read has emptied the socket, and what comes later gives an event of its
            // own, unless the end of the stream is there already: then this event was the last.
            if read_bytes < input.len() && !is_closing {
                return Ok(Progress::Live);
            }
        }
    }

    /// Feeds the state machine, from the read buffer itself unless something was left over.
    fn digest(
        &mut self,
        bytes: &[u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<(), Failure> {
        if self.carry.is_empty() {
            let rest = self.deliver(bytes, context, workload)?;
            self.carry.extend_from_slice(rest);
            return Ok(());
        }
        let mut carry = mem::take(&mut self.carry);
        carry.extend_from_slice(bytes);
        let rest_bytes = self.deliver(&carry, context, workload)?.len();
        if rest_bytes > 0 {
            carry.drain(..carry.len() - rest_bytes);
            self.carry = carry;
        }
        Ok(())
    }

    /// Hands all whole events to the command; returns what is left.
    fn deliver<'a>(
        &mut self,
        mut bytes: &'a [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<&'a [u8], Failure> {
        let seed = context.options.seed;
        loop {
            let mut outgoing = context.outgoing();
            let Some(event) = self.connection.next_event(&mut bytes, seed, &mut outgoing)? else {
                return Ok(bytes);
            };
            workload.on_event(&mut context.peer(&mut self.connection), event)?;
        }
    }

    /// Writes what the connection has to say, as far as the kernel takes it.
    fn flush(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        let outcome = if self.unsent.is_empty() {
            let written = write_some(&mut self.socket, output);
            written.map(|written_bytes| self.unsent.extend_from_slice(&output[written_bytes..]))
        } else {
            self.unsent.extend_from_slice(output);
            let written = write_some(&mut self.socket, &self.unsent);
            written.map(|written_bytes| {
                self.unsent.drain(..written_bytes);
                if self.unsent.is_empty() {
                    self.unsent = Vec::new();
                }
            })
        };
        output.clear();
        outcome.map_err(Failure::Socket)
    }
}

/// Writes until everything is written or the kernel takes no more; returns the bytes it took.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written_bytes = 0;
    while written_bytes < bytes.len() {
        match socket.write(&bytes[written_bytes..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(more_bytes) => written_bytes += more_bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written_bytes)
}
