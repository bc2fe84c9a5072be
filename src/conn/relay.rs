//! A relay of bytes between two connections of one loop, for the simulation: it proves that what
//! comes in by one connection can go out by another, with backpressure and half-closes, without
//! other parts of the life of connections knowing of it.

use super::cold::ColdRecords;
use super::flags::Flags;
use super::schedule::RunQueue;
use super::send::Output;
use super::simulated::{RelayEnd, Simulated};
use super::slot::Conn;
use super::table::Table;
use super::turn::Turn;
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::pool::ReadBuffer;
use crate::stream;
use crate::transport::Transport;

/// Everything that a step of a relay may touch. A step ends no connection: it gives the one to be
/// aborted, and why, and the other of the two ends with it.
#[derive(Debug)]
pub(super) struct Relay<'r, S> {
    table: &'r mut Table<S>,
    cold: &'r mut ColdRecords,
    output: &'r mut Output,
    run_queue: &'r mut RunQueue,
    turn: &'r mut Turn,
}

/// A connection to be aborted, and why.
pub(super) type Abort = Option<(ConnKey, CloseReason)>;

impl<'r, S: Transport> Relay<'r, S> {
    pub(super) fn new(
        table: &'r mut Table<S>,
        cold: &'r mut ColdRecords,
        output: &'r mut Output,
        run_queue: &'r mut RunQueue,
        turn: &'r mut Turn,
    ) -> Self {
        Self { table, cold, output, run_queue, turn }
    }

    /// Makes two connections each other's partners.
    pub(super) fn pair(&mut self, keys: [ConnKey; 2]) {
        for (key, partner) in [(keys[0], keys[1]), (keys[1], keys[0])] {
            if let Some(end) = self.end_mut(key) {
                end.partner = Some(partner);
            }
            self.resume(key);
        }
    }

    /// The connection that the bytes of this one go on to.
    pub(super) fn partner(&self, key: ConnKey) -> Option<ConnKey> {
        self.end(key)?.partner
    }

    fn end(&self, key: ConnKey) -> Option<&RelayEnd> {
        match self.cold.simulated(self.table.get(key)?.cold)? {
            Simulated::Relay(end) => Some(end),
            Simulated::Cipher(..) => None,
        }
    }

    fn end_mut(&mut self, key: ConnKey) -> Option<&mut RelayEnd> {
        match self.cold.simulated_mut(self.table.get(key)?.cold)? {
            Simulated::Relay(end) => Some(end),
            Simulated::Cipher(..) => None,
        }
    }

    fn ends_output(&self, key: ConnKey) -> bool {
        self.end(key).is_some_and(|end| end.ends_output)
    }

    fn set_ends_output(&mut self, key: ConnKey, ends_output: bool) {
        if let Some(end) = self.end_mut(key) {
            end.ends_output = ends_output;
        }
    }

    /// Gives what was read from a connection to its partner.
    pub(super) fn forward(&mut self, key: ConnKey, buffer: &ReadBuffer) -> Abort {
        let partner = self.partner(key)?;
        let conn = self.table.get_mut(partner)?;
        let pushed = self.output.push_bytes(conn, partner, buffer.arrived(), self.turn);
        if pushed.is_err() {
            return Some((key, CloseReason::Overload));
        }
        let is_full = conn.queue.bytes() > self.turn.settings.backlog_high_bytes;
        if is_full && let Some(conn) = self.table.get_mut(key) {
            conn.flags.set(Flags::PAUSED_BY_PARTNER);
        }
        None
    }

    /// A connection's queue was written to: its partner may be read again, and what ends can end.
    pub(super) fn flushed(&mut self, key: ConnKey) -> Abort {
        let conn = self.table.get(key)?;
        let has_room = conn.queue.bytes() < self.turn.settings.backlog_high_bytes / 2;
        let ends = self.ends_output(key) && conn.is_flushed();
        if has_room && let Some(partner) = self.partner(key) {
            self.resume(partner);
        }
        if ends { self.end_half(key) } else { None }
    }

    /// The peer of a connection has ended its half: its partner's half ends as well, once what waits
    /// for it is written.
    pub(super) fn input_ended(&mut self, key: ConnKey) -> Abort {
        let Some(partner) = self.partner(key) else { return Some((key, CloseReason::Gone)) };
        self.set_ends_output(partner, true);
        if self.table.get(partner)?.is_flushed() { self.end_half(partner) } else { None }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.take(Flags::PAUSED_BY_PARTNER)
        {
            self.run_queue.push(conn, key);
        }
    }

    fn end_half(&mut self, key: ConnKey) -> Abort {
        let conn = self.table.get_mut(key)?;
        let stream = self.cold.stream(&mut conn.socket, conn.cold, self.turn);
        if stream::finish(stream).is_err() {
            return Some((key, CloseReason::Reset));
        }
        self.set_ends_output(key, false);
        let partner = self.partner(key)?;
        // Each half ends by itself; with both ended the relay is over.
        let is_over = |own: ConnKey| {
            let has_ended =
                |conn: &Conn<S>| conn.flags.has(Flags::INPUT_ENDED) && !self.ends_output(own);
            self.table.get(own).map(has_ended)
        };
        (is_over(key)? && is_over(partner)?).then_some((key, CloseReason::Gone))
    }
}
