//! Bytes that wait: those of records that have come in part, and sealed ones for which the socket
//! had no room.

use std::io::{ErrorKind, IoSlice};

use super::{RecordFault, Session, StreamError, TlsStream};
use crate::pool::{BUFFER_BYTES_MIN, Need, OverBudget};
use crate::timer::Tick;
use crate::tls::{Header, HeaderFault};
use crate::transport::Transport;

/// The bytes. Both buffers are of the pool.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What has come and is not opened: `start..filled`.
    pub(super) unopened: Vec<u8>,
    pub(super) start: usize,
    pub(super) filled: usize,
    /// What is sealed and not sent: `sent..end`.
    unsent: Vec<u8>,
    sent: usize,
    end: usize,
    /// Since when the socket took none of it.
    pub(super) unsent_since: Tick,
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

impl Session {
    /// What is held, where there is anything.
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_with(Box::default)
    }

    /// Bytes of the pool that it has beside itself.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn recount(&self) -> usize {
        let handshake = matches!(self.state, super::State::Handshake(_));
        let held_bytes = self.held.as_ref().map_or(0, |held| held.bytes());
        held_bytes + if handshake { super::HANDSHAKE_BYTES } else { 0 }
    }

    /// Whether bytes have come that are not opened.
    pub(super) fn has_unopened(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.filled > held.start)
    }
}

impl TlsStream<'_> {
    /// Whether sealed bytes wait for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.session.held.as_ref().is_some_and(|held| held.has_unsent())
    }

    /// Makes room behind what is not opened: for `bytes`, or as much as `bytes_max` in all allow.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has none.
    pub(super) fn make_room(
        &mut self,
        need: Need,
        bytes: usize,
        bytes_max: usize,
    ) -> Result<(), OverBudget> {
        let (memory, now) = (&mut *self.turn.memory, self.turn.now);
        let held = self.session.held();
        if held.unopened.is_empty() {
            held.unopened = memory.take_for(need, bytes.max(BUFFER_BYTES_MIN), now)?;
            (held.start, held.filled) = (0, 0);
        }
        if held.start > 0 && held.unopened.len() - held.filled < bytes {
            held.unopened.copy_within(held.start..held.filled, 0);
            held.filled -= held.start;
            held.start = 0;
        }
        while held.unopened.len() - held.filled < bytes {
            memory.grow_for(need, &mut held.unopened, bytes_max)?;
        }
        Ok(())
    }

    /// Keeps bytes that are not opened, behind those that wait.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for them. They are lost.
    pub(super) fn keep_unopened(&mut self, need: Need, bytes: &[u8]) -> Result<(), OverBudget> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.make_room(need, bytes.len(), usize::MAX)?;
        let held = self.session.held();
        held.room()[..bytes.len()].copy_from_slice(bytes);
        held.filled += bytes.len();
        Ok(())
    }

    /// `bytes` at the front are opened.
    pub(super) fn consume_unopened(&mut self, bytes: usize) {
        let held = self.session.held();
        held.start += bytes;
        if held.start >= held.filled {
            self.drop_unopened();
        }
    }

    /// Throws away what is not opened.
    pub(super) fn drop_unopened(&mut self) {
        if let Some(held) = &mut self.session.held {
            (held.start, held.filled) = (0, 0);
            let buffer = std::mem::take(&mut held.unopened);
            if !buffer.is_empty() {
                self.turn.memory.give(buffer);
            }
            self.release_held();
        }
    }

    /// Writes what the scratch holds; what the socket does not take waits. Whether it took any.
    ///
    /// # Errors
    /// When the connection has failed, or there is no memory for what waits: sealed bytes go out in
    /// order or not at all.
    pub(super) fn write_sealed<S: Transport>(
        &mut self,
        socket: &mut S,
    ) -> Result<bool, StreamError> {
        if self.shared.sealed.is_empty() {
            return Ok(false);
        }
        let sealed = std::mem::take(&mut self.shared.sealed);
        let written = match self.has_unsent() {
            true => Ok(0),
            false => write_all(socket, &sealed),
        };
        let result = written.and_then(|written| {
            self.keep_unsent(&sealed[written..])?;
            Ok(written > 0)
        });
        self.shared.sealed = sealed;
        self.shared.sealed.clear();
        result
    }

    /// Writes what waits, as far as the socket takes it. Whether it took any.
    ///
    /// # Errors
    /// When the connection has failed.
    pub(super) fn write_held<S: Transport>(&mut self, socket: &mut S) -> Result<bool, StreamError> {
        let Some(held) = self.session.held.as_mut().filter(|held| held.end > held.sent) else {
            return Ok(false);
        };
        let written = write_all(socket, &held.unsent[held.sent..held.end])?;
        held.sent += written;
        if held.sent == held.end {
            (held.sent, held.end) = (0, 0);
            let buffer = std::mem::take(&mut held.unsent);
            self.turn.memory.give(buffer);
            self.release_held();
        }
        Ok(written > 0)
    }

    /// Keeps sealed bytes behind those that wait.
    fn keep_unsent(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (memory, now) = (&mut *self.turn.memory, self.turn.now);
        let held = self.session.held();
        let end = held.end + bytes.len();
        if end > held.unsent.len() {
            let mut larger = memory.take(end, now).map_err(|OverBudget| StreamError)?;
            larger[..held.end].copy_from_slice(&held.unsent[..held.end]);
            let buffer = std::mem::replace(&mut held.unsent, larger);
            if !buffer.is_empty() {
                memory.give(buffer);
            }
        }
        held.unsent[held.end..end].copy_from_slice(bytes);
        held.end = end;
        Ok(())
    }

    /// Frees the record of what waits once nothing does.
    fn release_held(&mut self) {
        if self.session.held.as_ref().is_some_and(|held| held.bytes() == 0) {
            self.session.held = None;
        }
    }

    /// Throws away what is sealed and unsent.
    pub(super) fn drop_unsent(&mut self) {
        if let Some(held) = &mut self.session.held {
            (held.sent, held.end) = (0, 0);
            let buffer = std::mem::take(&mut held.unsent);
            if !buffer.is_empty() {
                self.turn.memory.give(buffer);
            }
            self.release_held();
        }
    }
}

/// Writes until all is taken or the socket has no more room; how many bytes it took.
fn write_all<S: Transport>(socket: &mut S, bytes: &[u8]) -> Result<usize, StreamError> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&[IoSlice::new(&bytes[written..])]) {
            Ok(0) => return Err(StreamError),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Err(StreamError),
        }
    }
    Ok(written)
}

impl From<HeaderFault> for RecordFault {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::NoTls => Self::Malformed,
            HeaderFault::TooLong => Self::TooLong,
        }
    }
}
