//! Messages, which a server has to echo on each connection in order.

use crate::driver;
use crate::driver::{ConnHandle, Failure};
use crate::message::{MessageId, Pattern};
use crate::websocket::Chunk;

/// The messages of the first connections of a run, which are those with the lowest serial numbers.
#[derive(Debug)]
pub(crate) struct Echoes {
    pattern: Pattern,
    counts: Vec<Counts>,
}

/// A whole message that arrived as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    /// The connection's serial number.
    pub(crate) index: usize,
    /// The number of the message on its connection, counted from 0.
    pub(crate) sequence: u32,
}

impl Echoes {
    pub(crate) fn new(pattern: Pattern, connections: usize) -> Self {
        Self { pattern, counts: vec![Counts::default(); connections] }
    }

    /// Sends the next message of the connection.
    pub(crate) fn send(&mut self, connection: &mut ConnHandle<'_>) -> Echo {
        let index = driver::index(connection.serial());
        let counts = &mut self.counts[index];
        let sequence = counts.sent;
        counts.sent += 1;
        connection.send_message(&self.pattern, MessageId::new(index as u64, sequence));
        Echo { index, sequence }
    }

    /// Compares a chunk with what was sent. Returns the message if the chunk completes it.
    pub(crate) fn verify(
        &mut self,
        serial: u64,
        chunk: &Chunk<'_>,
    ) -> Result<Option<Echo>, Failure> {
        let index = driver::index(serial);
        let counts = &mut self.counts[index];
        let sequence = counts.received;
        if sequence == counts.sent {
            return Err(Failure::UnaskedMessage);
        }
        let expected = self.pattern.expected(MessageId::new(index as u64, sequence));
        expected.verify(chunk).map_err(|mismatch| Failure::WrongMessage { sequence, mismatch })?;
        if !chunk.is_end {
            return Ok(None);
        }
        counts.received += 1;
        Ok(Some(Echo { index, sequence }))
    }

    /// The number of messages that the server has not echoed on the connection.
    pub(crate) fn outstanding(&self, index: usize) -> u32 {
        let Counts { sent, received } = self.counts[index];
        sent - received
    }

    /// The length of a message's frame in bytes, uncompressed.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.pattern.frame_bytes()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u32,
    received: u32,
}
