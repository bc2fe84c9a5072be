//! What the two decoders make of a stream, in the same words.

use std::io::{self, Cursor, Read, Write};

use tidegate::ws::{Decoder, DecoderState, Event, MessageKind, Progress, Violation, parse_close};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// What a stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Binary(Vec<u8>),
    Close(Option<(u16, String)>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Text(String),
}

/// All that one of the two made of a stream: it stops at a close frame, a breach, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) said: Vec<Said>,
    pub(crate) breach: Option<Violation>,
}

/// Our reading, of a stream that arrives in pieces of these sizes.
pub(crate) fn read_ours(stream: &[u8], pieces: &[usize], message_bytes_max: usize) -> Reading {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let mut buffer = Vec::new();
    let mut said = Vec::new();
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(piece);
        loop {
            let mut decoder = Decoder::new(&mut state, &mut progress, message_bytes_max);
            let event = match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(breach) => return Reading { said, breach: Some(breach) },
            };
            said.push(match event {
                Event::Close(payload) => match parse_close(&buffer[payload]) {
                    Err(breach) => return Reading { said, breach: Some(breach) },
                    Ok(close) => {
                        let reason = close.reason.to_owned();
                        said.push(Said::Close(close.code.map(|code| (code.number(), reason))));
                        return Reading { said, breach: None };
                    }
                },
                Event::Message { kind: MessageKind::Binary, payload, .. } => {
                    Said::Binary(buffer[payload].to_vec())
                }
                Event::Message { kind: MessageKind::Text, payload, .. } => {
                    // It promises UTF-8.
                    Said::Text(str::from_utf8(&buffer[payload]).unwrap().to_owned())
                }
                Event::Ping(payload) => Said::Ping(buffer[payload].to_vec()),
                Event::Pong(payload) => Said::Pong(buffer[payload].to_vec()),
            });
        }
        let filled = buffer.len();
        let kept = progress.close_up(&mut buffer, filled);
        buffer.truncate(kept);
    }
    Reading { said, breach: None }
}

/// tungstenite's reading of the same, in our words.
pub(crate) fn read_theirs(stream: &[u8], message_bytes_max: usize) -> Reading {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let wire = Wire { incoming: Cursor::new(stream) };
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(Message::Binary(payload)) => Said::Binary(payload.to_vec()),
            Ok(Message::Text(text)) => Said::Text(text.as_str().to_owned()),
            Ok(Message::Ping(payload)) => Said::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Said::Pong(payload.to_vec()),
            Ok(Message::Frame(_)) => panic!("never comes from reading"),
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                said.push(Said::Close(close));
                return Reading { said, breach: None };
            }
            Err(error) => return Reading { said, breach: breach_of(&error) },
        });
    }
}

/// tungstenite's error in our words; `None` for the end of the stream.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other error is a fault of this test")]
fn breach_of(error: &Error) -> Option<Violation> {
    let protocol_error = match error {
        Error::Capacity(_) => return Some(Violation::MessageTooBig),
        // In the reason of a close frame too: see `is_explained`.
        Error::Utf8(_) => return Some(Violation::TextNotUtf8),
        Error::Protocol(error) => error,
        other => panic!("{other}"),
    };
    Some(match protocol_error {
        ProtocolError::ResetWithoutClosingHandshake => return None,
        ProtocolError::InvalidOpcode(_) => Violation::ReservedOpcode,
        ProtocolError::NonZeroReservedBits => Violation::ReservedBits,
        ProtocolError::UnmaskedFrameFromClient => Violation::NotMasked,
        ProtocolError::FragmentedControlFrame => Violation::ControlFragmented,
        ProtocolError::ControlFrameTooBig => Violation::ControlTooLong,
        ProtocolError::InvalidCloseSequence => Violation::CloseCodeCut,
        ProtocolError::UnexpectedContinueFrame => Violation::UnexpectedContinuation,
        ProtocolError::ExpectedFragment(_) => Violation::ExpectedContinuation,
        other => panic!("{other}"),
    })
}

/// A stream to read from; what is written (tungstenite answers pings by itself) goes nowhere.
#[derive(Debug)]
struct Wire<'s> {
    incoming: Cursor<&'s [u8]>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
