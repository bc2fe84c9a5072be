//! One connection with its socket: feeds its input to the state machine and writes its output.

use std::io::{ErrorKind, Read as _};
use std::mem;
use std::rc::Rc;
use std::time::Instant;

use mio::net::TcpStream;

use super::backlog::Backlog;
use super::context::{Context, TlsStall};
use super::failure::Failure;
use super::workload::{ConnHandle, ConnKey, Workload};
use crate::system::clock;
use crate::tls::{TlsClient, TlsError, TlsSession};
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
    /// Absent on a plain connection, and until the socket is connected.
    tls: Option<Box<TlsSession>>,
    /// The slot has stopped its TLS handshake, and ignores what it receives.
    is_stalled: bool,
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
            tls: None,
            is_stalled: false,
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
        let partial_bytes = self.copy_partial(input);
        let free = &mut input[partial_bytes..];
        let bytes_max = bytes_max.min(free.len());
        match self.socket.read(&mut free[..bytes_max]) {
            Ok(0) => self.end_of_stream(),
            Ok(read_bytes) => {
                let progress =
                    self.take(&input[..partial_bytes + read_bytes], context, workload)?;
                self.flush(context)?;
                Ok(progress)
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
        if !self.is_connected() && !self.establish(context)? {
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

    /// Whether the socket is known to be connected.
    fn is_connected(&self) -> bool {
        self.connection.is_established() || self.tls.is_some()
    }

    /// Begins TLS or sends the upgrade request if the socket is connected; returns whether it is.
    fn establish(&mut self, context: &mut Context) -> Result<bool, Failure> {
        if let Some(error) = self.socket.take_error().map_err(Failure::Connect)? {
            return Err(Failure::Connect(error));
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(Failure::Connect(error)),
        }
        match context.options.target.tls.clone() {
            Some(client) => self.begin_tls(&client, context)?,
            None => self.request_upgrade(context),
        }
        Ok(true)
    }

    /// Begins the TLS handshake. The first flush sends the ClientHello.
    fn begin_tls(&mut self, client: &TlsClient, context: &mut Context) -> Result<(), Failure> {
        self.connection.await_tls();
        let mut session = Box::new(TlsSession::new(client)?);
        if let Some(stall) = context.tls_stall {
            let Context { sealed, buffer_pool, .. } = context;
            session.seal(&[], sealed).map_err(Failure::Socket)?;
            if stall == TlsStall::HalfHello {
                sealed.truncate(sealed.len() / 2);
            }
            self.is_stalled = true;
            let outcome = self.backlog.flush(sealed, buffer_pool, &mut self.socket);
            sealed.clear();
            outcome.map_err(Failure::Socket)?;
        }
        self.tls = Some(session);
        Ok(())
    }

    fn request_upgrade(&mut self, context: &mut Context) {
        let Context { options, output, request_bytes_first, held_requests, .. } = context;
        let target = &options.target;
        let own_path = self.path.take();
        let path = own_path.as_deref().unwrap_or(&target.path);
        self.connection.establish(&target.authority, path, options.seed, output);
        if let Some(first_bytes) = request_bytes_first.filter(|bytes| *bytes < output.len()) {
            held_requests.insert(self.connection.serial(), output.split_off(first_bytes));
        }
    }

    fn receive(
        &mut self,
        is_closing: bool,
        input: &mut [u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        loop {
            let partial_bytes = self.copy_partial(input);
            let free = &mut input[partial_bytes..];
            let read_bytes = match self.socket.read(free) {
                Ok(0) => return self.end_of_stream(),
                Ok(read_bytes) => read_bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Live),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Socket(error)),
            };
            let is_short = read_bytes < free.len();
            context.now = clock::now();
            let progress = self.take(&input[..partial_bytes + read_bytes], context, workload)?;
            if progress == Progress::Ended {
                return Ok(progress);
            }
            // A short read has emptied the socket, and later input causes an event of its own. Only
            // the end of the stream does not, if it is there already: this event was the last one.
            if is_short && !is_closing {
                return Ok(Progress::Live);
            }
        }
    }

    /// Copies the rest of the last input to the front of `input`, where it comes before the bytes that
    /// are read now; returns its length. With TLS, what is read has to be opened first.
    fn copy_partial(&self, input: &mut [u8]) -> usize {
        if self.tls.is_some() {
            return 0;
        }
        input[..self.partial.len()].copy_from_slice(&self.partial);
        self.partial.len()
    }

    /// Takes what was read, behind the rest of the last input unless that is sealed.
    fn take(
        &mut self,
        bytes: &[u8],
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        if self.tls.is_none() {
            return self.digest(bytes, context, workload).map(|()| Progress::Live);
        }
        if self.is_stalled {
            return Ok(Progress::Live);
        }
        let mut opened = mem::take(&mut context.opened);
        opened.extend_from_slice(&self.partial);
        let outcome = self.open_and_digest(bytes, &mut opened, context, workload);
        opened.clear();
        context.opened = opened;
        outcome
    }

    fn open_and_digest(
        &mut self,
        sealed: &[u8],
        opened: &mut Vec<u8>,
        context: &mut Context,
        workload: &mut impl Workload,
    ) -> Result<Progress, Failure> {
        let Some(tls) = &mut self.tls else { return Ok(Progress::Live) };
        let has_ended = tls.open(sealed, opened)?;
        let age = context.now.saturating_duration_since(self.began);
        if tls.has_just_opened(age, &mut context.tls_tally) {
            self.request_upgrade(context);
        }
        self.digest(opened, context, workload)?;
        if has_ended { self.end_of_stream() } else { Ok(Progress::Live) }
    }

    /// The server has ended its stream: with FIN, or in TLS with close_notify before it.
    fn end_of_stream(&self) -> Result<Progress, Failure> {
        if self.tls.is_some() && !self.connection.is_established() {
            return Err(TlsError::EndOfStream.into());
        }
        Ok(self.connection.end_of_stream().map(|()| Progress::Ended)?)
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
            tls_handshake: self.tls.as_ref().and_then(|tls| tls.handshake()),
            connection: &mut self.connection,
        }
    }

    /// Writes the output, as far as the kernel takes it.
    fn flush(&mut self, context: &mut Context) -> Result<(), Failure> {
        let Context { output, sealed, buffer_pool, .. } = context;
        if let Some(tls) = &mut self.tls {
            if self.is_stalled {
                return Ok(());
            }
            let outcome = tls
                .seal(output, sealed)
                .and_then(|()| self.backlog.flush(sealed, buffer_pool, &mut self.socket));
            output.clear();
            sealed.clear();
            return outcome.map_err(Failure::Socket);
        }
        let outcome = self.backlog.flush(output, buffer_pool, &mut self.socket);
        // After an error the rest must not go to the next connection.
        output.clear();
        outcome.map_err(Failure::Socket)
    }
}
