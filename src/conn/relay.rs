//! A relay of bytes between two connections of one loop, for the simulation: it proves that what
//! comes in by one connection can go out by another, with backpressure and half-closes, without a
//! part of the life of connections knowing of it.

use super::cold::Cold;
use super::connections::Connections;
use super::flags::Flags;
use super::receive::Unfinished;
use super::slot::Protocol;
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::transport::Transport;

impl<S: Transport> Connections<S> {
    /// A connection that was just accepted relays to the next one that comes here, or to the one
    /// that waits for it.
    pub fn enter_relay(&mut self, key: ConnKey) {
        let waiting = self.unpaired.take().filter(|key| self.table.get(*key).is_some());
        let Some(at) = self.at(key) else { return };
        at.conn.protocol = Protocol::Relay;
        at.schedule.half_open.leave(&mut at.conn.flags);
        if !at.conn.state.open() {
            return;
        }
        at.population.open += 1;
        at.conn.flags.set(Flags::PAUSED_BY_PARTNER);
        let Ok(link) = at.cold.add(Cold::Relay(waiting), &mut at.turn.memory) else {
            return self.abort(key, CloseReason::Overload);
        };
        at.conn.cold = link;
        self.schedule.wheel.remove(&mut self.table, key.index);
        match waiting {
            Some(partner) => {
                self.set_partner(partner, key);
                self.resume_relay(partner);
                self.resume_relay(key);
            }
            None => self.unpaired = Some(key),
        }
    }

    fn set_partner(&mut self, key: ConnKey, partner: ConnKey) {
        let link = self.table.get(key).map(|conn| conn.cold).unwrap_or_default();
        if let Some(Cold::Relay(own)) = self.cold.get_mut(link) {
            *own = Some(partner);
        }
    }

    fn partner_of(&self, key: ConnKey) -> Option<ConnKey> {
        match self.cold.get(self.table.get(key)?.cold)? {
            Cold::Relay(partner) => *partner,
            Cold::Address(_) | Cold::Cipher(..) => None,
        }
    }

    fn resume_relay(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.take(Flags::PAUSED_BY_PARTNER)
        {
            self.schedule.run_queue.push(conn, key);
        }
    }

    /// Gives what was read from a connection to its partner.
    pub(super) fn forward(&mut self, key: ConnKey, unfinished: &mut Unfinished) {
        let buffer = &mut unfinished.buffer;
        let partner = self.partner_of(key).and_then(|partner| self.at(partner));
        let Some(at) = partner else {
            // It has ended, and this one ends with it.
            return buffer.clear();
        };
        let pushed = at.output.push_bytes(at.conn, at.key, buffer.arrived(), at.turn);
        buffer.clear();
        if pushed.is_err() {
            return self.abort(key, CloseReason::Overload);
        }
        let is_full = at.conn.queue.bytes() > at.turn.settings.backlog_high_bytes;
        if is_full && let Some(conn) = self.table.get_mut(key) {
            conn.flags.set(Flags::PAUSED_BY_PARTNER);
        }
    }

    /// A relay's queue was written to: its partner may be read again, and what ends can end.
    pub(super) fn relay_flushed(&mut self, key: ConnKey) {
        let below = self.turn.settings.backlog_high_bytes / 2;
        let Some(conn) = self.table.get(key) else { return };
        let (has_room, is_flushed) = (conn.queue.bytes() < below, conn.is_flushed());
        let ends = conn.flags.has(Flags::ENDS_OUTPUT);
        if has_room && let Some(partner) = self.partner_of(key) {
            self.resume_relay(partner);
        }
        if ends && is_flushed {
            self.end_relay_half(key);
        }
    }

    /// The peer of one connection has ended its half: the other connection's half ends as well,
    /// once what waits for it is written.
    pub(super) fn relay_input_ended(&mut self, key: ConnKey) {
        let Some(partner) = self.partner_of(key) else {
            return self.abort(key, CloseReason::Gone);
        };
        let Some(conn) = self.table.get_mut(partner) else { return };
        conn.flags.set(Flags::ENDS_OUTPUT);
        if conn.is_flushed() {
            self.end_relay_half(partner);
        }
    }

    fn end_relay_half(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let socket = self.cold.stream(&mut conn.socket, conn.cold);
        if crate::stream::finish(socket).is_err() {
            return self.abort(key, CloseReason::Reset);
        }
        conn.flags.clear(Flags::ENDS_OUTPUT);
        let Some(partner) = self.partner_of(key) else { return };
        // Each half ends by itself; with both ended the relay is over.
        let is_over = |key| {
            self.table.get(key).is_none_or(|conn| {
                conn.flags.has(Flags::INPUT_ENDED) && !conn.flags.has(Flags::ENDS_OUTPUT)
            })
        };
        if is_over(key) && is_over(partner) {
            self.abort(key, CloseReason::Gone);
            self.abort(partner, CloseReason::Gone);
        }
    }

    /// A relay ended otherwise than by both halves: its partner has nothing to relay to.
    pub(super) fn leave_relay(&mut self, key: ConnKey, reason: CloseReason) {
        reason.counter(&self.turn.counters).add(1);
        if self.unpaired == Some(key) {
            self.unpaired = None;
        }
        if let Some(partner) = self.partner_of(key) {
            self.abort(partner, reason);
        }
    }
}
