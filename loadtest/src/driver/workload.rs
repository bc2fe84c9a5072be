//! The interface between a command and the driver: events in one direction, requests in the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::message::{MessageId, Pattern};
use crate::tls::TlsHandshake;
use crate::websocket::{Connection, Event, Outgoing};

/// Handles the events of the connections of a command.
pub(crate) trait Workload {
    /// Handles an action of the server. An error ends the connection with that failure.
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure>;

    /// Handles the end of a connection, or the failure to make it. `Ok` stands for a complete
    /// closing handshake.
    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>);

    /// How many connections have failed.
    fn failures(&self) -> usize;
}

/// Names one connection for good: the driver reuses slots, but not serial numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnKey {
    /// The index of the slot.
    pub(super) index: usize,
    pub(super) serial: u64,
}

impl ConnKey {
    /// Unique in the run, counted from 0.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// A serial number as an index, for commands that keep a table of their connections.
pub(crate) fn index(serial: u64) -> usize {
    usize::try_from(serial).unwrap_or(usize::MAX)
}

/// A connection, as a command may act on it.
#[derive(Debug)]
pub(crate) struct ConnHandle<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) outgoing: Outgoing<'a>,
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) has_backlog: bool,
    pub(super) tls_handshake: Option<TlsHandshake>,
    pub(super) held_requests: &'a mut HashMap<u64, Vec<u8>>,
}

impl ConnHandle<'_> {
    /// Unique in the run, counted from 0.
    pub(crate) fn serial(&self) -> u64 {
        self.connection.serial()
    }

    /// When the bytes of the event arrived; outside of an event, the present time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The time since the connection began to connect.
    pub(crate) fn age(&self) -> Duration {
        self.now.saturating_duration_since(self.began)
    }

    /// The TLS handshake of the connection, if it had one.
    pub(crate) fn tls_handshake(&self) -> Option<TlsHandshake> {
        self.tls_handshake
    }

    /// Whether messages can be sent: the handshake is done, and no Close was exchanged.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Whether output is left that the kernel has not taken.
    pub(crate) fn has_backlog(&self) -> bool {
        self.has_backlog
    }

    /// Sends a text message; data is due in return.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.connection.send_text(text, &mut self.outgoing);
    }

    /// Sends a text message to which no answer is due.
    pub(crate) fn send_text_one_way(&mut self, text: &str) {
        self.connection.send_text_one_way(text, &mut self.outgoing);
    }

    /// Sends a binary message; data is due in return.
    pub(crate) fn send_binary(&mut self, payload: &[u8]) {
        self.connection.send_binary(payload, &mut self.outgoing);
    }

    /// Sends a binary message to which no answer is due.
    pub(crate) fn send_binary_one_way(&mut self, payload: &[u8]) {
        self.connection.send_binary_one_way(payload, &mut self.outgoing);
    }

    /// Sends a message; its echo is due in return.
    pub(crate) fn send_message(&mut self, pattern: &Pattern, id: MessageId) {
        self.connection.send_message(&mut self.outgoing, |out| pattern.append_frame(id, out));
    }

    /// Sends a message to which no answer is due.
    pub(crate) fn send_one_way(&mut self, pattern: &Pattern, id: MessageId) {
        self.connection.send_one_way(&mut self.outgoing, |out| pattern.append_frame(id, out));
    }

    /// Sends bytes as they are: whole frames or parts of them. No answer is due.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.connection.send_one_way(&mut self.outgoing, |out| out.extend_from_slice(bytes));
    }

    /// Sends the bytes that complete a message; its echo is due in return.
    pub(crate) fn send_last_bytes(&mut self, bytes: &[u8]) {
        self.connection.send_message(&mut self.outgoing, |out| out.extend_from_slice(bytes));
    }

    /// Sends at most `bytes_max` of the request that the driver has held back; returns how many.
    pub(crate) fn send_held_request(&mut self, bytes_max: usize) -> usize {
        let serial = self.serial();
        let Some(rest) = self.held_requests.get_mut(&serial) else { return 0 };
        let bytes = rest.len().min(bytes_max);
        self.outgoing.bytes.extend(rest.drain(..bytes));
        if rest.is_empty() {
            self.held_requests.remove(&serial);
        }
        bytes
    }

    /// Sends a ping; a pong is due in return.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.connection.ping(payload, &mut self.outgoing);
    }

    /// Starts the closing handshake; the server's Close and the end of the stream are due.
    pub(crate) fn close(&mut self) {
        self.connection.close(&mut self.outgoing);
    }
}
