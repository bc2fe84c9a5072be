//! One connection while something is done for it: its slot, looked up once, and the owners that a
//! step may use. What a step cannot do by itself, because it concerns other connections or ends
//! this one, it gives back as an [`Outcome`](super::receive::Outcome) for the driver.

use super::cold::ColdRecords;
use super::flags::Flags;
use super::inspect::Viewer;
use super::observed::tell_observer;
use super::population::Population;
use super::receive::Input;
use super::schedule::{RunQueue, Schedule};
use super::send::Output;
use super::services::Services;
use super::slot::{Conn, Protocol};
use super::traces::SentMessage;
use super::turn::Turn;
use crate::access::Traffic;
use crate::effects::{CloseReason, Effects, Peer};
use crate::key::ConnKey;
use crate::output::{OutgoingMessage, messages};
use crate::pool::ReadBuffer;
use crate::transport::Transport;
use crate::work::prices;

/// A connection and the owners.
#[derive(Debug)]
pub(super) struct Active<'c, S> {
    pub(super) key: ConnKey,
    pub(super) conn: &'c mut Conn<S>,
    pub(super) cold: &'c mut ColdRecords,
    pub(super) input: &'c mut Input,
    pub(super) output: &'c mut Output,
    pub(super) services: &'c mut Services,
    pub(super) schedule: &'c mut Schedule,
    pub(super) population: &'c mut Population,
    pub(super) turn: &'c mut Turn,
}

impl<S: Transport> Active<'_, S> {
    /// The connection as services know it.
    #[inline]
    pub(super) fn peer(&self) -> Peer {
        Peer { loop_index: self.services.loop_index(), key: self.key }
    }

    /// Writes what was gathered for this connection; the rest joins its queue. `buffer` is the read
    /// buffer that the output may refer to.
    #[inline]
    pub(super) fn flush_outgoing(
        &mut self,
        buffer: Option<&mut ReadBuffer>,
    ) -> Result<(), CloseReason> {
        if self.output.has_nothing_gathered() {
            return Ok(());
        }
        if self.cold.has_access() {
            self.note_outgoing();
        }
        if self.turn.traces.is_on() {
            self.trace_gathered(buffer.as_deref());
        }
        let (conn, cold, turn) = (&mut *self.conn, &mut *self.cold, &mut *self.turn);
        let flush = self.output.flush_gathered(conn, self.key, cold, buffer, turn);
        if let Some(reason) = flush.abort_reason() {
            return Err(reason);
        }
        let high_bytes = self.turn.settings.backlog_high_bytes;
        resume_reading(self.conn, self.key, &mut self.schedule.run_queue, high_bytes);
        Ok(())
    }

    /// The access log counts what was gathered. Out of line, as most gateways have no such log.
    #[cold]
    #[inline(never)]
    fn note_outgoing(&mut self) {
        if self.conn.state.is_open() {
            let (messages, bytes) = self.output.outgoing().traffic();
            self.cold.note_sent(self.conn.cold, Traffic { messages, bytes });
        }
    }

    /// Has the connection followed by the traces that it fits.
    #[cold]
    pub(super) fn consider_traces(&mut self) {
        let mut traces = self.turn.traces.take();
        let mut viewer = Viewer::new(self.cold, self.services, self.turn);
        viewer.consider(&mut traces, self.key, self.conn);
        self.turn.traces = traces;
    }

    /// Whether the connection is followed, by traces of names as well, which its service may know only
    /// since its last message.
    #[cold]
    pub(super) fn is_followed(&mut self) -> bool {
        if !self.turn.traces.follows(self.key) && self.turn.traces.follows_names() {
            self.consider_traces();
        }
        self.turn.traces.follows(self.key)
    }

    /// Tells those who follow the connection which messages are gathered for it.
    #[cold]
    fn trace_gathered(&mut self, buffer: Option<&ReadBuffer>) {
        if !self.turn.traces.follows(self.key) {
            return;
        }
        let read = buffer.map_or(&[][..], |buffer| &buffer.bytes);
        let bytes = self.output.outgoing().gathered(read);
        let (peer, unix_ms) = (self.peer(), self.turn.unix_ms());
        for message in messages(&bytes, self.conn.protocol == Protocol::Line) {
            let OutgoingMessage { is_text, is_compressed, payload } = message;
            let shown = if is_compressed { &[] } else { payload };
            let message = SentMessage { is_text, bytes: payload.len(), payload: shown };
            self.turn.work.charge(prices::EFFECT);
            self.turn.traces.sent(peer, unix_ms, &message);
        }
    }

    /// Puts the connection into the run queue: what has arrived gave its edge already.
    #[inline]
    pub(super) fn run_later(&mut self) {
        self.schedule.run_queue.push(self.conn, self.key);
    }

    /// The connection is admitted to the route with this number; what the upgrade is answered
    /// stands in the output.
    pub(super) fn open(&mut self, route: u8) {
        self.schedule.half_open.leave(&mut self.conn.flags);
        // The state refuses only a connection that has ended. Requests and decisions look at that
        // before they come here.
        if !self.conn.state.open() {
            return;
        }
        self.conn.route = route;
        if self.conn.protocol == Protocol::Http {
            // A line client keeps its protocol, which it has had since it was accepted.
            self.conn.protocol = Protocol::WebSocket;
        }
        self.conn.seen = self.turn.tick;
        // A ping may be due before the deadline of the handshake that is filed.
        self.conn.rearm();
        self.population.opened();
        if self.turn.traces.is_on() {
            self.consider_traces();
        }
        let peer = self.peer();
        let told = (&*self.cold, &*self.services, &*self.turn);
        tell_observer((peer, &*self.conn), told, |own, client| own.connected(client));
        let (own, pending) = self.services.route(route);
        if !own.wants_addresses {
            self.cold.release_address(&mut self.conn.cold, self.turn.stream());
        }
        if own.options.limits.message_idle_ms.is_some() {
            // Without room for it, the time begins with the first message.
            let (now, memory) = (self.turn.now, &mut self.turn.memory);
            let _ = self.cold.remember_rate(&mut self.conn.cold, now, memory);
        }
        // Behind the 101 in the same output, so that what the service says first goes out in the
        // same write.
        let framing = self.conn.framing(own.options.deflate, self.key.index);
        let outgoing = self.output.outgoing();
        outgoing.set_framing(framing);
        own.service.on_open(peer, &mut Effects::on(route, peer, None, outgoing, pending));
        own.counters.opened.add(1);
        outgoing.count_messages(&own.counters);
    }
}

/// Reading goes on once the peer has taken half of what had it paused.
#[inline]
pub(super) fn resume_reading<S>(
    conn: &mut Conn<S>,
    key: ConnKey,
    run_queue: &mut RunQueue,
    high_bytes: usize,
) {
    if conn.flags.has(Flags::PAUSED_BY_BACKLOG) && conn.queue.bytes() < high_bytes / 2 {
        conn.flags.clear(Flags::PAUSED_BY_BACKLOG);
        // The pause had excused it from answering pings, so its silence counts again. What arrived
        // meanwhile gave its edge.
        conn.rearm();
        run_queue.push(conn, key);
    }
}
