//! A connection's conversation: one thread that waits for the input, the socket, signals and time.

use std::io::{ErrorKind, Read as _};
use std::mem;
use std::os::fd::AsFd as _;

use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::ending::{Ending, ServerClose};
use super::lines::Lines;
use super::output::{Output, say};
use super::repeat::Repeat;
use super::transport::Transport;
use crate::os::{StandardInput, StopSignals, SystemClock, Watched, wait_ready};
use crate::timer::{Clock as _, Millis};

/// A conversation under way.
#[derive(Debug)]
pub(super) struct Session<'t> {
    websocket: WebSocket<&'t mut Transport>,
    stage: Stage,
    clock: SystemClock,
    signals: StopSignals,
    /// `None` once it has ended.
    input: Option<StandardInput>,
    /// Whether somebody types it.
    is_typed: bool,
    lines: Lines,
    repeat: Option<Repeat>,
    output: Output,
}

/// How far it has come. Every stage but the first has an end.
#[derive(Clone, Debug)]
enum Stage {
    /// Lines are read and sent.
    Open,
    /// Everything is sent; what arrives is still printed.
    Lingering { until: Millis },
    /// We said goodbye; the server has not yet.
    Leaving { until: Millis },
    /// Both said it, so how it ends is known; the server is to end the connection.
    Over { until: Millis, ending: Ending },
}

impl<'t> Session<'t> {
    /// A conversation that begins now.
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

    /// Talks until it ends.
    pub(super) fn run(mut self) -> Ending {
        let ending = self.talk();
        match self.output.error() {
            Some(error) => Ending::CannotPrint { why: error.to_string() },
            None => ending,
        }
    }

    fn talk(&mut self) -> Ending {
        // Messages may have come with the reply to the handshake: no socket will report those.
        let mut turn = self.receive().and_then(|()| self.flush());
        loop {
            match turn {
                Ok(()) => turn = self.turn(),
                Err(ending) => return ending,
            }
        }
    }

    /// One turn. The error is how it ended.
    fn turn(&mut self) -> Result<(), Ending> {
        let timeout_ms = self.deadline().map(|deadline| deadline.since(self.clock.now()));
        // While the server takes nothing, neither do we: what was read would have to be kept.
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
            self.obey_signal()?;
        }
        if has_arrived {
            self.receive()?;
        }
        if has_input {
            self.read_input();
        }
        self.flush()
    }

    /// When there is something to do even if nothing happens.
    fn deadline(&self) -> Option<Millis> {
        match &self.stage {
            Stage::Open if self.has_unsent() => None,
            Stage::Open => self.repeat.as_ref().map(Repeat::next),
            Stage::Lingering { until } | Stage::Leaving { until } | Stage::Over { until, .. } => {
                Some(*until)
            }
        }
    }

    fn has_unsent(&self) -> bool {
        self.websocket.get_ref().has_blocked_write()
    }

    fn obey_signal(&mut self) -> Result<(), Ending> {
        self.signals.take();
        match self.stage {
            Stage::Open | Stage::Lingering { .. } => self.leave(),
            Stage::Leaving { .. } | Stage::Over { .. } => Err(self.end("interrupted")),
        }
    }

    /// Takes what has arrived, and prints it.
    fn receive(&mut self) -> Result<(), Ending> {
        self.websocket.get_mut().allow_read(TURN_BYTES_MAX);
        loop {
            match self.websocket.read() {
                Ok(Message::Text(text)) => self.output.print(&text),
                Ok(Message::Binary(bytes)) => say(&format!("binary, {} bytes", bytes.len())),
                Ok(Message::Close(frame)) => self.hear_goodbye(frame),
                // tungstenite answers pings itself.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }

    fn hear_goodbye(&mut self, frame: Option<CloseFrame>) {
        let (code, reason) = match frame {
            Some(frame) => (Some(u16::from(frame.code)), frame.reason.as_str().to_owned()),
            None => (None, String::new()),
        };
        let is_answer = matches!(self.stage, Stage::Leaving { .. });
        let ending = match code {
            None | Some(GOODBYE) if is_answer => Ending::ByUs { is_answered: true },
            // The goodbyes crossed, or the server did not like what it got last.
            _ => Ending::ByServer(ServerClose { code, reason }),
        };
        self.stage = Stage::Over { until: self.clock.now().plus(CLOSE_MS), ending };
    }

    /// Reads once what was typed or piped, and queues the lines.
    fn read_input(&mut self) {
        let mut room = [0; INPUT_BYTES];
        let Some(input) = &mut self.input else { return };
        let lines = match input.read(&mut room) {
            Ok(0) => {
                self.input = None;
                self.lines.finish().into_iter().collect()
            }
            Ok(count) => self.lines.push(room.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => {
                say(&format!("cannot read standard input: {error}"));
                self.input = None;
                return;
            }
        };
        for line in lines {
            match line {
                Ok(text) => self.enqueue(text),
                Err(bad_line) => say(&bad_line),
            }
        }
    }

    /// Queues a message. Whatever goes wrong with the connection shows when it is flushed.
    fn enqueue(&mut self, text: String) {
        let _ = self.websocket.write(Message::text(text));
    }

    /// What is due at the end of a turn: `--send`, writing, and the next stage.
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
        self.judge_write(flushed)?;

        if self.output.error().is_some() {
            self.leave()?;
        }
        match self.stage {
            Stage::Open if self.input.is_none() && !self.has_unsent() => {
                if self.is_typed {
                    self.leave()?;
                } else if self.repeat.is_none() {
                    self.stage = Stage::Lingering { until: now.plus(LINGER_MS) };
                }
            }
            Stage::Lingering { until } if until <= now => self.leave()?,
            Stage::Leaving { until } | Stage::Over { until, .. } if until <= now => {
                return Err(self.end(&format!("the server has not ended it for {CLOSE_MS} ms")));
            }
            Stage::Open | Stage::Lingering { .. } | Stage::Leaving { .. } | Stage::Over { .. } => {}
        }
        Ok(())
    }

    /// Says goodbye, unless somebody has.
    fn leave(&mut self) -> Result<(), Ending> {
        if !matches!(self.stage, Stage::Open | Stage::Lingering { .. }) {
            return Ok(());
        }
        self.stage = Stage::Leaving { until: self.clock.now().plus(CLOSE_MS) };
        let goodbye = CloseFrame { code: CloseCode::from(GOODBYE), reason: "".into() };
        let closed = self.websocket.close(Some(goodbye));
        self.judge_write(closed)
    }

    fn judge_write(&mut self, result: Result<(), Error>) -> Result<(), Ending> {
        match result {
            Err(error) if !would_block(&error) => {
                // The server may have said why before it stopped reading.
                self.receive()?;
                Err(self.fail(&error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// How it ends after this error. A server that broke the protocol is told so.
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
            // Whether it gets through makes no difference.
            let _ = self.websocket.close(Some(CloseFrame { code, reason: "".into() }));
        }
        self.end(&why)
    }

    /// How it ends now, for this reason if for no better one.
    fn end(&mut self, why: &str) -> Ending {
        match mem::replace(&mut self.stage, Stage::Open) {
            Stage::Over { ending, .. } => ending,
            Stage::Leaving { .. } if !self.has_unsent() => Ending::ByUs { is_answered: false },
            Stage::Open | Stage::Lingering { .. } | Stage::Leaving { .. } => {
                Ending::Lost { why: why.to_owned() }
            }
        }
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The close code of somebody who is done (RFC 6455 §7.4.1).
const GOODBYE: u16 = 1000;
/// How long answers are waited for after the last line of a file or pipe.
const LINGER_MS: u64 = 1000;
/// How long the server may take to answer a goodbye, or to end the connection after it.
const CLOSE_MS: u64 = 5000;
/// The longest line that is sent.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How much input is read at once.
const INPUT_BYTES: usize = 64 << 10;
/// How much is received before the input and signals are looked at again.
const TURN_BYTES_MAX: usize = 1 << 20;
