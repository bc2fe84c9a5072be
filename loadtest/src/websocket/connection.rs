//! One client connection as a state machine over bytes.
//!
//! ```text
//!  Connecting ──established──► Handshaking ──101──► Open ──close()──► Closing
//!                                                    │                  │ server's Close
//!                                  server's Close:   ▼                  ▼
//!                                  answered, failed ─┘               Closed ──end of stream──► done
//! ```

use std::time::Instant;

use super::error::{Awaited, ProtocolError};
use super::frame::{FrameError, FrameHeader, Opcode, encode_frame, parse_header};
use super::handshake::{Key, Offer, encode_request, verify_response};
use super::incoming::{Chunk, DataKind, Incoming};
use crate::random::Random;

/// An action of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A chunk of a message, as it arrived.
    Data(Chunk<'a>),
    /// The connection is open: the 101 response was verified.
    Opened,
    /// A ping. The connection has answered it already.
    Ping,
    /// A pong, awaited or unsolicited (§5.5.3).
    Pong { is_awaited: bool, payload: &'a [u8] },
}

/// The output of a connection, the source of its mask keys, and the deadline of the server for what
/// is requested now.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) random: &'a mut Random,
    pub(crate) deadline: Instant,
}

impl Outgoing<'_> {
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        encode_frame(opcode, payload, self.random.mask_key(), self.bytes);
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    serial: u64,
    phase: Phase,
    due: Option<Due>,
    /// Messages of this side that the server has not echoed yet.
    echoes_owed: u32,
    incoming: Incoming,
    /// The handshake fails unless the server agrees.
    offer: Offer,
}

impl Connection {
    /// A connection whose socket is connecting. `serial` is unique in the run; `deadline` covers
    /// the TCP connection and the handshake.
    pub(crate) fn new(serial: u64, deadline: Instant) -> Self {
        let due = Some(Due { awaited: Awaited::TcpConnection, deadline });
        let incoming = Incoming::default();
        let phase = Phase::Connecting;
        Self { serial, phase, due, echoes_owed: 0, incoming, offer: Offer::default() }
    }

    /// Sets what the connection offers.
    pub(crate) fn offering(self, offer: Offer) -> Self {
        Self { offer, ..self }
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether the server owes an answer.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.due.is_some()
    }

    /// The time by which the server owes its answer, if it owes one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.map(|due| due.deadline)
    }

    /// The answer that the server has not given by its deadline.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Awaited> {
        self.due.filter(|due| due.deadline <= now).map(|due| due.awaited)
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the socket is connected, with TLS if that is wanted.
    pub(crate) fn is_established(&self) -> bool {
        self.phase != Phase::Connecting
    }

    /// The TCP connection is there, and TLS comes before the upgrade. The deadline of the connection
    /// covers that too.
    pub(crate) fn await_tls(&mut self) {
        self.now_await(Awaited::TlsHandshake);
    }

    /// Appends the upgrade request, once the socket is connected. The deadline of the connection
    /// covers the response too.
    pub(crate) fn establish(&mut self, authority: &str, path: &str, seed: u64, out: &mut Vec<u8>) {
        debug_assert_eq!(self.phase, Phase::Connecting, "a socket connects once");
        self.phase = Phase::Handshaking;
        self.now_await(Awaited::Handshake);
        let key = Key::derive(seed, self.serial);
        encode_request(authority, path, &key, self.offer, out);
    }

    /// Takes the next event from the front of `input`, or `None` when it needs more bytes. Answers
    /// pings and a server's Close.
    pub(crate) fn next_event<'a>(
        &mut self,
        input: &mut &'a [u8],
        seed: u64,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            match self.phase {
                Phase::Connecting => return Ok(None),
                Phase::Handshaking => {
                    let key = Key::derive(seed, self.serial);
                    let Some(head_bytes) = verify_response(input, &key, self.offer)? else {
                        return Ok(None);
                    };
                    *input = &input[head_bytes..];
                    self.phase = Phase::Open;
                    self.due = None;
                    return Ok(Some(Event::Opened));
                }
                Phase::Open | Phase::Closing => {
                    if let Some(chunk) = self.incoming.next_chunk(input) {
                        return Ok(Some(self.take_chunk(chunk, outgoing.deadline)));
                    }
                    let Some((header, header_bytes)) = parse_header(input, self.offer.deflate)?
                    else {
                        return Ok(None);
                    };
                    if header.opcode.is_control() {
                        let frame_bytes = header_bytes + header.payload_bytes;
                        let Some(payload) = input.get(header_bytes..frame_bytes) else {
                            return Ok(None);
                        };
                        *input = &input[frame_bytes..];
                        if let Some(event) = self.take_control(header, payload, outgoing)? {
                            return Ok(Some(event));
                        }
                    } else if header.is_compressed {
                        let Some(chunk) = compressed_chunk(header, header_bytes, input)? else {
                            return Ok(None);
                        };
                        return Ok(Some(self.take_chunk(chunk, outgoing.deadline)));
                    } else {
                        *input = &input[header_bytes..];
                        self.incoming.begin(header)?;
                    }
                }
                Phase::Closed if input.is_empty() => return Ok(None),
                Phase::Closed => return Err(ProtocolError::BytesAfterClose),
            }
        }
    }

    /// The server has ended its side of the stream, which is an error before both Close frames.
    pub(crate) fn end_of_stream(&self) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::Closed => Ok(()),
            Phase::Closing | Phase::Connecting | Phase::Handshaking | Phase::Open => {
                Err(ProtocolError::EndOfStream)
            }
        }
    }

    /// Sends a text message and expects data in return. Like the requests below, it does nothing
    /// unless the connection is open: the server may have closed it in the meantime.
    pub(crate) fn send_text(&mut self, text: &str, outgoing: &mut Outgoing<'_>) {
        if self.owes_echo(outgoing.deadline) {
            outgoing.frame(Opcode::Text, text.as_bytes());
        }
    }

    /// Sends a text message and expects no answer.
    pub(crate) fn send_text_one_way(&self, text: &str, outgoing: &mut Outgoing<'_>) {
        if self.phase == Phase::Open {
            outgoing.frame(Opcode::Text, text.as_bytes());
        }
    }

    /// As [`send_text`](Self::send_text), a binary message.
    pub(crate) fn send_binary(&mut self, payload: &[u8], outgoing: &mut Outgoing<'_>) {
        if self.owes_echo(outgoing.deadline) {
            outgoing.frame(Opcode::Binary, payload);
        }
    }

    /// As [`send_text_one_way`](Self::send_text_one_way), a binary message.
    pub(crate) fn send_binary_one_way(&self, payload: &[u8], outgoing: &mut Outgoing<'_>) {
        if self.phase == Phase::Open {
            outgoing.frame(Opcode::Binary, payload);
        }
    }

    /// Sends a whole frame that `append` writes, and expects data in return.
    pub(crate) fn send_message(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        append: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.owes_echo(outgoing.deadline) {
            append(outgoing.bytes);
        }
    }

    /// Sends a whole frame that `append` writes, and expects no answer.
    pub(crate) fn send_one_way(
        &self,
        outgoing: &mut Outgoing<'_>,
        append: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.phase == Phase::Open {
            append(outgoing.bytes);
        }
    }

    /// Sends a ping and expects a pong in return.
    pub(crate) fn ping(&mut self, payload: &[u8], outgoing: &mut Outgoing<'_>) {
        if self.phase == Phase::Open {
            self.due = Some(Due { awaited: Awaited::Pong, deadline: outgoing.deadline });
            outgoing.frame(Opcode::Ping, payload);
        }
    }

    /// Starts the closing handshake with code 1000 and expects the server's Close, then the end of
    /// the stream.
    pub(crate) fn close(&mut self, outgoing: &mut Outgoing<'_>) {
        if self.phase == Phase::Open {
            self.due = Some(Due { awaited: Awaited::Close, deadline: outgoing.deadline });
            outgoing.frame(Opcode::Close, &CLOSE_NORMAL.to_be_bytes());
            self.phase = Phase::Closing;
        }
    }

    /// Gives the server until `deadline` for the answer that it owes.
    pub(crate) fn extend(&mut self, deadline: Instant) {
        if let Some(due) = &mut self.due {
            due.deadline = deadline;
        }
    }

    /// Counts one more message that the server has to echo, if the connection is open; returns
    /// whether it is.
    fn owes_echo(&mut self, deadline: Instant) -> bool {
        let is_open = self.phase == Phase::Open;
        if is_open {
            self.echoes_owed += 1;
            // The oldest message without an echo is the first that can be overdue.
            self.due.get_or_insert(Due { awaited: Awaited::Echo, deadline });
        }
        is_open
    }

    fn take_chunk<'a>(&mut self, chunk: Chunk<'a>, deadline: Instant) -> Event<'a> {
        if chunk.is_end {
            self.echoes_owed = self.echoes_owed.saturating_sub(1);
            if self.clear_due(Awaited::Echo) && self.echoes_owed > 0 {
                self.due = Some(Due { awaited: Awaited::Echo, deadline });
            }
        }
        Event::Data(chunk)
    }

    fn take_control<'a>(
        &mut self,
        header: FrameHeader,
        payload: &'a [u8],
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if header.opcode == Opcode::Close {
            return self.take_close(payload, outgoing).map(|()| None);
        }
        if header.opcode == Opcode::Pong {
            let is_awaited = self.clear_due(Awaited::Pong);
            return Ok(Some(Event::Pong { is_awaited, payload }));
        }
        // §5.5.1: no frame may follow our Close, not even a pong.
        if self.phase == Phase::Open {
            outgoing.frame(Opcode::Pong, payload);
        }
        Ok(Some(Event::Ping))
    }

    fn take_close(
        &mut self,
        payload: &[u8],
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), ProtocolError> {
        let (code, reason) = match payload {
            [] => (None, payload),
            [_] => return Err(FrameError::HalfCloseCode.into()),
            [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        };
        // §5.5.1: an answering Close typically echoes the code; an empty one is allowed.
        if self.phase == Phase::Closing && matches!(code, None | Some(CLOSE_NORMAL)) {
            self.phase = Phase::Closed;
            self.now_await(Awaited::EndOfStream);
            return Ok(());
        }
        if self.phase == Phase::Open {
            outgoing.frame(Opcode::Close, payload);
        }
        self.phase = Phase::Closed;
        let reason = String::from_utf8_lossy(reason).into_owned();
        Err(ProtocolError::ClosedByServer { code, reason })
    }

    /// Clears the deadline of an answer that arrived; returns whether that answer was awaited.
    fn clear_due(&mut self, awaited: Awaited) -> bool {
        self.due.take_if(|due| due.awaited == awaited).is_some()
    }

    /// Names the next of several steps that share one deadline.
    fn now_await(&mut self, awaited: Awaited) {
        if let Some(due) = &mut self.due {
            due.awaited = awaited;
        }
    }
}

/// A whole compressed message, or `None` while a part of it is missing.
fn compressed_chunk<'a>(
    header: FrameHeader,
    header_bytes: usize,
    input: &mut &'a [u8],
) -> Result<Option<Chunk<'a>>, FrameError> {
    if !header.fin || header.payload_bytes > COMPRESSED_BYTES_MAX {
        return Err(FrameError::Compressed);
    }
    let frame_bytes = header_bytes + header.payload_bytes;
    let Some(payload) = input.get(header_bytes..frame_bytes) else { return Ok(None) };
    *input = &input[frame_bytes..];
    let kind = if header.opcode == Opcode::Text { DataKind::Text } else { DataKind::Binary };
    Ok(Some(Chunk { kind, offset: 0, payload, is_end: true, is_compressed: true }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshaking,
    Open,
    /// Our Close is sent, the server's is awaited.
    Closing,
    /// Both Close frames were exchanged; the server ends the stream (§7.1.1).
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    awaited: Awaited,
    deadline: Instant,
}

const CLOSE_NORMAL: u16 = 1000;
/// A compressed message is buffered until it is whole; a longer one is an error.
const COMPRESSED_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tungstenite::handshake::derive_accept_key;

    use super::*;
    use crate::system::clock;

    const SEED: u64 = 5;

    /// A connection with its output.
    struct Harness {
        connection: Connection,
        written: Vec<u8>,
        random: Random,
        deadline: Instant,
    }

    impl Harness {
        fn open() -> Self {
            let deadline = clock::now() + Duration::from_secs(10);
            let mut harness = Self {
                connection: Connection::new(1, deadline),
                written: Vec::new(),
                random: Random::new(SEED),
                deadline,
            };
            harness.connection.establish("localhost", "/", SEED, &mut harness.written);
            let request = String::from_utf8(std::mem::take(&mut harness.written)).unwrap();
            let key = request.split("Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let answer = format!(
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            );
            assert_eq!(harness.next(&mut answer.as_bytes()).unwrap(), Some(Event::Opened));
            assert!(!harness.connection.is_awaiting());
            harness
        }

        fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
            self.with(|connection, outgoing| connection.next_event(input, SEED, outgoing))
        }

        fn close(&mut self) {
            self.with(Connection::close);
            self.written.clear();
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut Connection, &mut Outgoing<'_>) -> T) -> T {
            let Self { connection, written: bytes, random, deadline } = self;
            act(connection, &mut Outgoing { bytes, random, deadline: *deadline })
        }
    }

    #[test]
    fn pings_are_answered_with_their_payload() {
        let mut harness = Harness::open();
        assert_eq!(harness.next(&mut &b"\x89\x02hi"[..]).unwrap(), Some(Event::Ping));
        let mut expected = Vec::new();
        let mask_key = Random::new(SEED).mask_key();
        encode_frame(Opcode::Pong, b"hi", mask_key, &mut expected);
        assert_eq!(harness.written, expected);
    }

    #[test]
    fn no_frame_follows_our_close() {
        let mut harness = Harness::open();
        harness.close();
        assert_eq!(harness.next(&mut &b"\x89\x02hi"[..]).unwrap(), Some(Event::Ping));
        assert!(harness.written.is_empty());
    }

    #[test]
    fn a_complete_close_is_both_close_frames_and_the_end_of_stream() {
        let mut harness = Harness::open();
        assert!(matches!(harness.connection.end_of_stream(), Err(ProtocolError::EndOfStream)));
        harness.close();
        assert!(matches!(harness.connection.end_of_stream(), Err(ProtocolError::EndOfStream)));
        assert_eq!(harness.next(&mut &b"\x88\x02\x03\xe8"[..]).unwrap(), None);
        assert_eq!(harness.connection.overdue(harness.deadline), Some(Awaited::EndOfStream));
        assert!(harness.connection.end_of_stream().is_ok());
        assert!(matches!(harness.next(&mut &b"\x81\x00"[..]), Err(ProtocolError::BytesAfterClose)));
    }

    #[test]
    fn an_unexpected_close_is_answered_and_reported() {
        let mut harness = Harness::open();
        let failure = harness.next(&mut &b"\x88\x04\x03\xe9by"[..]).unwrap_err();
        assert_eq!(failure.to_string(), "the server closed the connection: code 1001, \"by\"");
        assert_eq!(harness.written.first(), Some(&0x88));
    }

    #[test]
    fn only_the_awaited_answer_clears_the_deadline() {
        let mut harness = Harness::open();
        harness.with(|connection, outgoing| connection.ping(b"1", outgoing));
        assert!(harness.next(&mut &b"\x81\x01x"[..]).unwrap().is_some());
        assert_eq!(harness.connection.overdue(harness.deadline), Some(Awaited::Pong));
        for is_awaited in [true, false] {
            let pong = harness.next(&mut &b"\x8a\x011"[..]).unwrap();
            assert_eq!(pong, Some(Event::Pong { is_awaited, payload: b"1" }));
        }
        assert!(!harness.connection.is_awaiting());
    }

    #[test]
    fn every_awaited_echo_has_a_deadline_of_its_own() {
        let mut harness = Harness::open();
        let first = harness.deadline;
        for _ in 0..2 {
            harness.with(|connection, outgoing| connection.send_message(outgoing, |_| {}));
            harness.deadline += Duration::from_secs(1);
        }
        assert_eq!(harness.connection.echoes_owed, 2);
        // Half of a message is not an echo.
        assert!(harness.next(&mut &b"\x82\x02x"[..]).unwrap().is_some());
        assert_eq!(harness.connection.overdue(first), Some(Awaited::Echo));
        assert!(harness.next(&mut &b"x"[..]).unwrap().is_some());
        assert_eq!(harness.connection.overdue(first), None);
        assert_eq!(harness.connection.overdue(harness.deadline), Some(Awaited::Echo));
        assert!(harness.next(&mut &b"\x82\x00"[..]).unwrap().is_some());
        assert!(!harness.connection.is_awaiting());
    }

    #[test]
    fn control_frames_may_come_between_the_frames_of_a_message() {
        let mut harness = Harness::open();
        let input = &mut &b"\x01\x01a\x89\x00\x80\x01b"[..];
        let data = |offset, payload, is_end| {
            Some(Event::Data(Chunk {
                kind: DataKind::Text,
                offset,
                payload,
                is_end,
                is_compressed: false,
            }))
        };
        assert_eq!(harness.next(input).unwrap(), data(0, b"a", false));
        assert_eq!(harness.next(input).unwrap(), Some(Event::Ping));
        assert_eq!(harness.next(input).unwrap(), data(1, b"b", true));
    }
}
