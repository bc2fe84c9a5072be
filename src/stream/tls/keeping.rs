//! How bytes come to wait, and how they go.

use super::held::Held;
use super::session::TlsStream;
use super::socket::write_all;
use crate::pool::{BUFFER_BYTES_MIN, Need, OverBudget};
use crate::stream::contract::StreamError;
use crate::transport::Transport;

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
        let tick = self.turn.now.tick();
        let held = self.session.held();
        if held.filled == held.start {
            held.unopened_since = tick;
        }
        held.room()[..bytes.len()].copy_from_slice(bytes);
        held.filled += bytes.len();
        Ok(())
    }

    /// `bytes` at the front are opened.
    pub(super) fn consume_unopened(&mut self, bytes: usize) {
        let tick = self.turn.now.tick();
        let held = self.session.held();
        held.unopened_since = tick;
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
        self.shared.settle(self.turn.memory);
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
    pub(super) fn release_held(&mut self) {
        let is_done = |held: &Held| held.bytes() == 0 && held.tickets.is_none();
        if self.session.held.as_deref().is_some_and(is_done) {
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
