//! A client: its connection and everything it has heard.

use tidegate::sim::SimClient;

use crate::wire::{Heard, close_frame, frame, upgrade_request};

/// One client of the simulated server.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: SimClient,
    pub(crate) heard: Heard,
}

impl Client {
    pub(crate) fn new(connection: SimClient) -> Self {
        Self { connection, heard: Heard::default() }
    }

    /// Sends a request for a WebSocket.
    pub(crate) fn ask(&self, path: &str) {
        self.send(&upgrade_request(path));
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.connection.send(bytes);
    }

    /// Sends a whole frame.
    pub(crate) fn say(&self, opcode: u8, payload: &[u8]) {
        self.send(&frame(opcode, payload));
    }

    /// Sends a close frame.
    pub(crate) fn say_close(&self, code: u16) {
        self.send(&close_frame(code, ""));
    }

    /// Receives up to `bytes_max` bytes; gives how many came.
    pub(crate) fn try_read(&mut self, bytes_max: usize) -> Result<usize, String> {
        let bytes = self.connection.receive(bytes_max);
        self.heard.feed(&bytes)?;
        Ok(bytes.len())
    }

    /// Receives up to `bytes_max` bytes, which must be well-formed; gives how many came.
    pub(crate) fn read(&mut self, bytes_max: usize) -> usize {
        self.try_read(bytes_max).unwrap()
    }

    /// Receives all that is there.
    pub(crate) fn read_all(&mut self) -> usize {
        self.read(usize::MAX)
    }

    /// Whether the server ended in good order: everything arrived, whole, and no reset.
    pub(crate) fn ended_well(&self) -> bool {
        self.connection.has_ended() && !self.connection.was_reset() && self.heard.is_whole()
    }

    /// Whether the server has nothing more to do with this client.
    pub(crate) fn is_gone(&self) -> bool {
        self.connection.is_closed_by_server()
    }

    /// Fails unless the data frames heard partial-read buffer these payloads, in this order, and no others.
    pub(crate) fn assert_heard<P: AsRef<[u8]>>(&self, expected: &[P]) {
        self.assert_heard_first(expected);
        assert_eq!(self.heard.data().len(), expected.len(), "messages");
    }

    /// Fails unless the data frames heard partial-read buffer the first of these payloads.
    pub(crate) fn assert_heard_first<P: AsRef<[u8]>>(&self, expected: &[P]) {
        for (serial, frame) in self.heard.data().iter().enumerate() {
            let expected = expected.get(serial).map_or(&[][..], AsRef::as_ref);
            assert!(
                frame.payload == expected,
                "message {serial}: {} bytes for {}",
                frame.payload.len(),
                expected.len()
            );
        }
    }

    /// The payloads of the data frames heard.
    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        self.heard.data().iter().map(|frame| &frame.payload[..]).collect()
    }
}

/// A plain TCP client that speaks lines.
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

    /// What came since the last time.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8(self.connection.receive(usize::MAX)).unwrap()
    }

    /// Whether the server ended in good order.
    pub(crate) fn ended_well(&self) -> bool {
        self.connection.has_ended() && !self.connection.was_reset()
    }
}
