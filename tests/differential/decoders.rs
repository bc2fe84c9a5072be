//! The two decoders, with their results in the same types.

use std::io::{self, Cursor, Read, Write};

use tidegate::ws::{Decoder, DecoderState, Event, MessageKind, Progress, Violation, parse_close};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// One decoded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Binary(Vec<u8>),
    Close(Option<(u16, String)>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Text(String),
}

/// The events of a stream, up to a close frame, a violation, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Decoded>,
    pub(crate) violation: Option<Violation>,
}

/// Decodes with [`Decoder`] a stream that arrives in chunks of these sizes.
pub(crate) fn decode_ours(stream: &[u8], pieces: &[usize], message_bytes_max: usize) -> Outcome {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let mut buffer = Vec::new();
    let mut events = Vec::new();
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
                Err(violation) => return Outcome { events, violation: Some(violation) },
            };
            events.push(match event {
                Event::Close(payload) => match parse_close(&buffer[payload]) {
                    Err(violation) => return Outcome { events, violation: Some(violation) },
                    Ok(close) => {
                        let reason = close.reason.to_owned();
                        events.push(Decoded::Close(close.code.map(|code| (code.number(), reason))));
                        return Outcome { events, violation: None };
                    }
                },
                Event::Message { kind: MessageKind::Binary, payload, .. } => {
                    Decoded::Binary(buffer[payload].to_vec())
                }
                Event::Message { kind: MessageKind::Text, payload, .. } => {
                    // The decoder has validated it.
                    Decoded::Text(str::from_utf8(&buffer[payload]).unwrap().to_owned())
                }
                Event::Ping(payload) => Decoded::Ping(buffer[payload].to_vec()),
                Event::Pong(payload) => Decoded::Pong(buffer[payload].to_vec()),
            });
        }
        let filled = buffer.len();
        let kept = progress.close_up(&mut buffer, filled);
        buffer.truncate(kept);
    }
    Outcome { events, violation: None }
}

/// Decodes the same stream with tungstenite.
pub(crate) fn decode_theirs(stream: &[u8], message_bytes_max: usize) -> Outcome {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let wire = Wire { incoming: Cursor::new(stream) };
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Binary(payload)) => Decoded::Binary(payload.to_vec()),
            Ok(Message::Text(text)) => Decoded::Text(text.as_str().to_owned()),
            Ok(Message::Ping(payload)) => Decoded::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Decoded::Pong(payload.to_vec()),
            Ok(Message::Frame(_)) => panic!("never comes from reading"),
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                events.push(Decoded::Close(close));
                return Outcome { events, violation: None };
            }
            Err(error) => return Outcome { events, violation: violation_of(&error) },
        });
    }
}

/// tungstenite's error as a [`Violation`]; `None` for the end of the stream.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other error is a fault of this test")]
fn violation_of(error: &Error) -> Option<Violation> {
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

/// A stream to read from; what tungstenite writes, such as pongs, is discarded.
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
