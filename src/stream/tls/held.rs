//! What is held for a while: the bytes of records that have come in part, sealed ones for which the
//! socket had no room, and what waits for tickets.

use super::tickets::TicketTaker;
use crate::timer::Tick;
use crate::tls::{Header, HeaderFault};

/// What is held. Both buffers are of the pool.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What has come and is not opened: `start..filled`.
    pub(super) unopened: Vec<u8>,
    pub(super) start: usize,
    pub(super) filled: usize,
    /// When the first record of it began to wait.
    pub(super) unopened_since: Tick,
    /// What is sealed and not sent: `sent..end`.
    pub(super) unsent: Vec<u8>,
    pub(super) sent: usize,
    pub(super) end: usize,
    /// Since when the socket took none of it.
    pub(super) unsent_since: Tick,
    /// Of a connection to a server whose tickets may come.
    pub(super) tickets: Option<TicketTaker>,
}

impl Held {
    /// The bytes that are not opened.
    pub(super) fn unopened(&self) -> &[u8] {
        self.unopened.get(self.start..self.filled).unwrap_or_default()
    }

    /// The first record that is not opened: how long it is, and whether it is here as a whole.
    /// `None` if not even its header is.
    pub(super) fn first(&self) -> Result<Option<(usize, bool)>, HeaderFault> {
        let bytes = self.unopened();
        let header = Header::read(bytes)?;
        Ok(header.map(|header| (header.record_bytes(), header.record_bytes() <= bytes.len())))
    }

    /// Where more bytes may be read to.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.unopened[self.filled..]
    }

    /// Whether sealed bytes wait.
    pub(super) fn has_unsent(&self) -> bool {
        self.end > self.sent
    }

    /// Bytes of both buffers.
    pub(super) fn bytes(&self) -> usize {
        self.unopened.len() + self.unsent.len()
    }
}
