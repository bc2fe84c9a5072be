//! One client connection as a state machine over bytes.
//!
//! ```text
//!  Connecting ──established──► Handshaking ──101──► Open ──close()──► Closing
//!                                                    │                  │ server's Close
//!                                  server's Close:   ▼                  ▼
//!                                  answered, failed ─┘               Closed ──end of stream──► done
//! ```

use std::time::Instant;

use super::failure::{Awaited, Failure};
use super::frame::{Frame, FrameError, Opcode, encode_frame, parse_frame};
use super::handshake::{Key, encode_request, verify_response};
use crate::random::Random;

/// Something that the server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// One data frame; messages are not put together.
    Data { fin: bool, payload: &'a [u8] },
    /// The 101 answer was verified.
    Opened,
    /// A ping; it has been answered already.
    Ping,
    /// A pong: an awaited one, or one that nobody asked for (§5.5.3).
    Pong { is_awaited: bool, payload: &'a [u8] },
}

/// Where a connection writes to, and where its mask keys come from.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) random: &'a mut Random,
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
}

impl Connection {
    /// A connection whose socket is being connected; `serial` is unique in the run.
    pub(crate) fn new(serial: u64, deadline: Instant) -> Self {
        let due = Some(Due { awaited: Awaited::TcpConnection, deadline });
        Self { serial, phase: Phase::Connecting, due }
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Does the server owe an answer?
    pub(crate) fn is_awaiting(&self) -> bool {
        self.due.is_some()
    }

    /// The answer that the server owed by now.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Awaited> {
        self.due.filter(|due| due.deadline <= now).map(|due| due.awaited)
    }

    /// Has the socket been connected?
    pub(crate) fn is_established(&self) -> bool {
        self.phase != Phase::Connecting
    }

    /// The socket is connected: asks for the upgrade. The connect deadline covers the answer too.
    pub(crate) fn establish(&mut self, authority: &str, path: &str, seed: u64, out: &mut Vec<u8>) {
        debug_assert_eq!(self.phase, Phase::Connecting, "a socket connects once");
        self.phase = Phase::Handshaking;
        self.now_await(Awaited::Handshake);
        encode_request(authority, path, &Key::derive(seed, self.serial), out);
    }

    /// Takes the next event from the front of `input`, or `None` when more bytes are needed.
    /// Pings and a server's Close are answered here.
    pub(crate) fn next_event<'a>(
        &mut self,
        input: &mut &'a [u8],
        seed: u64,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Option<Event<'a>>, Failure> {
        loop {
            match self.phase {
                Phase::Connecting => return Ok(None),
                Phase::Handshaking => {
                    let key = Key::derive(seed, self.serial);
                    let Some(head_bytes) = verify_response(input, &key)? else {
                        return Ok(None);
                    };
                    *input = &input[head_bytes..];
                    self.phase = Phase::Open;
                    self.due = None;
                    return Ok(Some(Event::Opened));
                }
                Phase::Open | Phase::Closing => {
                    let Some((frame, frame_bytes)) = parse_frame(input)? else {
                        return Ok(None);
                    };
                    *input = &input[frame_bytes..];
                    if let Some(event) = self.take(frame, outgoing)? {
                        return Ok(Some(event));
                    }
                }
                Phase::Closed if input.is_empty() => return Ok(None),
                Phase::Closed => return Err(Failure::BytesAfterClose),
            }
        }
    }

    /// The server ended its side: the proper end only after both Close frames.
    pub(crate) fn end_of_stream(&self) -> Result<(), Failure> {
        match self.phase {
            Phase::Closed => Ok(()),
            Phase::Closing | Phase::Connecting | Phase::Handshaking | Phase::Open => {
                Err(Failure::EndOfStream)
            }
        }
    }

    /// Sends a text message and expects data in return. Like the other two requests, it does
    /// nothing unless the connection is open: the server may have closed it in the meantime.
    pub(crate) fn text(&mut self, text: &str, deadline: Instant, outgoing: &mut Outgoing<'_>) {
        let due = Due { awaited: Awaited::Echo, deadline };
        self.request(Opcode::Text, text.as_bytes(), due, outgoing);
    }

    /// Sends a ping and expects a pong in return.
    pub(crate) fn ping(&mut self, payload: &[u8], deadline: Instant, outgoing: &mut Outgoing<'_>) {
        let due = Due { awaited: Awaited::Pong, deadline };
        self.request(Opcode::Ping, payload, due, outgoing);
    }

    /// Starts the closing handshake with code 1000; the server's Close and the end of the stream
    /// are to follow.
    pub(crate) fn close(&mut self, deadline: Instant, outgoing: &mut Outgoing<'_>) {
        let due = Due { awaited: Awaited::Close, deadline };
        if self.request(Opcode::Close, &CLOSE_NORMAL.to_be_bytes(), due, outgoing) {
            self.phase = Phase::Closing;
        }
    }

    /// Sends a frame that the server owes an answer to; tells whether it was sent.
    fn request(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        due: Due,
        outgoing: &mut Outgoing<'_>,
    ) -> bool {
        let is_open = self.phase == Phase::Open;
        if is_open {
            self.due = Some(due);
            outgoing.frame(opcode, payload);
        }
        is_open
    }

    fn take<'a>(
        &mut self,
        frame: Frame<'a>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Option<Event<'a>>, Failure> {
        let Frame { opcode, fin, payload } = frame;
        match opcode {
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                self.settle(Awaited::Echo);
                Ok(Some(Event::Data { fin, payload }))
            }
            Opcode::Ping => {
                // §5.5.1: nothing may follow our Close, not even a pong.
                if self.phase == Phase::Open {
                    outgoing.frame(Opcode::Pong, payload);
                }
                Ok(Some(Event::Ping))
            }
            Opcode::Pong => {
                let is_awaited = self.settle(Awaited::Pong);
                Ok(Some(Event::Pong { is_awaited, payload }))
            }
            Opcode::Close => self.take_close(payload, outgoing).map(|()| None),
        }
    }

    fn take_close(&mut self, payload: &[u8], outgoing: &mut Outgoing<'_>) -> Result<(), Failure> {
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
        Err(Failure::ClosedByServer { code, reason })
    }

    /// An answer came; tells whether it was awaited.
    fn settle(&mut self, awaited: Awaited) -> bool {
        self.due.take_if(|due| due.awaited == awaited).is_some()
    }

    /// One step of several under the same deadline is done; names the next one.
    fn now_await(&mut self, awaited: Awaited) {
        if let Some(due) = &mut self.due {
            due.awaited = awaited;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshaking,
    Open,
    /// Our Close is sent, the server's is awaited.
    Closing,
    /// Both Close frames passed; the server ends the stream (§7.1.1).
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    awaited: Awaited,
    deadline: Instant,
}

const CLOSE_NORMAL: u16 = 1000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tungstenite::handshake::derive_accept_key;

    use super::*;
    use crate::clock;

    const SEED: u64 = 5;

    /// A connection and what it wrote.
    struct Bench {
        connection: Connection,
        written: Vec<u8>,
        random: Random,
        deadline: Instant,
    }

    impl Bench {
        fn open() -> Self {
            let deadline = clock::now() + Duration::from_secs(10);
            let mut bench = Self {
                connection: Connection::new(1, deadline),
                written: Vec::new(),
                random: Random::new(SEED),
                deadline,
            };
            bench.connection.establish("localhost", "/", SEED, &mut bench.written);
            let request = String::from_utf8(std::mem::take(&mut bench.written)).unwrap();
            let key = request.split("Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let answer = format!(
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            );
            assert_eq!(bench.next(&mut answer.as_bytes()).unwrap(), Some(Event::Opened));
            assert!(!bench.connection.is_awaiting());
            bench
        }

        fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Failure> {
            let mut outgoing = Outgoing { bytes: &mut self.written, random: &mut self.random };
            self.connection.next_event(input, SEED, &mut outgoing)
        }

        fn close(&mut self) {
            let mut outgoing = Outgoing { bytes: &mut self.written, random: &mut self.random };
            self.connection.close(self.deadline, &mut outgoing);
            self.written.clear();
        }
    }

    #[test]
    fn pings_are_answered_with_their_payload() {
        let mut bench = Bench::open();
        assert_eq!(bench.next(&mut &b"\x89\x02hi"[..]).unwrap(), Some(Event::Ping));
        let mut expected = Vec::new();
        let mask_key = Random::new(SEED).mask_key();
        encode_frame(Opcode::Pong, b"hi", mask_key, &mut expected);
        assert_eq!(bench.written, expected);
    }

    #[test]
    fn nothing_follows_our_close() {
        let mut bench = Bench::open();
        bench.close();
        assert_eq!(bench.next(&mut &b"\x89\x02hi"[..]).unwrap(), Some(Event::Ping));
        assert!(bench.written.is_empty());
    }

    #[test]
    fn the_proper_end_is_both_closes_and_then_the_end_of_stream() {
        let mut bench = Bench::open();
        assert!(matches!(bench.connection.end_of_stream(), Err(Failure::EndOfStream)));
        bench.close();
        assert!(matches!(bench.connection.end_of_stream(), Err(Failure::EndOfStream)));
        assert_eq!(bench.next(&mut &b"\x88\x02\x03\xe8"[..]).unwrap(), None);
        assert_eq!(bench.connection.overdue(bench.deadline), Some(Awaited::EndOfStream));
        assert!(bench.connection.end_of_stream().is_ok());
        assert!(matches!(bench.next(&mut &b"\x81\x00"[..]), Err(Failure::BytesAfterClose)));
    }

    #[test]
    fn a_close_that_was_not_asked_for_is_answered_and_reported() {
        let mut bench = Bench::open();
        let failure = bench.next(&mut &b"\x88\x04\x03\xe9by"[..]).unwrap_err();
        assert_eq!(failure.to_string(), "the server closed the connection: code 1001, \"by\"");
        assert_eq!(bench.written.first(), Some(&0x88));
    }

    #[test]
    fn only_the_awaited_answer_clears_the_deadline() {
        let mut bench = Bench::open();
        let mut outgoing = Outgoing { bytes: &mut bench.written, random: &mut bench.random };
        bench.connection.ping(b"1", bench.deadline, &mut outgoing);
        assert!(bench.next(&mut &b"\x81\x01x"[..]).unwrap().is_some());
        assert_eq!(bench.connection.overdue(bench.deadline), Some(Awaited::Pong));
        for is_awaited in [true, false] {
            let pong = bench.next(&mut &b"\x8a\x011"[..]).unwrap();
            assert_eq!(pong, Some(Event::Pong { is_awaited, payload: b"1" }));
        }
        assert!(!bench.connection.is_awaiting());
    }
}
