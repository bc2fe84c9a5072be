//! The bytes of a relay whose two ends are open: what one sends goes to the other in the same turn,
//! with backpressure, and each half ends by itself.

use super::mask_keys::MaskKeys;
use crate::access::Traffic;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::receive::Input;
use crate::conn::schedule::RunQueue;
use crate::conn::send::{Flush, Output};
use crate::conn::services::Services;
use crate::conn::slot::Conn;
use crate::conn::table::Table;
use crate::conn::turn::Turn;
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::pool::ReadBuffer;
use crate::stream;
use crate::transport::Transport;

/// Everything that a step of a relay may touch. A step ends no connection: it gives the one to be
/// aborted, and why, and the other of the two ends with it.
#[derive(Debug)]
pub(in crate::conn) struct Relay<'r, S> {
    pub(crate) table: &'r mut Table<S>,
    pub(crate) cold: &'r mut ColdRecords,
    pub(crate) output: &'r mut Output,
    pub(crate) input: &'r mut Input,
    pub(crate) services: &'r mut Services,
    pub(crate) mask_keys: &'r mut MaskKeys,
    pub(crate) run_queue: &'r mut RunQueue,
    pub(crate) turn: &'r mut Turn,
}

/// A connection to be aborted, and why.
pub(in crate::conn) type Abort = Option<(ConnKey, CloseReason)>;

impl<S: Transport> Relay<'_, S> {
    /// The connection that the bytes of this one go on to.
    pub(in crate::conn) fn partner(&self, key: ConnKey) -> Option<ConnKey> {
        self.cold.relays().partner(self.table.get(key)?.link, key)
    }

    /// Gives what was read from a connection to its partner: to its socket, as far as nothing waits
    /// there, and the rest to its queue. Without a partner that is open it is thrown away.
    pub(in crate::conn) fn forward(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> Abort {
        let from = buffer.progress.consumed();
        let partner = self.partner(key);
        let is_open = |conn: &&mut Conn<S>| conn.state.is_open();
        let Some((partner, conn)) =
            partner.and_then(|own| Some((own, self.table.get_mut(own).filter(is_open)?)))
        else {
            buffer.clear();
            return None;
        };
        let bytes = buffer.arrived().get(from..).unwrap_or_default();
        if self.cold.has_access() {
            self.cold.note_sent(conn.cold, Traffic { messages: 0, bytes: bytes.len() as u64 });
        }
        let flush = self.output.send_bytes(conn, partner, self.cold, bytes, self.turn);
        if flush == Flush::All && conn.flags.has(Flags::INPUT_ENDED) {
            // Of a half-closed relay what still goes out is the only sign of life.
            conn.seen = self.turn.tick;
        }
        let is_full = conn.queue.bytes() > self.turn.settings.backlog_high_bytes;
        let relayed_bytes = bytes.len() as u64;
        buffer.clear();
        self.turn.counters.relayed_bytes.add(relayed_bytes);
        match flush {
            Flush::Failed => return Some((partner, CloseReason::Reset)),
            Flush::NoRoom => return Some((key, CloseReason::Overload)),
            Flush::All | Flush::Waiting => {}
        }
        let conn = self.table.get_mut(key)?;
        if self.cold.has_access() {
            self.cold.note_received(conn.cold, Traffic { messages: 0, bytes: relayed_bytes });
        }
        if is_full && conn.flags.raise(Flags::PAUSED_BY_PARTNER) {
            self.turn.counters.reading_paused.add(1);
        }
        None
    }

    /// A connection's queue was written to: its partner may be read again, and what ends can end.
    pub(in crate::conn) fn flushed(&mut self, key: ConnKey) -> Abort {
        let high_bytes = self.turn.settings.backlog_high_bytes;
        let conn = self.table.get_mut(key)?;
        if conn.flags.has(Flags::INPUT_ENDED) {
            conn.seen = self.turn.tick;
        }
        let has_room = conn.queue.bytes() < high_bytes / 2;
        let ends = conn.flags.has(Flags::ENDS_OUTPUT) && conn.is_flushed();
        if has_room && let Some(partner) = self.partner(key) {
            self.resume(partner);
        }
        if ends { self.end_half(key) } else { None }
    }

    /// The peer of a connection has ended its half: its partner's half ends as well, once what waits
    /// for it is written.
    pub(in crate::conn) fn input_ended(&mut self, key: ConnKey) -> Abort {
        if let Some(conn) = self.table.get_mut(key) {
            // The other half has this long to end as well.
            conn.seen = self.turn.tick;
            conn.rearm();
        }
        let Some(partner) = self.partner(key) else { return Some((key, CloseReason::Gone)) };
        let conn = self.table.get_mut(partner)?;
        conn.flags.set(Flags::ENDS_OUTPUT);
        if conn.is_flushed() { self.end_half(partner) } else { None }
    }

    /// A connection is read again, if it was its partner that held it up.
    pub(in crate::conn) fn resume(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        // One that has broken a rule stays unread until its end.
        if conn.flags.has(Flags::PAUSED_BY_PARTNER)
            && self.cold.relays().sent_off(conn.link).is_none()
        {
            conn.flags.clear(Flags::PAUSED_BY_PARTNER);
            self.run_queue.push(conn, key);
        }
    }

    fn end_half(&mut self, key: ConnKey) -> Abort {
        // Each half ends by itself; with both ended the relay is over.
        let is_over = |conn: &Conn<S>| {
            conn.flags.has(Flags::INPUT_ENDED) && !conn.flags.has(Flags::ENDS_OUTPUT)
        };
        let is_last = self.partner(key).and_then(|own| self.table.get(own)).is_some_and(is_over);
        let conn = self.table.get_mut(key)?;
        let stream = self.cold.stream(&mut conn.socket, conn.cold, self.turn);
        if is_last && conn.flags.has(Flags::INPUT_ENDED) && stream::ends_by_closing(&stream) {
            conn.flags.clear(Flags::ENDS_OUTPUT);
            return Some((key, CloseReason::Gone));
        }
        match stream::finish(stream) {
            Ok(true) => conn.flags.clear(Flags::ENDS_OUTPUT),
            Ok(false) => {
                // The notice of the end waits for room, which leads here again.
                self.output.block_unsent(conn, key, self.cold, self.turn);
                return None;
            }
            Err(_) => return Some((key, CloseReason::Reset)),
        }
        let partner = self.partner(key)?;
        let both = [self.table.get(key)?, self.table.get(partner)?];
        both.into_iter().all(is_over).then_some((key, CloseReason::Gone))
    }
}
