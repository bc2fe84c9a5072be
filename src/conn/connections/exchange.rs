//! Requests that upgrade nothing, as they go through the phases of their two connections.

use super::Connections;
use crate::conn::flags::Flags;
use crate::conn::receive::Outcome;
use crate::conn::relay::{Passed, ReplyStart};
use crate::conn::slot::Protocol;
use crate::conn::state::Phase;
use crate::effects::CloseReason;
use crate::http::Rejection;
use crate::key::{ConnKey, SlotRef};
use crate::pool::ReadBuffer;
use crate::transport::Transport;

impl<S: Transport> Connections<S> {
    /// The head of a client's request is out: the body follows, if there is one.
    pub(super) fn begin_exchange(&mut self, client: ConnKey) {
        let Some(at) = self.at(client) else { return };
        let exchange = at.cold.relays().exchange(at.conn.link);
        let has_body = exchange.is_some_and(|own| !own.request.is_done());
        at.conn.flags.clear(Flags::UNDECIDED);
        at.schedule.half_open.leave(&mut at.conn.flags);
        if !at.conn.state.exchange() {
            return;
        }
        at.conn.seen = at.turn.tick;
        if !has_body {
            // What follows is another request.
            at.conn.flags.set(Flags::PAUSED_BY_PARTNER);
        } else if !at.conn.partial.is_none() {
            // What came behind the head has given its edge.
            at.conn.flags.set(Flags::UNDECODED);
        }
        at.conn.rearm();
        at.schedule.run_queue.push(at.conn, client);
        self.arm_if_asked(client);
    }

    /// A client has sent more of the body of its request.
    pub(super) fn forward_request(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let Some(conn) = self.table.get(key) else { return buffer.clear() };
        if conn.state.phase() != Phase::Exchanging {
            return buffer.clear();
        }
        let has_reply =
            self.cold.relays().exchange(conn.link).map(|own| (own.has_reply(), own.terms));
        let passed = self.relay().pass_request(key, buffer);
        let (has_reply, terms) = match has_reply {
            Some((has_reply, terms)) => (has_reply, Some(terms)),
            None => (true, None),
        };
        match passed {
            Passed::More | Passed::Whole => {
                if let Some(backend) = self.relay().partner(key) {
                    self.arm_if_asked(backend);
                }
            }
            Passed::Abort(other, reason) => self.abort(other, reason),
            Passed::Broken(error) => {
                self.turn.counters.http_refused.add(1);
                let rejection = Rejection::bad_request(error.to_string());
                self.refuse_body(key, &rejection, has_reply);
            }
            Passed::TooLong => {
                self.turn.counters.http_refused.add(1);
                let bytes_max = terms.map_or(0, |terms| terms.options.body_bytes_max);
                self.refuse_body(key, &Rejection::content_too_large(bytes_max), has_reply);
            }
            // Its backend is gone, which it is told at the end of the turn.
            Passed::Cut => buffer.clear(),
        }
        self.arm_if_asked(key);
    }

    /// The body of a request cannot be passed on. Where the reply has begun there is nothing left to say.
    fn refuse_body(&mut self, key: ConnKey, rejection: &Rejection, has_reply: bool) {
        if has_reply {
            return self.abort(key, CloseReason::Gone);
        }
        let Some(mut at) = self.at(key) else { return };
        let outcome = at.reject(rejection, false);
        self.act(key, outcome);
    }

    /// A backend has sent more of its reply.
    pub(super) fn forward_reply(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let Some(phase) = self.table.get(key).map(|conn| conn.state.phase()) else {
            return buffer.clear();
        };
        let client = self.relay().partner(key);
        if phase == Phase::Reaching {
            let is_draining = self.population.is_draining();
            match self.relay().begin_reply(key, buffer, is_draining) {
                ReplyStart::Begun => {}
                ReplyStart::NeedMore => return,
                ReplyStart::NoReply => {
                    self.output.outgoing().clear();
                    buffer.clear();
                    return self.abort(key, CloseReason::Gone);
                }
                ReplyStart::Abort(other, reason) => {
                    buffer.clear();
                    return self.abort(other, reason);
                }
            }
        } else if phase != Phase::Exchanging {
            return buffer.clear();
        }
        let passed = self.relay().pass_reply(key, buffer);
        match (passed, client) {
            (Passed::More, _) => self.arm_if_asked(key),
            (Passed::Whole, Some(client)) => self.end_exchange(client, key),
            (Passed::Abort(other, reason), _) => self.abort(other, reason),
            (Passed::Broken(_) | Passed::Cut | Passed::TooLong | Passed::Whole, _) => {
                self.turn.counters.http_cut.add(1);
                self.abort(key, CloseReason::Gone);
            }
        }
        if let Some(client) = client {
            self.arm_if_asked(client);
        }
    }

    /// The reply is over: the backend's connection goes, and the client's waits for another request, or
    /// ends behind what waits for it.
    fn end_exchange(&mut self, client: ConnKey, backend: ConnKey) {
        let Some(link) = self.table.get(client).map(|conn| conn.link) else { return };
        let exchange = self.cold.relays().exchange(link);
        let goes_on = exchange.is_some_and(|own| own.goes_on()) && !self.population.is_draining();
        let listener = exchange.map_or(0, |own| own.listener);
        for key in [backend, client] {
            self.cold.relays_mut().part(link, key, &mut self.turn.memory);
            if let Some(conn) = self.table.get_mut(key) {
                conn.link = SlotRef::NONE;
            }
        }
        self.abort(backend, CloseReason::Gone);
        if goes_on && self.may_go_on(client) {
            self.await_request(client, listener);
        } else {
            self.finish(client, CloseReason::Gone);
        }
    }

    /// Whether what the next request says of its client can take the place of what this one has said. Only
    /// a connection of a proxy that was named by the PROXY protocol before keeps what it cannot know again.
    fn may_go_on(&mut self, client: ConnKey) -> bool {
        self.at(client).is_some_and(|mut at| at.forget_client())
    }

    /// Another request may follow on a client's connection.
    fn await_request(&mut self, client: ConnKey, listener: u8) {
        if self.cold.has_access() {
            self.tell_access(client, CloseReason::Gone);
        }
        let now = self.turn.now;
        let high_bytes = self.turn.settings.backlog_high_bytes;
        while self.schedule.half_open.count() >= self.turn.settings.half_open_max
            && let Some(oldest) = self.schedule.half_open.oldest(&mut self.table)
        {
            self.turn.counters.half_open_dropped.add(1);
            self.abort(oldest, CloseReason::Gone);
        }
        let Some(at) = self.at(client) else { return };
        if !at.conn.state.await_request() {
            return;
        }
        at.cold.renew_access(at.conn.cold, now);
        at.cold.release_identity(&mut at.conn.cold, at.turn.stream());
        at.conn.flags.clear(Flags::PAUSED_BY_PARTNER);
        if at.conn.queue.bytes() > high_bytes {
            // What waits is not added to without end.
            at.conn.flags.set(Flags::PAUSED_BY_BACKLOG);
        }
        if !at.conn.partial.is_none() {
            at.conn.flags.set(Flags::UNDECODED);
        }
        (at.conn.protocol, at.conn.route) = (Protocol::HttpNext, listener);
        at.conn.seen = at.turn.tick;
        at.conn.rearm();
        self.schedule.half_open.add(&mut self.table, client);
        self.run_later(client);
        self.arm_if_asked(client);
    }

    /// More of an exchange is due, and has not come.
    pub(super) fn exchange_due(&mut self, key: ConnKey, is_stalled: bool) {
        let Some(conn) = self.table.get(key) else { return };
        let is_backend = conn.protocol.is_backend();
        if is_stalled {
            return self.abort(key, CloseReason::Stalled);
        }
        if is_backend {
            self.turn.counters.relay_timed_out.add(1);
            self.turn.counters.http_cut.add(1);
            return self.abort(key, CloseReason::Gone);
        }
        self.turn.counters.http_unfinished.add(1);
        self.abort(key, CloseReason::Unfinished);
    }

    /// There is no memory for what an end of an exchange needs.
    pub(super) fn exchange_overloaded(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else { return };
        let has_reply = self.cold.relays().exchange(conn.link).is_none_or(|own| own.has_reply());
        if conn.protocol.is_backend() || has_reply {
            return self.abort(key, CloseReason::Overload);
        }
        let Some(mut at) = self.at(key) else { return };
        let outcome: Outcome = at.refuse_without_memory();
        self.act(key, outcome);
    }

    /// The gateway goes away: what is under way ends, and nothing follows it.
    pub(super) fn end_after_exchange(&mut self, key: ConnKey) {
        let Some(link) = self.table.get(key).map(|conn| conn.link) else { return };
        if let Some(exchange) = self.cold.relays_mut().exchange_mut(link) {
            exchange.keeps = false;
        }
    }
}
