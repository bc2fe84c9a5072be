//! The session: a thread that waits for the input, the socket, signals and deadlines.

use std::io::{ErrorKind, Read as _};
use std::mem;
use std::os::fd::AsFd as _;

use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::ending::{Ending, ServerClose};
use super::lines::Lines;
use super::output::{Output, report};
use super::repeat::Repeat;
use super::transport::Transport;
use super::waiting::{StandardInput, Watched, wait_ready};
use crate::os::{StopSignals, SystemClock};
use crate::timer::{Clock as _, Millis};

/// An open connection.
#[derive(Debug)]
pub(super) struct Session<'t> {
    websocket: WebSocket<&'t mut Transport>,
    stage: Stage,
    clock: SystemClock,
    signals: StopSignals,
    /// `None` after the end of the input.
    input: Option<StandardInput>,
    /// Whether the input is a terminal.
    is_typed: bool,
    lines: Lines,
    repeat: Option<Repeat>,
    output: Output,
}

/// The stage of the connection. Every stage but the first has a deadline.
#[derive(Clone, Debug)]
enum Stage {
    /// Lines are read and sent.
    Open,
    /// All input is sent; messages that arrive are still printed.
    Lingering { until: Millis },
    /// The close frame is sent; the server has not answered it.
    Closing { until: Millis },
    /// Both sides have sent a close frame. The ending is known; the server must close the
    /// connection.
    Closed { until: Millis, ending: Ending },
}

impl<'t> Session<'t> {
    /// A session that starts now.
    pub(super) fn new(
        websocket: WebSocket<&'t mut Transport>,
        clock: SystemClock,
        signals: StopSignals,
        repeat: Option<Repeat>,
    ) -> Self {
        Self {
            websocket,
            stage: Stage::Open,
            clock,
            signals,
            input: Some(StandardInput),
            is_typed: StandardInput.is_terminal(),
            lines: Lines::new(LINE_BYTES_MAX),
            repeat,
            output: Output::default(),
        }
    }

    /// Runs the session until it ends.
    pub(super) fn run(mut self) -> Ending {
        let ending = self.run_turns();
        match self.output.error() {
            Some(error) => Ending::CannotPrint { why: error.to_string() },
            None => ending,
        }
    }

    fn run_turns(&mut self) -> Ending {
        // Messages may have arrived with the reply to the handshake. They are in tungstenite's
        // buffer, where poll does not see them.
        let mut turn = self.receive().and_then(|()| self.flush());
        loop {
            match turn {
                Ok(()) => turn = self.turn(),
                Err(ending) => return ending,
            }
        }
    }

    /// Runs one turn. The error is how the session ended.
    fn turn(&mut self) -> Result<(), Ending> {
        let timeout_ms = self.deadline().map(|deadline| deadline.since(self.clock.now()));
        // While the socket takes nothing, no input is read: it would have to be buffered without
        // limit.
        let takes_input = matches!(self.stage, Stage::Open) && !self.has_unsent();
        let watched = [
            Some(Watched::readable(self.signals.as_fd())),
            Some(self.websocket.get_ref().watched()),
            self.input
                .as_ref()
                .filter(|_| takes_input)
                .map(|input| Watched::readable(input.as_fd())),
        ];
        let waited = wait_ready(watched, timeout_ms);
        let [is_signalled, has_arrived, has_input] =
            waited.map_err(|error| Ending::Lost { why: format!("cannot wait: {error}") })?;
        if is_signalled {
            self.on_signal()?;
        }
        if has_arrived {
            self.receive()?;
        }
        if has_input {
            self.read_input();
        }
        self.flush()
    }

    /// When the next turn must begin even if no descriptor is ready.
    fn deadline(&self) -> Option<Millis> {
        match &self.stage {
            Stage::Open if self.has_unsent() => None,
            Stage::Open => self.repeat.as_ref().map(Repeat::next),
            Stage::Lingering { until } | Stage::Closing { until } | Stage::Closed { until, .. } => {
                Some(*until)
            }
        }
    }

    fn has_unsent(&self) -> bool {
        self.websocket.get_ref().has_blocked_write()
    }

    fn on_signal(&mut self) -> Result<(), Ending> {
        self.signals.take();
        match self.stage {
            Stage::Open | Stage::Lingering { .. } => self.start_close(),
            Stage::Closing { .. } | Stage::Closed { .. } => Err(self.end("interrupted")),
        }
    }

    /// Reads the messages that have arrived and prints them.
    fn receive(&mut self) -> Result<(), Ending> {
        self.websocket.get_mut().allow_read(TURN_BYTES_MAX);
        loop {
            match self.websocket.read() {
                Ok(Message::Text(text)) => self.output.print(&text),
                Ok(Message::Binary(bytes)) => report(&format!("binary, {} bytes", bytes.len())),
                Ok(Message::Close(frame)) => self.on_close_frame(frame),
                // tungstenite answers pings itself.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }

    fn on_close_frame(&mut self, frame: Option<CloseFrame>) {
        let (code, reason) = match frame {
            Some(frame) => (Some(u16::from(frame.code)), frame.reason.as_str().to_owned()),
            None => (None, String::new()),
        };
        let is_answer = matches!(self.stage, Stage::Closing { .. });
        let ending = match code {
            None | Some(NORMAL_CLOSURE) if is_answer => Ending::ByUs { is_answered: true },
            // Both sides closed at the same time, or the server refused the last message.
            _ => Ending::ByServer(ServerClose { code, reason }),
        };
        self.stage = Stage::Closed { until: self.clock.now().plus(CLOSE_MS), ending };
    }

    /// Reads from the input once and queues its lines.
    fn read_input(&mut self) {
        let mut buffer = [0; INPUT_BYTES];
        let Some(input) = &mut self.input else { return };
        let lines = match input.read(&mut buffer) {
            Ok(0) => {
                self.input = None;
                self.lines.finish().into_iter().collect()
            }
            Ok(count) => self.lines.push(buffer.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => {
                report(&format!("cannot read standard input: {error}"));
                self.input = None;
                return;
            }
        };
        for line in lines {
            match line {
                Ok(text) => self.enqueue(text),
                Err(bad_line) => report(&bad_line),
            }
        }
    }

    /// Queues a message. An error of the connection shows again in the flush.
    fn enqueue(&mut self, text: String) {
        let _ = self.websocket.write(Message::text(text));
    }

    /// Ends a turn: sends a due `--send`, flushes, and moves to the next stage.
    fn flush(&mut self) -> Result<(), Ending> {
        let now = self.clock.now();
        if matches!(self.stage, Stage::Open)
            && !self.has_unsent()
            && let Some(text) = self.repeat.as_mut().and_then(|repeat| repeat.take_due(now))
        {
            let text = text.to_owned();
            self.enqueue(text);
        }
        let flushed = self.websocket.flush();
        self.check_write(flushed)?;

        if self.output.error().is_some() {
            self.start_close()?;
        }
        match self.stage {
            Stage::Open if self.input.is_none() && !self.has_unsent() => {
                if self.is_typed {
                    self.start_close()?;
                } else if self.repeat.is_none() {
                    self.stage = Stage::Lingering { until: now.plus(LINGER_MS) };
                }
            }
            Stage::Lingering { until } if until <= now => self.start_close()?,
            Stage::Closing { until } | Stage::Closed { until, .. } if until <= now => {
                return Err(self.end(&format!("the server has not ended it for {CLOSE_MS} ms")));
            }
            Stage::Open
            | Stage::Lingering { .. }
            | Stage::Closing { .. }
            | Stage::Closed { .. } => {}
        }
        Ok(())
    }

    /// Sends a close frame, unless one was sent or received.
    fn start_close(&mut self) -> Result<(), Ending> {
        if !matches!(self.stage, Stage::Open | Stage::Lingering { .. }) {
            return Ok(());
        }
        self.stage = Stage::Closing { until: self.clock.now().plus(CLOSE_MS) };
        let frame = CloseFrame { code: CloseCode::from(NORMAL_CLOSURE), reason: "".into() };
        let closed = self.websocket.close(Some(frame));
        self.check_write(closed)
    }

    fn check_write(&mut self, result: Result<(), Error>) -> Result<(), Ending> {
        match result {
            Err(error) if !would_block(&error) => {
                // The server may have sent a reason before it stopped reading.
                self.receive()?;
                Err(self.fail(&error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The ending after this error. A server that violated the protocol gets a close frame.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest breaks the protocol")]
    fn fail(&mut self, error: &Error) -> Ending {
        let (code, why) = match error {
            Error::Io(error) => (None, error.to_string()),
            Error::ConnectionClosed | Error::AlreadyClosed => (None, "it has ended".to_owned()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                (None, "the server ended it without a close".to_owned())
            }
            Error::Capacity(_) => (Some(CloseCode::Size), error.to_string()),
            Error::Utf8(_) => (Some(CloseCode::Invalid), error.to_string()),
            error => (Some(CloseCode::Protocol), error.to_string()),
        };
        if let Some(code) = code {
            // The session ends whether or not the frame arrives.
            let _ = self.websocket.close(Some(CloseFrame { code, reason: "".into() }));
        }
        self.end(&why)
    }

    /// The ending now; `why` is used if there is no better reason.
    fn end(&mut self, why: &str) -> Ending {
        match mem::replace(&mut self.stage, Stage::Open) {
            Stage::Closed { ending, .. } => ending,
            Stage::Closing { .. } if !self.has_unsent() => Ending::ByUs { is_answered: false },
            Stage::Open | Stage::Lingering { .. } | Stage::Closing { .. } => {
                Ending::Lost { why: why.to_owned() }
            }
        }
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The close code of a normal closure (RFC 6455 §7.4.1).
const NORMAL_CLOSURE: u16 = 1000;
/// How long replies are awaited after the last line of a file or pipe.
const LINGER_MS: u64 = 1000;
/// How long the server may take to answer a close frame, or to close the connection after it.
const CLOSE_MS: u64 = 5000;
/// The longest line that is sent.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How much input is read at a time.
const INPUT_BYTES: usize = 64 << 10;
/// How much is received before input and signals have their turn.
const TURN_BYTES_MAX: usize = 1 << 20;
