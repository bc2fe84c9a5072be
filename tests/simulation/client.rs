//! Clients of the simulated server, and everything that they have received.

use std::cell::RefCell;

use tidegate::sim::SimClient;
use tidegate::stream::cipher::{FakeCipher, Opened, PAYLOAD_BYTES_MAX};

use crate::tls_end::TlsEnd;
use crate::wire::{Received, close_frame, frame, upgrade_request};

/// A WebSocket client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: SimClient,
    pub(crate) received: Received,
    records: Records,
}

/// The client's end of what stands between sockets and plaintext.
#[derive(Debug)]
pub(crate) enum Records {
    Plain,
    Cipher(RefCell<FakeCipher>),
    Tls(Box<RefCell<TlsEnd>>),
}

impl Client {
    pub(crate) fn new(connection: SimClient, records: Records) -> Self {
        Self { connection, received: Received::default(), records }
    }

    /// Its end of TLS, if it speaks that.
    pub(crate) fn tls(&self) -> Option<&RefCell<TlsEnd>> {
        match &self.records {
            Records::Tls(tls) => Some(tls),
            Records::Plain | Records::Cipher(_) => None,
        }
    }

    /// Sends an upgrade request for `path`.
    pub(crate) fn ask(&self, path: &str) {
        self.send(&upgrade_request(path));
    }

    /// Sends bytes as they are, or in records of uneven lengths.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut cipher = match &self.records {
            Records::Plain => return self.connection.send(bytes),
            Records::Cipher(cipher) => cipher.borrow_mut(),
            Records::Tls(tls) => {
                tls.borrow_mut().write(bytes);
                tls.borrow_mut().send(&self.connection);
                return;
            }
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = 1 + (rest.len() * 7 + rest.len() / 3) % PAYLOAD_BYTES_MAX;
            let (record, later) = rest.split_at(length.min(rest.len()));
            cipher.seal(record);
            rest = later;
        }
        self.connection.send(&cipher.take_sealed());
    }

    /// Ends the client's half.
    pub(crate) fn shutdown(&self) {
        match &self.records {
            Records::Cipher(cipher) if !self.is_gone() => {
                cipher.borrow_mut().seal_end();
                self.connection.send(&cipher.borrow_mut().take_sealed());
            }
            Records::Cipher(_) | Records::Plain => {}
            Records::Tls(tls) => {
                tls.borrow_mut().end();
                // What it has to say may have to wait for the end of the handshake.
                tls.borrow_mut().send(&self.connection);
                return;
            }
        }
        self.connection.shutdown();
    }

    /// Sends a whole frame.
    pub(crate) fn send_frame(&self, opcode: u8, payload: &[u8]) {
        self.send(&frame(opcode, payload));
    }

    /// Sends a close frame.
    pub(crate) fn send_close(&self, code: u16) {
        self.send(&close_frame(code, ""));
    }

    /// Receives up to `bytes_max` bytes and returns their number, or over TLS how many were received
    /// and sent. There a handshake is received whole.
    pub(crate) fn try_read(&mut self, bytes_max: usize) -> Result<usize, String> {
        let is_handshaking = self.tls().is_some_and(|tls| tls.borrow().is_handshaking());
        let mut bytes =
            self.connection.receive(if is_handshaking { usize::MAX } else { bytes_max });
        let mut count = bytes.len();
        match &mut self.records {
            Records::Plain => {}
            Records::Cipher(cipher) => bytes = opened(cipher.get_mut(), &bytes)?,
            Records::Tls(tls) => {
                let tls = tls.get_mut();
                bytes = tls.open(&bytes);
                count += tls.send(&self.connection);
            }
        }
        self.received.feed(&bytes)?;
        Ok(count)
    }

    /// As [`Client::try_read`]. Panics where the bytes are not well-formed.
    pub(crate) fn read(&mut self, bytes_max: usize) -> usize {
        self.try_read(bytes_max).unwrap()
    }

    /// Receives all available bytes.
    pub(crate) fn read_all(&mut self) -> usize {
        self.read(usize::MAX)
    }

    /// Whether the server closed the connection without a reset and after a whole frame or reply.
    pub(crate) fn ended_well(&self) -> bool {
        // Over TLS the end is worth nothing without the notice of it.
        let is_clean = self.tls().is_none_or(|tls| tls.borrow().peer_has_ended());
        let has_ended = self.connection.has_ended() && !self.connection.was_reset();
        has_ended && is_clean && self.received.is_whole()
    }

    /// Whether the server has closed its socket.
    pub(crate) fn is_gone(&self) -> bool {
        self.connection.is_closed_by_server()
    }

    /// Panics unless the payloads of the data frames received are exactly these, in this order.
    pub(crate) fn assert_received<P: AsRef<[u8]>>(&self, expected: &[P]) {
        self.assert_received_first(expected);
        assert_eq!(self.received.data().len(), expected.len(), "messages");
    }

    /// Panics unless the payloads of the data frames received are a prefix of these.
    pub(crate) fn assert_received_first<P: AsRef<[u8]>>(&self, expected: &[P]) {
        for (serial, frame) in self.received.data().iter().enumerate() {
            let expected = expected.get(serial).map_or(&[][..], AsRef::as_ref);
            assert!(
                frame.payload == expected,
                "message {serial}: {} bytes for {}",
                frame.payload.len(),
                expected.len()
            );
        }
    }

    /// The payloads of the data frames received.
    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        self.received.data().iter().map(|frame| &frame.payload[..]).collect()
    }
}

/// The plaintext of what has arrived, as far as records are whole.
fn opened(cipher: &mut FakeCipher, arrived: &[u8]) -> Result<Vec<u8>, String> {
    cipher.feed(arrived);
    let mut plain = Vec::new();
    let mut room = [0; PAYLOAD_BYTES_MAX];
    loop {
        match cipher.open(&mut room) {
            Opened::Bytes(0, false) | Opened::Ended => return Ok(plain),
            Opened::Bytes(count, _) => plain.extend_from_slice(&room[..count]),
            Opened::NoRoom(_) | Opened::Broken => return Err("no record".into()),
        }
    }
}

/// A plain TCP client of a line listener.
#[derive(Debug)]
pub(crate) struct LineClient {
    pub(crate) connection: SimClient,
}

impl LineClient {
    pub(crate) fn new(connection: SimClient) -> Self {
        Self { connection }
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.connection.send(bytes);
    }

    /// The text received since the last call.
    pub(crate) fn received(&self) -> String {
        String::from_utf8(self.connection.receive(usize::MAX)).unwrap()
    }

    /// Whether the server closed the connection without a reset.
    pub(crate) fn ended_well(&self) -> bool {
        self.connection.has_ended() && !self.connection.was_reset()
    }
}
