//! One connection with its socket: feeds its input to the state machine and writes its output.

use std::io::{ErrorKind, Read as _};
use std::rc::Rc;
use std::time::Instant;

use mio::net::TcpStream;

use super::backlog::Backlog;
use super::context::Context;
use super::failure::Failure;
use super::workload::{ConnHandle, ConnKey, Workload};
use crate::system::clock;
use crate::websocket::{Awaited, Chunk, Connection, Event, Outgoing, ProtocolError};

/// Whether a connection is alive or has ended with a complete closing handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Ended,
    Live,
}

/// A connection with its socket, its incomplete input and its backlog.
#[derive(Debug)]
pub(super) struct Slot {
    connection: Connection,
    socket: TcpStream,
    began: Instant,
    /// The path of the upgrade request until that is sent, if it is not the path of the target.
    path: Option<Rc<str>>,
    /// The front of a response head, of a frame header or of a control frame whose rest has not
    /// arrived. It owns no memory while there is none.
    partial: Vec<u8>,
    backlog: Backlog,
    /// The slot does not read.
    is_paused: bool,
    pub(super) has_ended: bool,
}

impl Slot {
    pub(super) fn new(
        connection: Connection,
        began: Instant,
        path: Option<Rc<str>>,
        socket: TcpStream,
    ) -> Self {
        Self {
            connection,
            socket,
            began,
            path,
            partial: Vec::new(),
            backlog: Backlog::default(),
            is_paused: false,
            has_ended: false,
        }
    }

    pub(super) fn key(&self, index: usize) -> ConnKey {
        ConnKey { index, serial: self.connection.serial() }
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.connection.is_awaiting()
    }

    /// When the answer that the server owes is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connection.deadline().filter(|_| !self.is_paused)
    }

    /// The answer that is overdue. A paused connection has none: it does not read the answers.
    pub(super) fn overdue(&self, now: Instant) -> Option<Awaited> {
        self.connection.overdue(now).filter(|_| !self.is_paused)
    }

    /// Stops reading.
    pub(super) fn pause_reading(&mut self) {
        self.is_paused = true;
    }

    /// Reads again, at once: the poll reported the input of the meantime when it arrived, and does
    /// not report it again.
    pub(super) fn resume_reading(
        &mut self,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        self.is_paused = false;
        self.connection.extend(context.now + context.options.answer_max);
        self.read_and_flush(true, input, context, workload)
    }

    /// Reads once, at most `bytes_max`, although the slot does not read by itself.
    pub(super) fn read_some(
        &mut self,
        bytes_max: usize,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        let partial_bytes = self.partial.len();
        input[..partial_bytes].copy_from_slice(&self.partial);
        let free = &mut input[partial_bytes..];
        let bytes_max = bytes_max.min(free.len());
        match self.socket.read(&mut free[..bytes_max]) {
            Ok(0) => Ok(self.connection.end_of_stream().map(|()| Progress::Ended)?),
            Ok(read_bytes) => {
                self.digest(&input[..partial_bytes + read_bytes], context, workload)?;
                self.flush(context)?;
                Ok(Progress::Live)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(Progress::Live)
            }
            Err(error) => Err(Failure::Socket(error)),
        }
    }

    /// Calls `action`, then writes its output.
    pub(super) fn act(
        &mut self,
        context: &mut Context,
        action: impl FnOnce(&mut ConnHandle<'_>),
    ) -> Result<Progress, Failure> {
        action(&mut self.handle(context));
        self.flush(context)?;
        Ok(Progress::Live)
    }

    /// Handles an event of the socket.
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
        let has_input = event.is_readable() || event.is_read_closed() || event.is_error();
        if has_input && !self.is_paused {
            return self.read_and_flush(event.is_read_closed(), input, context, workload);
        }
        self.flush(context)?;
        Ok(Progress::Live)
    }

    fn read_and_flush(
        &mut self,
        is_closing: bool,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        let received = self.receive(is_closing, input, context, workload);
        // Also after a failure: the answer to a Close may be waiting.
        let flushed = self.flush(context);
        let progress = received?;
        flushed?;
        Ok(progress)
    }

    /// Sends the upgrade request if the socket is connected; returns whether it is.
    fn establish(&mut self, context: &mut Context) -> Result<bool, Failure> {
        if let Some(error) = self.socket.take_error().map_err(Failure::Connect)? {
            return Err(Failure::Connect(error));
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(Failure::Connect(error)),
        }
        let Context { options, output, request_bytes_first, held_requests, .. } = context;
        let target = &options.target;
        let own_path = self.path.take();
        let path = own_path.as_deref().unwrap_or(&target.path);
        self.connection.establish(&target.authority, path, options.seed, output);
        if let Some(first_bytes) = request_bytes_first.filter(|bytes| *bytes < output.len()) {
            held_requests.insert(self.connection.serial(), output.split_off(first_bytes));
        }
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
            // The rest of the last read comes before the bytes that are read now.
            let partial_bytes = self.partial.len();
            input[..partial_bytes].copy_from_slice(&self.partial);
            let free = &mut input[partial_bytes..];
            let read_bytes = match self.socket.read(free) {
                Ok(0) => return Ok(self.connection.end_of_stream().map(|()| Progress::Ended)?),
                Ok(read_bytes) => read_bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Live),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Socket(error)),
            };
            let is_short = read_bytes < free.len();
            context.now = clock::now();
            self.digest(&input[..partial_bytes + read_bytes], context, workload)?;
            // A short read has emptied the socket, and later input causes an event of its own. Only
            // the end of the stream does not, if it is there already: this event was the last one.
            if is_short && !is_closing {
                return Ok(Progress::Live);
            }
        }
    }

    /// Hands all complete events to the workload and keeps the rest of the input.
    fn digest(
        &mut self,
        mut bytes: &[u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<(), Failure> {
        let seed = context.options.seed;
        while let Some(event) =
            self.connection.next_event(&mut bytes, seed, &mut context.outgoing())?
        {
            match event {
                Event::Data(chunk) if chunk.is_compressed && !context.leaves_compressed => {
                    let message =
                        context.inflater.inflate(chunk.payload).map_err(ProtocolError::from)?;
                    let whole = Chunk { payload: &message, ..chunk };
                    workload.on_event(&mut self.handle(context), Event::Data(whole))?;
                }
                Event::Data(_) | Event::Opened | Event::Ping | Event::Pong { .. } => {
                    workload.on_event(&mut self.handle(context), event)?;
                }
            }
        }
        if bytes.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn handle<'a>(&'a mut self, context: &'a mut Context) -> ConnHandle<'a> {
        let Context { options, random, now, output, held_requests, .. } = context;
        let deadline = *now + options.answer_max;
        ConnHandle {
            now: *now,
            outgoing: Outgoing { bytes: output, random, deadline },
            held_requests,
            began: self.began,
            has_backlog: !self.backlog.is_empty(),
            connection: &mut self.connection,
        }
    }

    /// Writes the output, as far as the kernel takes it.
    fn flush(&mut self, context: &mut Context) -> Result<(), Failure> {
        let Context { output, buffer_pool, .. } = context;
        let outcome = self.backlog.flush(output, buffer_pool, &mut self.socket);
        // After an error the rest must not go to the next connection.
        output.clear();
        outcome.map_err(Failure::Socket)
    }
}
