//! How connections end, and what time does to them.
//!
//! Orderly ends (the peer's close frame, a service, a shutdown) first send what was queued before;
//! failing ends (a broken rule, a backlog over its mark) drop all but the frame that is already in
//! part on the wire. Then comes the close frame. A peer that sent its own has no more to say (RFC
//! 6455 §5.5.1): if nothing came behind it, the socket is closed at once. With others our half ends,
//! and whatever they still send is read and thrown away until their end: closing earlier would reset
//! the connection, and our last bytes would be lost on the way (RFC 6455 §7.1.1, RFC 9112 §9.6).

use std::sync::Arc;

use super::{ClosesSent, Connections};
use crate::conn::access::AccessEnd;
use crate::conn::active::{Active, resume_reading};
use crate::conn::deadline::{aged_at, is_last_answer, looked_at, message_due, stalled_at};
use crate::conn::flags::Flags;
use crate::conn::observed::tell_observer;
use crate::conn::receive::{Outcome, Unfinished};
use crate::conn::relay::{
    Abort, Answered, Forwarding, PartnerClose, Passed, Relay, ReplyStart, SentOff,
};
use crate::conn::send::Flush;
use crate::conn::services::Decision;
use crate::conn::slot::{Conn, Protocol};
use crate::conn::state::Phase;
use crate::effects::{Accept, CloseReason, IdentityOutcome, Peer, RelayMode};
use crate::http::Rejection;
use crate::key::{ConnKey, SlotRef};
use crate::line::write_line;
use crate::mail::{LoopMessage, LoopMessageKind};
use crate::output::Framing;
use crate::pool::{OverBudget, ReadBuffer};
use crate::services::SocketRoute;
use crate::shrink::Shrink as _;
use crate::stream;
use crate::timer::{Tick, WallTime};
use crate::transport::Transport;
use crate::work::{Phase as WorkPhase, prices};
use crate::ws::{
    CloseCode, CloseRequest, Opcode, ServerHeader, Violation, encode_close, mask_control_frame,
};

impl<S: Transport> Connections<S> {
    /// Answers the peer's close frame with its own code (RFC 6455 §5.5.1).
    pub(super) fn answer_close(&mut self, key: ConnKey, code: Option<CloseCode>) {
        if let Some(conn) = self.table.get_mut(key) {
            // Before `finish`: it decides what happens after the last byte, which may be written
            // there already.
            conn.flags.set(Flags::CLOSE_RECEIVED);
        }
        self.write_close(key, code, "");
        self.finish(key, CloseReason::Peer(code));
    }

    /// A service wants the connection closed.
    pub(super) fn close_for_service(&mut self, key: ConnKey, request: &CloseRequest) {
        if !self.close_open(key, request, CloseReason::Service(request.code)) {
            self.turn.counters.effects_ignored.add(1);
        }
    }

    /// Closes a connection behind all that it was sent before; whether it is there and was open.
    pub(super) fn close_open(
        &mut self,
        key: ConnKey,
        request: &CloseRequest,
        reason: CloseReason,
    ) -> bool {
        self.catch_up(key);
        if !self.table.get(key).is_some_and(|conn| conn.state.is_open()) {
            return false;
        }
        self.write_close(key, Some(request.code), &request.reason);
        self.finish(key, reason);
        true
    }

    /// A service said whether to let in who was waiting: the request is answered as if it had come
    /// only now.
    pub(super) fn decide(&mut self, key: ConnKey, decision: Result<Accept, Rejection>) {
        let is_draining = self.population.is_draining();
        // Who waits for a backend has been decided on.
        let waits = |at: &Active<'_, S>| {
            at.conn.flags.has(Flags::UNDECIDED)
                && !matches!(at.conn.protocol, Protocol::Exchange | Protocol::Relay)
                && at.cold.asked_identity(at.conn.cold).is_none()
        };
        let Some(mut at) = self.at(key).filter(waits) else {
            self.turn.counters.effects_ignored.add(1);
            return;
        };
        if is_draining {
            // Its service hears that nothing comes of it.
            let outcome = at.refuse_draining(false);
            return self.act(key, outcome);
        }
        at.conn.flags.clear(Flags::UNDECIDED);
        if at.conn.protocol == Protocol::Line {
            let outcome = match decision {
                Ok(_) => at.open_line(),
                Err(rejection) => Some(at.reject_by_service(&rejection)),
            };
            at.run_later();
            return self.proceed(key, outcome);
        }
        self.answer_again(key, Decision::Service(decision));
    }

    /// A check has answered who is waiting: its service is asked as if the request had come only now.
    pub(super) fn identified(&mut self, key: ConnKey, outcome: IdentityOutcome) {
        let is_draining = self.population.is_draining();
        let waiting = self.at(key).filter(|at| {
            at.conn.flags.has(Flags::UNDECIDED) && at.cold.asked_identity(at.conn.cold).is_some()
        });
        let Some(mut at) = waiting else {
            self.turn.counters.effects_ignored.add(1);
            return;
        };
        at.conn.flags.clear(Flags::UNDECIDED);
        if is_draining {
            let outcome = at.refuse_draining(false);
            return self.act(key, outcome);
        }
        let listener = at.cold.asked_listener(at.conn.cold).unwrap_or_default();
        if let Err(outcome) = at.settle_identity(outcome) {
            return self.act(key, outcome);
        }
        if at.conn.protocol == Protocol::Line {
            let outcome = at.admit_line(at.conn.route);
            at.run_later();
            self.proceed(key, outcome);
            return self.apply_effects();
        }
        self.answer_again(key, Decision::Identified { listener });
    }

    /// Answers a request that waited for a decision.
    fn answer_again(&mut self, key: ConnKey, decision: Decision) {
        let Some(mut at) = self.at(key) else { return };
        if at.conn.partial.is_none() {
            return;
        }
        let buffer = at.input.lend(at.conn.partial);
        at.run_later();
        // The head is parsed again, where it lies: keeping what was parsed would cost every waiting
        // connection more than a second parse costs the few that are let in.
        self.services.set_decision(Some(decision));
        // Reads are left to the run queue.
        self.resume(key, Unfinished::undecided(buffer), 0);
        // Not left for another request, should this one have ended before it was asked for.
        self.services.set_decision(None);
    }

    /// Whether a connection is open on a route that is told first in a drain.
    fn is_told_first(&self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get(key) else { return false };
        let is_open = conn.state.phase() == Phase::Open && !conn.protocol.is_backend();
        is_open && self.services.socket(conn.route).is_some_and(|own| own.options.is_told_first)
    }

    /// Tells the next connections after `cursor`, at most `count`, that the gateway goes away. With `is_first`
    /// only those that are open on routes that are told first. Those in their handshake are refused, or passed
    /// over if it `spares_handshakes`.
    pub fn send_closes(
        &mut self,
        cursor: u32,
        count: usize,
        (is_first, spares_handshakes): (bool, bool),
    ) -> ClosesSent {
        let (mut told, mut has_skipped) = (0, false);
        for index in cursor..self.table.slots_end() {
            if told == count {
                return ClosesSent { next: Some(index), told, has_skipped };
            }
            let Some(key) = self.table.key_of(index) else { continue };
            if is_first && !self.is_told_first(key) {
                continue;
            }
            self.catch_up(key);
            let Some(mut at) = self.at(key) else { continue };
            match at.conn.state.phase() {
                // It ends with its client.
                Phase::Open if at.conn.protocol.is_backend() => {}
                Phase::Open => {
                    told += 1;
                    let number = at.conn.route;
                    let route = self.services.socket(number);
                    let code = route.map_or(CloseCode::GOING_AWAY, |own| own.options.drain_code);
                    self.write_close(key, Some(code), "shutting down");
                    self.finish(key, CloseReason::Drained);
                }
                // It ends with its client's, behind the reply that is under way.
                Phase::Exchanging if at.conn.protocol.is_backend() => {}
                Phase::Exchanging => {
                    told += 1;
                    self.end_after_exchange(key);
                }
                Phase::Handshake if at.conn.protocol == Protocol::HttpNext => {
                    told += 1;
                    self.finish(key, CloseReason::Drained);
                }
                Phase::Handshake if spares_handshakes => has_skipped = true,
                Phase::Handshake if at.cold.is_silent(at.conn.cold) => {
                    told += 1;
                    self.abort(key, CloseReason::Gone);
                }
                Phase::Handshake => {
                    told += 1;
                    let outcome = at.refuse_draining(false);
                    self.act(key, outcome);
                }
                // Those over the limit are told 503 within `refuse_ms` anyway, and a connection to a
                // backend ends with its client.
                Phase::Reaching
                | Phase::Refusing
                | Phase::Closing
                | Phase::Lingering
                | Phase::Dead => {}
            }
        }
        ClosesSent { next: None, told, has_skipped }
    }

    /// The peer did something for which the connection must end.
    pub(super) fn fail(&mut self, key: ConnKey, code: CloseCode, text: &str, reason: CloseReason) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| !conn.state.is_ending()) else {
            return;
        };
        if conn.protocol.passes_bytes() {
            // It could be told nothing, and what waits for it is not made of frames to choose from.
            return self.abort(key, reason);
        }
        // Otherwise a peer that reads nothing would get its close frame only behind all that it did
        // not read.
        self.output.discard_unstarted(conn, &mut self.turn);
        self.write_close(key, Some(code), text);
        self.finish(key, reason);
    }

    /// The last that an open connection is told: a close frame, or its reason as a line.
    fn write_close(&mut self, key: ConnKey, code: Option<CloseCode>, reason: &str) {
        let Some(conn) = self.table.get(key) else { return };
        let cork = self.output.outgoing().cork();
        match conn.protocol {
            // It has had its close frame.
            Protocol::FrameBackend if is_last_answer(conn, &self.cold) => {}
            Protocol::FrameRelay | Protocol::Http | Protocol::HttpNext | Protocol::WebSocket => {
                encode_close(code, reason, cork);
            }
            Protocol::FrameBackend => {
                // Without a key to mask it with, it ends without a close frame.
                let Some(mask_key) = self.mask_keys.next() else { return };
                let frame_at = cork.len();
                encode_close(code, reason, cork);
                mask_control_frame(cork, frame_at, mask_key);
            }
            Protocol::Line if code.is_some() => write_line(reason.as_bytes(), cork),
            // The ends of a relay of bytes, and of plain HTTP, are those of its sockets.
            Protocol::Backend
            | Protocol::Exchange
            | Protocol::ExchangeBackend
            | Protocol::Line
            | Protocol::Proxied(_)
            | Protocol::Relay => {}
        }
    }

    /// There is no memory for what the connection needs.
    pub(super) fn overloaded(&mut self, key: ConnKey) {
        // So that the next finds some.
        self.turn.memory.want();
        let Some(mut at) = self.at(key) else { return };
        match at.conn.state.phase() {
            Phase::Open => {
                let code = CloseCode::TRY_AGAIN_LATER;
                self.fail(key, code, "memory is used up", CloseReason::Overload);
            }
            Phase::Handshake => {
                let outcome = at.refuse_without_memory();
                self.act(key, outcome);
            }
            Phase::Refusing => {
                let outcome = at.refuse_at_limit(false);
                self.act(key, outcome);
            }
            Phase::Reaching => self.abort(key, CloseReason::Overload),
            Phase::Exchanging => self.exchange_overloaded(key),
            Phase::Closing | Phase::Dead | Phase::Lingering => {}
        }
    }

    /// Ends large holders while the pool is short, and asks the loop that has larger ones. It happens
    /// at the end of a turn and never inside an allocation, which would end connections that are being
    /// walked.
    #[inline]
    pub(super) fn evict_if_scarce(&mut self) {
        if self.output.has_grown() {
            self.weigh_grown();
        }
        self.is_evicting = false;
        if self.turn.memory.is_scarce() {
            self.evict();
        }
    }

    #[inline(never)]
    fn weigh_grown(&mut self) {
        while let Some(key) = self.output.next_grown() {
            self.weigh(key);
        }
    }

    #[cold]
    fn evict(&mut self) {
        // One that waits for memory is served by one that goes, even where the pool is not scarce.
        let mut is_wanted = self.turn.memory.take_wanted();
        for _ in 0..EVICTIONS_PER_TURN {
            // What is free, or charged and not held, helps no other loop.
            self.turn.memory.release_free();
            let _ = self.output.settle(&mut self.turn.memory);
            if !is_wanted && !self.turn.memory.is_scarce() {
                return;
            }
            let holders = self.turn.memory.holders();
            if holders.is_heavier_elsewhere() {
                return self.ask_for_room();
            }
            // One holder alone may have what it needs: a pool may be just large enough for one message
            // of the largest size.
            if holders.is_alone() && !is_wanted {
                return;
            }
            let Some(key) = holders.heaviest() else { return };
            self.weigh(key);
            // What waited for it may have been sent meanwhile.
            if self.turn.memory.holders().heaviest() == Some(key) {
                self.evict_one(key);
                is_wanted = false;
            }
        }
        self.is_evicting = true;
    }

    /// Memory of the process is short, whatever the pool has left: ends connections that hold the most, at
    /// most `count`.
    #[cold]
    pub fn cut_heaviest(&mut self, count: usize) {
        for _ in 0..count.min(EVICTIONS_PER_TURN) {
            let Some(key) = self.turn.memory.holders().heaviest() else { return };
            self.weigh(key);
            // What waited for it may have been sent meanwhile.
            if self.turn.memory.holders().heaviest() == Some(key) {
                self.evict_one(key);
            }
        }
    }

    fn evict_one(&mut self, key: ConnKey) {
        let phase = self.table.get(key).map(|conn| conn.state.phase());
        match phase {
            Some(Phase::Open) => {
                let (code, text) =
                    (CloseCode::TRY_AGAIN_LATER, "memory is short, and it held most");
                self.fail(key, code, text, CloseReason::Evicted);
            }
            Some(Phase::Exchanging | Phase::Handshake | Phase::Refusing) => self.overloaded(key),
            Some(Phase::Reaching | Phase::Closing | Phase::Lingering | Phase::Dead) => {
                self.abort(key, CloseReason::Evicted);
            }
            None => {}
        }
        // Whatever is left is its last words.
        self.turn.memory.holders().remove(key.index);
    }

    /// Another loop has a larger holder, and may be asleep.
    fn ask_for_room(&mut self) {
        if self.asked == self.turn.tick {
            return;
        }
        self.asked = self.turn.tick;
        let own = self.services.loop_index();
        for other in (0..self.services.loop_count()).filter(|other| *other != own) {
            self.mail.send(other, LoopMessage(LoopMessageKind::MakeRoom));
        }
    }

    /// Notes what a connection holds.
    pub(super) fn weigh(&mut self, key: ConnKey) {
        let tick = self.turn.tick;
        let holders = self.turn.memory.holders();
        match self.table.get(key) {
            Some(conn) if conn.state.phase() != Phase::Dead => {
                holders.set_input(key, self.input.partial_bytes(conn.partial), tick);
                holders.set_output(key, conn.queue.bytes(), tick);
                holders.set_records(key, self.cold.waiting_bytes(conn.cold), tick);
            }
            _ => {}
        }
    }

    /// What stands in the output, if anything, is the last that the connection will be sent.
    pub(super) fn finish(&mut self, key: ConnKey, reason: CloseReason) {
        let is_ending = self.table.get(key).is_none_or(|conn| conn.state.is_ending());
        if is_ending {
            // Something else ended it first, such as a write that failed on the way here.
            return self.output.outgoing().clear();
        }
        // The service hears of the end before anything is written, so a write that fails cannot
        // give it a second reason.
        self.leave_open(key, reason);
        let Some(mut at) = self.at(key) else { return };
        at.schedule.half_open.leave(&mut at.conn.flags);
        // Nothing is decoded any more. The rest of the connection may last for `close_ms`.
        at.input.release_unless_lent(&mut at.conn.partial, &mut at.turn.memory);
        at.turn.memory.holders().set_input(key, 0, at.turn.tick);
        at.conn.state.close();
        at.conn.seen = at.turn.tick;
        // These are about an open connection. With `UNDECODED` set, `after_read` would ask for
        // decoding that no longer happens, and `PING_UNWRITTEN` would move `seen`, from which
        // `close_ms` counts.
        at.conn.flags.clear(Flags::PAUSED_BY_BACKLOG);
        at.conn.flags.clear(Flags::PAUSED_BY_RATE);
        at.conn.flags.clear(Flags::UNDECODED);
        at.conn.flags.clear(Flags::PINGED);
        at.conn.flags.clear(Flags::PING_UNWRITTEN);
        // No read buffer is passed: what lies in one was written before an outcome was given.
        if let Err(reason) = at.flush_outgoing(None) {
            self.abort(key, reason);
            return self.run_later(key);
        }
        if at.conn.is_flushed() {
            // What waits may be stalled long before the ping that is filed is due.
            self.output_ended(key);
        } else {
            self.arm(key);
        }
        self.run_later(key);
    }

    pub(super) fn run_later(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key) {
            self.schedule.run_queue.push(conn, key);
        }
    }

    /// Our last byte is written.
    pub(super) fn output_ended(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        // Both halves have ended: closing now cannot reset anything (RFC 9112 §9.6).
        if conn.flags.has(Flags::INPUT_ENDED) {
            return self.end_both_halves(key);
        }
        if conn.flags.has(Flags::CLOSE_RECEIVED) {
            conn.state.linger();
            conn.seen = self.turn.tick;
            // Whether all is read that it sent will show when this read is dealt with.
            self.schedule.run_queue.push(conn, key);
            return;
        }
        self.end_our_half(key);
    }

    /// Both close frames are out. If nothing came behind the peer's, that is the end; otherwise it is
    /// treated like those that sent none.
    pub(super) fn end_after_close(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::CLOSE_RECEIVED);
        // Unread bytes would turn the close into a reset (RFC 1122 §4.2.2.13), which may destroy
        // our close frame on its way. They are read and discarded first.
        if conn.flags.has(Flags::INPUT_PENDING) {
            self.end_our_half(key);
        } else {
            self.end_both_halves(key);
        }
    }

    /// Neither has anything more to say, but where the stream has a notice of the end: without it the
    /// peer cannot tell the end from a cut (RFC 8446 §6.1).
    fn end_both_halves(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else { return };
        let has_notice = self.cold.has_cipher(conn.cold);
        if !has_notice || self.finish_stream(key) {
            self.abort(key, CloseReason::Gone);
        }
    }

    fn end_our_half(&mut self, key: ConnKey) {
        if !self.finish_stream(key) {
            return;
        }
        if let Some(conn) = self.table.get_mut(key)
            && conn.state.linger()
        {
            conn.seen = self.turn.tick;
        }
        self.arm(key);
    }

    /// Ends our half; whether that is done. If it waits for room, the edge leads here again.
    fn finish_stream(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get_mut(key) else { return false };
        let stream = self.cold.stream(&mut conn.socket, conn.cold, &mut self.turn);
        match stream::finish(stream) {
            Ok(true) => {
                conn.flags.clear(Flags::UNSENT);
                return true;
            }
            Ok(false) => {
                self.output.block_unsent(conn, key, &mut self.cold, &mut self.turn);
                self.arm(key);
            }
            Err(_) => self.abort(key, CloseReason::Gone),
        }
        false
    }

    /// The peer has said all it will.
    pub(super) fn input_ended(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.set(Flags::INPUT_ENDED);
        conn.flags.clear(Flags::INPUT_PENDING);
        match conn.state.phase() {
            // It has asked all that it wanted to know.
            Phase::Handshake if conn.protocol == Protocol::HttpNext => {
                self.finish(key, CloseReason::Gone);
            }
            Phase::Exchanging => self.abort(key, CloseReason::Gone),
            Phase::Handshake | Phase::Refusing => {
                self.turn.counters.handshakes_abandoned.add(1);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Open if conn.protocol.passes_bytes() => {
                let abort = self.relay().input_ended(key);
                self.abort_relay(abort);
                self.arm_if_asked(key);
            }
            Phase::Open => self.finish(key, CloseReason::Gone),
            // Read with what came before it, which may be a whole reply.
            Phase::Reaching => {}
            // Output may still be on its way out; the end of it finds the flag.
            Phase::Closing | Phase::Dead => {}
            Phase::Lingering => self.abort(key, CloseReason::Gone),
        }
    }

    /// Ends the connection without a further word. The socket is dropped when it is reaped.
    pub(super) fn abort(&mut self, key: ConnKey, reason: CloseReason) {
        self.leave_open(key, reason);
        let Some(conn) = self.table.get_mut(key) else { return };
        if !conn.state.die() {
            return;
        }
        self.schedule.half_open.leave(&mut conn.flags);
        // A dead connection is not written to again.
        conn.flags.clear(Flags::UNSENT);
        self.output.clear(conn, &mut self.turn);
        self.turn.memory.holders().remove(key.index);
        // The wheel's links lie in the slot, so it must be out of the wheel before it is given to
        // another connection.
        self.schedule.wheel.remove(&mut self.table, key.index);
        self.schedule.dead.push_back(key);
    }

    /// Removes dead connections, at most `limit`: each close costs a system call. `freed` is told
    /// of each whether it was one of those over the limit.
    #[inline]
    pub fn reap(&mut self, limit: usize, freed: impl FnMut(bool)) {
        if !self.schedule.dead.is_empty() {
            self.reap_some(limit, freed);
        }
    }

    fn reap_some(&mut self, limit: usize, mut freed: impl FnMut(bool)) {
        for number in 0..limit {
            if number >= REAPS_MIN && self.turn.work.is_over(WorkPhase::End) {
                break;
            }
            let Some(key) = self.schedule.dead.pop_front() else { break };
            self.turn.work.charge(prices::CLOSE);
            if let Some(was_refused) = self.remove(key) {
                freed(was_refused);
            }
        }
        if self.schedule.dead.is_empty() {
            self.schedule.dead.shrink_if_sparse(KEYS_KEPT);
            self.table.shrink();
        }
    }

    /// Takes a dead connection out; whether it was one of those over the limit.
    fn remove(&mut self, key: ConnKey) -> Option<bool> {
        let mut conn = self.table.remove(key)?;
        debug_assert_eq!(conn.state.phase(), Phase::Dead);
        self.turn.memory.holders().remove(key.index);
        self.input.release(&mut conn.partial, &mut self.turn.memory);
        self.cold.release(&mut conn.cold, self.turn.stream());
        self.turn.addresses.release(key.index, self.turn.now);
        let refused = conn.flags.has(Flags::REFUSED);
        if refused {
            self.population.released_refused();
        }
        Some(refused)
    }

    /// Tells the service and the counters, once, that an open connection no longer is, or that one
    /// no longer waits for a decision.
    fn leave_open(&mut self, key: ConnKey, reason: CloseReason) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.protocol.is_relayed() && !conn.link.is_none() {
            self.leave_relay(key, reason);
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.flags.take(Flags::UNDECIDED) {
            match self.cold.asked_identity(conn.cold) {
                Some(check) => check.cancel(Peer { loop_index: self.services.loop_index(), key }),
                None => self.services.cancel_decision(conn.route, key),
            }
        }
        if self.cold.has_access() {
            self.tell_access(key, reason);
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        // Whatever follows must not find it open.
        // `close` makes this happen once: callback, counter and memberships are for the first
        // reason for which the connection ends.
        if !conn.state.is_open() || !conn.state.close() {
            return;
        }
        let route = conn.route;
        self.population.closed();
        if conn.flags.take(Flags::INFLATING) {
            self.input.inflater().drop_waiting(key, &mut self.turn.memory, self.turn.tick);
        }
        if conn.flags.has_contexts() {
            self.input.inflater().forget(key.index, &mut self.turn.memory);
            // Contexts are found by slot: what this connection was sent must not be referred back
            // to by the next one in it.
            self.output.forget_context(key.index);
        }
        // Before the service is told: what it publishes in `on_close` must not go to this
        // connection.
        self.membership.leave_all(conn);
        #[cfg(any(test, feature = "sim"))]
        if self.unpaired == Some(key) {
            self.unpaired = None;
        }
        if conn.protocol.is_backend() {
            // What is told of a relay is told of its client.
            return;
        }
        let peer = Peer { loop_index: self.services.loop_index(), key };
        log::debug!(connection:% = peer; "ended: {reason}");
        if self.turn.traces.is_on() {
            let unix_ms = self.turn.unix_ms();
            self.turn.traces.closed(peer, unix_ms, reason);
        }
        if let Some(conn) = self.table.get(key) {
            let told = (&self.cold, &self.services, &self.turn);
            tell_observer((peer, conn), told, |own, client| own.disconnected(client, reason));
        }
        self.services.call(route, |own, effects| {
            own.counters.closed.add(1);
            own.service.on_close(peer, reason, effects);
        });
        reason.counter(&self.turn.counters).add(1);
    }

    /// Tells the access log that a connection ends. It may be open still: its service knows it.
    #[inline(never)]
    pub(super) fn tell_access(&mut self, key: ConnKey, reason: CloseReason) {
        let Some(conn) = self.table.get(key) else { return };
        let was_open = conn.state.is_open();
        let route = if was_open { Some(conn.route) } else { self.cold.target_route(conn.cold) };
        let route = route.and_then(|number| self.services.socket(number));
        let peer = Peer { loop_index: self.services.loop_index(), key };
        let described = route.filter(|_| was_open).and_then(|own| own.service.describe(peer));
        let identity = self.cold.identity(conn.cold).map(|own| Arc::clone(own.user()));
        let identity = identity.as_deref();
        let end = AccessEnd {
            peer,
            user: identity.or_else(|| described.and_then(|own| own.user)),
            route_path: route.and_then(SocketRoute::name),
            now: self.turn.now,
            reason,
            was_open,
        };
        self.cold.tell_access(conn.cold, end);
    }

    /// An end of a relay leaves it. What is to become of the other is done at the end of the turn: this
    /// one may have its last words in the output.
    fn leave_relay(&mut self, key: ConnKey, reason: CloseReason) {
        let Some(conn) = self.table.get(key) else { return };
        let (phase, link, protocol) = (conn.state.phase(), conn.link, conn.protocol);
        if phase == Phase::Reaching {
            self.relay().lost(key);
        }
        let partner = self.cold.relays_mut().part(link, key, &mut self.turn.memory);
        if let Some(conn) = self.table.get_mut(key) {
            conn.link = SlotRef::NONE;
        }
        let Some(partner) = partner else { return };
        let has_reply = self.cold.relays().exchange(link).is_some_and(|own| own.has_reply());
        let is_waiting = self.table.get(partner).is_some_and(|conn| {
            conn.state.is_handshake() || conn.state.phase() == Phase::Exchanging && !has_reply
        });
        let relays = self.cold.relays_mut();
        match protocol {
            Protocol::Backend | Protocol::ExchangeBackend if is_waiting => relays.want(partner),
            // Not what ended the backend's own connection: the client has done nothing.
            Protocol::Backend | Protocol::ExchangeBackend | Protocol::FrameBackend => {
                relays.note_parted(partner, CloseReason::Backend);
            }
            Protocol::Exchange
            | Protocol::FrameRelay
            | Protocol::Http
            | Protocol::HttpNext
            | Protocol::Line
            | Protocol::Proxied(_)
            | Protocol::Relay
            | Protocol::WebSocket => {
                relays.note_parted(partner, reason);
            }
        }
    }

    /// Ends those whose partner is gone: behind what waits for them, and so that nothing of it is lost. A
    /// server that dies may have thousands of clients, and the turn does not last for all of them.
    pub(super) fn end_parted(&mut self) {
        for number in 0.. {
            if number >= PARTED_MIN && self.turn.work.is_over(WorkPhase::End) {
                return;
            }
            let Some(parted) = self.cold.relays_mut().next_parted() else { return };
            self.turn.work.charge(prices::EFFECT);
            let (key, reason) = (parted.key, parted.reason);
            let Some(conn) = self.table.get(key) else { continue };
            if conn.protocol.passes_frames() && conn.state.is_open() {
                self.part_frames(key, reason, parted.close);
                continue;
            }
            // With nothing unread closing is no reset, and comes behind all that was sent.
            let is_at_rest = conn.is_flushed() && !conn.flags.has(Flags::INPUT_PENDING);
            match conn.state.phase() {
                Phase::Open if !is_at_rest => self.finish(key, reason),
                Phase::Exchanging | Phase::Open | Phase::Reaching => self.abort(key, reason),
                Phase::Handshake
                | Phase::Refusing
                | Phase::Closing
                | Phase::Lingering
                | Phase::Dead => {}
            }
        }
    }

    /// Ends one whose partner is gone with what that has said, or with what says that it is gone: 1001 to a
    /// backend, and 1011 to a client. What a partner cannot say on the wire (RFC 6455 §7.4.1) it has not.
    fn part_frames(&mut self, key: ConnKey, reason: CloseReason, close: PartnerClose) {
        let Some(conn) = self.table.get(key) else { return };
        let is_backend = conn.protocol.is_backend();
        if !is_backend && let Some(own) = self.cold.relays().sent_off(conn.link) {
            return self.end_sent_off(key, own.violation());
        }
        match close {
            PartnerClose::Gone if is_backend => {
                self.write_close(key, Some(CloseCode::GOING_AWAY), "the client is gone");
            }
            PartnerClose::Gone => {
                self.write_close(key, Some(CloseCode::INTERNAL), "the backend is gone");
            }
            PartnerClose::Said(None) => self.write_close(key, None, ""),
            PartnerClose::Said(Some(said)) => self.write_close(key, Some(said.code), &said.reason),
        }
        self.finish(key, reason);
        self.arm_if_asked(key);
    }

    /// What has come from one end of a relay goes to the other; before it is open, it is the reply.
    pub(super) fn forward(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let (phase, protocol) = match self.table.get(key) {
            Some(conn) => (Some(conn.state.phase()), Some(conn.protocol)),
            None => (None, None),
        };
        match protocol {
            Some(Protocol::Exchange) => return self.forward_request(key, buffer),
            Some(Protocol::ExchangeBackend) => return self.forward_reply(key, buffer),
            Some(_) | None => {}
        }
        if phase == Some(Phase::Reaching) && !self.take_reply(key, buffer) {
            return;
        }
        if phase.is_none() || self.table.get(key).is_some_and(|conn| !conn.state.is_open()) {
            return buffer.clear();
        }
        let partner = self.relay().partner(key);
        if self.table.get(key).is_some_and(|conn| conn.protocol.passes_frames()) {
            self.forward_frames(key, buffer);
        } else {
            let abort = self.relay().forward(key, buffer);
            self.abort_relay(abort);
        }
        if let Some(partner) = partner {
            self.arm_if_asked(partner);
        }
    }

    /// As above, of frames.
    fn forward_frames(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let step = self.relay().forward_frames(key, buffer);
        match step {
            Forwarding::Done => {}
            Forwarding::Abort(partner, reason) => self.abort(partner, reason),
            Forwarding::Closed(code, said) => {
                let partner = self.relay().partner(key);
                self.act(key, Outcome::Closed(code));
                if let Some(partner) = partner {
                    self.cold.relays_mut().note_said(partner, said);
                }
            }
            Forwarding::Ends(Outcome::Broken(violation)) => {
                self.relay().note_broken(key, violation);
                if self.send_off(key, violation) {
                    buffer.clear();
                } else {
                    self.act(key, Outcome::Broken(violation));
                }
            }
            Forwarding::Ends(outcome) => self.act(key, outcome),
        }
    }

    /// The client of a relay of frames has broken a rule: nothing more of it is read, and its end waits for
    /// what its backend still answers, for `close_ms` at most. Whether that is so: a backend has nothing to
    /// wait for.
    fn send_off(&mut self, key: ConnKey, violation: Violation) -> bool {
        let is_client = |conn: &&Conn<S>| conn.protocol == Protocol::FrameRelay;
        let Some(link) = self.table.get(key).filter(is_client).map(|conn| conn.link) else {
            return false;
        };
        let Some(backend) = self.relay().partner(key) else { return false };
        self.write_close(backend, Some(CloseCode::GOING_AWAY), "the client is gone");
        let due = self.turn.tick.after_ms(self.turn.settings.close_ms);
        let sent_off = SentOff::new(violation, due);
        let memory = &mut self.turn.memory;
        if self.cold.relays_mut().send_off(link, sent_off, memory) == Err(OverBudget) {
            self.output.outgoing().clear();
            return false;
        }
        if let Some(conn) = self.table.get_mut(key) {
            conn.flags.set(Flags::PAUSED_BY_PARTNER);
            conn.flags.clear(Flags::UNDECODED);
        }
        let Some(mut at) = self.at(backend) else { return true };
        if let Err(reason) = at.flush_outgoing(None) {
            self.abort(backend, reason);
        } else {
            self.arm(backend);
        }
        true
    }

    /// All that its backend had to say to one that has broken a rule has been said.
    fn end_sent_off(&mut self, key: ConnKey, violation: Violation) {
        if let Some(conn) = self.table.get_mut(key) {
            // What it still sends is thrown away, as that of all that end.
            conn.flags.clear(Flags::PAUSED_BY_PARTNER);
        }
        self.write_close(key, Some(violation.close_code()), &violation.to_string());
        self.finish(key, CloseReason::Violation(violation));
        self.arm_if_asked(key);
    }

    /// Takes a backend's reply, as far as it has come; whether the relay is open now.
    fn take_reply(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> bool {
        match self.relay().read_reply(key, buffer) {
            Answered::NeedMore => return false,
            Answered::Switched(client) => return self.open_relay(client, key),
            Answered::Refused(client, code) => {
                if let Some(mut at) = self.at(client) {
                    at.note_refused_relay(code);
                }
                self.finish(client, CloseReason::Gone);
                self.arm_if_asked(client);
            }
            Answered::NoReply => {}
        }
        buffer.clear();
        self.abort(key, CloseReason::Gone);
        false
    }

    /// The backend has switched to WebSocket, and so does the client, to which the reply stands in the
    /// output; whether that has worked.
    fn open_relay(&mut self, client: ConnKey, backend: ConnKey) -> bool {
        let Some(link) = self.table.get(backend).map(|conn| conn.link) else { return false };
        let request = self.cold.relays().attempt(link).map(|attempt| &attempt.request);
        let has_frames = request.is_some_and(|request| request.mode == RelayMode::Frames);
        let deflate = request.and_then(|request| request.deflate);
        self.cold.relays_mut().end_pending(link, &mut self.turn.memory);
        if let Some(conn) = self.table.get_mut(backend)
            && conn.state.open()
        {
            if has_frames {
                conn.protocol = Protocol::FrameBackend;
            }
            conn.seen = self.turn.tick;
            conn.rearm();
            self.population.opened();
        }
        let Some(mut at) = self.at(client) else { return false };
        at.conn.flags.clear(Flags::UNDECIDED);
        if has_frames {
            at.conn.protocol = Protocol::FrameRelay;
        }
        if let Some(deflate) = deflate {
            at.conn.flags.set_deflate(deflate);
            let has_contexts = at.conn.flags.has_contexts();
            at.turn.counters.upgrades_deflate.add(1);
            at.turn.counters.upgrades_takeover.add(u64::from(has_contexts));
        }
        let route = at.conn.route;
        at.open(route);
        if at.services.route(route).0.options.observer.is_none() {
            // Its address has gone to the backend with the request, and is of no more use.
            at.cold.release_address(&mut at.conn.cold, at.turn.stream());
        }
        at.turn.counters.upgrades.add(1);
        if let Err(reason) = at.flush_outgoing(None) {
            self.abort(client, reason);
            return true;
        }
        if !at.conn.partial.is_none() {
            // What came behind the request has given its edge.
            at.conn.flags.set(Flags::UNDECODED);
        }
        at.run_later();
        self.arm_if_asked(client);
        self.arm_if_asked(backend);
        true
    }

    pub(super) fn relay(&mut self) -> Relay<'_, S> {
        Relay {
            table: &mut self.table,
            cold: &mut self.cold,
            output: &mut self.output,
            input: &mut self.input,
            services: &mut self.services,
            mask_keys: &mut self.mask_keys,
            run_queue: &mut self.schedule.run_queue,
            turn: &mut self.turn,
        }
    }

    pub(super) fn abort_relay(&mut self, abort: Abort) {
        if let Some((key, reason)) = abort {
            self.abort(key, reason);
        }
    }

    /// Files a connection's deadline if it is nearer than what is filed. One that lies further
    /// ahead needs nothing: the filed one comes out early and is filed again.
    pub(super) fn arm(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::REARM);
        let Some(due) = self.deadline_of(key) else { return };
        let Some(conn) = self.table.get(key) else { return };
        // Activity moves a deadline away with every message. Leaving the filed entry where it is
        // makes that free.
        if !conn.timer.is_filed() || due < conn.timer.due() {
            self.schedule.wheel.file(&mut self.table, key.index, due);
        }
    }

    /// Deadlines may be nearer by new settings, and marks higher: what was filed or paused by the old
    /// ones would wait too long.
    pub(super) fn settings_changed(&mut self) {
        let high_bytes = self.turn.settings.backlog_high_bytes;
        for index in 0..self.table.slots_end() {
            let Some(key) = self.table.key_of(index) else { continue };
            if let Some(conn) = self.table.get_mut(key) {
                resume_reading(conn, key, &mut self.schedule.run_queue, high_bytes);
            }
            self.limits_changed(key);
            self.arm(key);
        }
    }

    /// The deadline of a connection that is still there.
    pub(super) fn deadline_of(&self, key: ConnKey) -> Option<Tick> {
        self.deadlines().of(key, self.table.get(key)?)
    }

    /// What a connection may send may be more by new settings, or have no limit any longer.
    fn limits_changed(&mut self, key: ConnKey) {
        self.resume_within_rate(key);
        let has_limits = |conn: &&mut Conn<S>| conn.state.is_open() && !conn.protocol.is_backend();
        let Some(conn) = self.table.get_mut(key).filter(has_limits) else { return };
        let Some(route) = self.services.socket(conn.route) else { return };
        let memory = &mut self.turn.memory;
        if !route.meters_messages {
            self.cold.release_rate(&mut conn.cold, memory);
        } else if route.options.limits.message_idle_ms.is_some() {
            // Without room for it, it begins with the next message.
            let _ = self.cold.remember_rate(&mut conn.cold, self.turn.now, memory);
        }
    }

    /// Reads a connection again that was over a rate and is no longer.
    fn resume_within_rate(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else { return };
        let within = self.deadlines().within_rate_at(key, conn);
        if within.is_none_or(|at| at > self.turn.tick) {
            return;
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::PAUSED_BY_RATE);
        // Its silence counts again, and what arrived meanwhile gave its edge.
        conn.rearm();
        self.schedule.run_queue.push(conn, key);
    }

    /// Whether a message that was begun is not finished in time.
    fn is_unfinished(&self, key: ConnKey) -> bool {
        let settings = &self.turn.settings;
        let conn = self.table.get(key);
        let due = conn.and_then(|conn| message_due(conn, &self.input, &self.cold, settings));
        due.is_some_and(|due| due <= self.turn.tick)
    }

    /// A deadline may have come.
    pub(super) fn timer_fired(&mut self, key: ConnKey) {
        // Before the others: a look at the clock moves its own deadline, and is no reason for a ping.
        if self.is_look_due(key) && self.has_expired(key) {
            self.close_expired(key);
        }
        self.resume_within_rate(key);
        if self.is_due(key) {
            self.recheck(key);
        }
        if self.is_due(key) {
            self.deadline_passed(key);
        }
        if let Some(due) = self.deadline_of(key) {
            self.schedule.wheel.file(&mut self.table, key.index, due);
        }
        // A ping that the socket did not take has asked for that as well.
        if let Some(conn) = self.table.get_mut(key) {
            conn.flags.clear(Flags::REARM);
        }
    }

    /// Whether an open connection has sent no message for too long.
    fn is_message_idle(&self, key: ConnKey) -> bool {
        let conn = self.table.get(key);
        let due = conn.and_then(|conn| self.deadlines().message_idle_at(conn));
        due.is_some_and(|due| due <= self.turn.tick)
    }

    fn is_due(&self, key: ConnKey) -> bool {
        self.deadline_of(key).is_some_and(|due| due <= self.turn.tick)
    }

    fn is_stalled(&self, key: ConnKey) -> bool {
        let stalled_at = self.table.get(key).and_then(|conn| {
            stalled_at(conn, self.output.backlog(), &self.cold, &self.turn.settings)
        });
        stalled_at.is_some_and(|at| at <= self.turn.tick)
    }

    /// Before a connection ends for what it did not do: it may have done so. After a long turn or
    /// a sleep of the machine more events wait than one wait gives.
    fn recheck(&mut self, key: ConnKey) {
        let (is_stalled, is_unfinished) = (self.is_stalled(key), self.is_unfinished(key));
        // Either may have come by now, and lie there to be read.
        let is_awaited = is_unfinished || self.is_message_idle(key);
        let tick = self.turn.tick;
        let Some(conn) = self.table.get_mut(key) else { return };
        match conn.state.phase() {
            // We do not listen, so its silence means nothing.
            Phase::Open if conn.is_unheard() && !is_stalled => {
                conn.seen = tick;
            }
            Phase::Open
                if conn.flags.has(Flags::PAUSED_BY_PARTNER)
                    && conn.protocol.passes_frames()
                    && !is_stalled =>
            {
                conn.seen = tick;
            }
            Phase::Open if !is_stalled && !is_awaited && !conn.flags.has(Flags::PINGED) => {}
            // It goes on when its part of a turn comes.
            Phase::Handshake | Phase::Closing
                if conn.flags.has(Flags::QUEUED) && self.cold.is_handshaking(conn.cold) => {}
            Phase::Open
            | Phase::Exchanging
            | Phase::Handshake
            | Phase::Reaching
            | Phase::Closing
            | Phase::Lingering => {
                // Both, whatever is waited for: the edge may lie in the kernel behind those of one
                // wait (epoll_wait(2)).
                self.flush(key, Flags::WRITE_BLOCKED);
                if let Some(conn) = self.table.get_mut(key) {
                    conn.flags.set(Flags::INPUT_PENDING);
                    self.receive(key);
                }
            }
            Phase::Dead | Phase::Refusing => {}
        }
    }

    fn has_aged(&self, key: ConnKey) -> bool {
        let due = self.table.get(key).and_then(|conn| aged_at(conn, &self.schedule.ages));
        due.is_some_and(|due| due <= self.turn.tick)
    }

    /// An open connection has reached its age: its client comes back, maybe to another gateway.
    fn close_aged(&mut self, key: ConnKey) {
        self.catch_up(key);
        self.write_close(key, Some(CloseCode::GOING_AWAY), "the connection has reached its age");
        self.finish(key, CloseReason::Aged);
    }

    /// Whether the clock on the wall is to be looked at for a connection's identity.
    fn is_look_due(&self, key: ConnKey) -> bool {
        let due = self.table.get(key).and_then(|conn| looked_at(conn, &self.cold));
        due.is_some_and(|due| due <= self.turn.tick)
    }

    /// Whether an open connection's identity no longer holds.
    fn has_expired(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get(key).filter(|conn| conn.state.is_open()) else {
            return false;
        };
        let now = (self.turn.tick, WallTime(self.turn.unix_ms()));
        self.cold.has_expired(conn.cold, now)
    }

    /// The identity of an open connection no longer holds: its client comes back with another credential.
    fn close_expired(&mut self, key: ConnKey) {
        self.catch_up(key);
        let code = CloseReason::Expired.close_code();
        self.write_close(key, code, "the identity has expired");
        self.finish(key, CloseReason::Expired);
    }

    /// A service has moved the date at which the identity of a connection expires.
    pub(super) fn refresh_identity(&mut self, key: ConnKey, expires_at: WallTime) {
        let now = (self.turn.tick, WallTime(self.turn.unix_ms()));
        let conn = self.table.get(key).filter(|conn| conn.state.is_open());
        match conn.is_some_and(|conn| self.cold.refresh_identity(conn.cold, expires_at, now)) {
            true => self.arm(key),
            false => self.turn.counters.effects_ignored.add(1),
        }
    }

    /// An open connection has sent no message for as long as its route allows.
    fn close_message_idle(&mut self, key: ConnKey) {
        self.catch_up(key);
        self.write_close(key, Some(CloseCode::GOING_AWAY), "no message for too long");
        self.finish(key, CloseReason::MessageIdle);
    }

    fn deadline_passed(&mut self, key: ConnKey) {
        let (is_stalled, is_unfinished) = (self.is_stalled(key), self.is_unfinished(key));
        let (has_aged, is_message_idle) = (self.has_aged(key), self.is_message_idle(key));
        let Some(mut at) = self.at(key) else { return };
        match at.conn.state.phase() {
            // More of its request lies there to be read; a head is short, so this ends.
            Phase::Handshake if at.conn.flags.has(Flags::QUEUED) => {}
            Phase::Handshake if at.conn.protocol == Protocol::HttpNext && is_stalled => {
                self.abort(key, CloseReason::Stalled);
            }
            // It has been at rest for long enough.
            Phase::Handshake if at.conn.protocol == Protocol::HttpNext => {
                self.finish(key, CloseReason::Gone);
            }
            Phase::Exchanging if at.conn.flags.has(Flags::QUEUED) => {}
            Phase::Exchanging => self.exchange_due(key, is_stalled),
            Phase::Handshake => {
                self.turn.counters.handshakes_timed_out.add(1);
                self.turn.note_failed_handshake(key);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Refusing => {
                let outcome = match at.population.is_draining() {
                    true => at.refuse_draining(false),
                    false => at.refuse_at_limit(false),
                };
                self.act(key, outcome);
            }
            Phase::Reaching => {
                self.relay().timed_out(key);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Open if is_stalled => self.abort(key, CloseReason::Stalled),
            Phase::Open if is_last_answer(at.conn, at.cold) => self.abort(key, CloseReason::Gone),
            Phase::Open if has_aged => self.close_aged(key),
            // More of it lies there to be read, beyond the connection's share of the turn.
            Phase::Open if is_unfinished && at.conn.flags.has(Flags::QUEUED) => {}
            Phase::Open if is_unfinished => {
                let text = "message not finished in time";
                self.fail(key, CloseCode::POLICY, text, CloseReason::Unfinished);
            }
            Phase::Open if is_message_idle => self.close_message_idle(key),
            // One half has ended, and the other has been silent for long.
            Phase::Open if at.conn.protocol.passes_bytes() => self.abort(key, CloseReason::Gone),
            Phase::Open if at.conn.flags.has(Flags::PINGED) => self.abort(key, CloseReason::Idle),
            Phase::Open => self.ping(key),
            // As above: the last words wait for the end of its TLS handshake.
            Phase::Closing
                if at.conn.flags.has(Flags::QUEUED) && at.cold.is_handshaking(at.conn.cold) => {}
            Phase::Closing | Phase::Lingering => {
                self.turn.counters.close_timed_out.add(1);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Dead => {}
        }
    }

    fn ping(&mut self, key: ConnKey) {
        let Some(mut at) = self.at(key) else { return };
        at.conn.note_seen(at.turn.tick);
        at.conn.flags.set(Flags::PINGED);
        at.turn.counters.pings_out.add(1);
        if at.conn.protocol.passes_frames() {
            return self.ping_relayed(key);
        }
        at.output.outgoing().set_framing(Framing::WebSocket);
        at.output.outgoing().frame(Opcode::Ping, &[]);
        if let Err(reason) = at.flush_outgoing(None) {
            return self.abort(key, reason);
        }
        if !at.conn.is_flushed() {
            at.conn.flags.set(Flags::PING_UNWRITTEN);
        }
        if at.conn.flags.is_paused() {
            at.input.set_paused(at.conn.partial, true, at.turn.tick);
        }
    }

    /// As above, to an end of a relay: behind what waits there, by the flush that has its partner read again
    /// once there is room.
    fn ping_relayed(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let mut ping = ServerHeader::new(Opcode::Ping, 0).as_bytes().to_vec();
        if conn.protocol.is_backend() {
            match self.mask_keys.next() {
                Some(mask_key) => mask_control_frame(&mut ping, 0, mask_key),
                None => return self.abort(key, CloseReason::Overload),
            }
        }
        conn.flags.set(Flags::PING_UNWRITTEN);
        let queued = self.output.queue_bytes(conn, key, &ping, &mut self.turn);
        if conn.flags.is_paused() {
            self.input.set_paused(conn.partial, true, self.turn.tick);
        }
        if let Some(reason) = queued.abort_reason() {
            self.abort(key, reason);
        }
    }

    /// Writes from a connection's queue, unless an edge is waited for. `reason` is the flag for
    /// which this is called; it is cleared.
    #[inline]
    pub(super) fn flush(&mut self, key: ConnKey, reason: Flags) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(reason);
        if conn.flags.has(Flags::WRITE_BLOCKED) || conn.is_flushed() {
            return;
        }
        let flush = match reason == Flags::WRITE_BLOCKED {
            true => self.output.flush_unblocked(conn, key, &mut self.cold, &mut self.turn),
            false => self.output.flush_queue(conn, key, &mut self.cold, &mut self.turn),
        };
        // Nothing more is to be done for one that is open and has been given everything, unless a
        // flag says so.
        // This is the end of every delivery of a fan-out: two loads decide that nothing follows.
        if flush != Flush::All || !conn.is_undisturbed() {
            self.after_flush(key, flush);
        }
    }

    #[inline(never)]
    fn after_flush(&mut self, key: ConnKey, flush: Flush) {
        if let Some(reason) = flush.abort_reason() {
            return self.abort(key, reason);
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        let high_bytes = self.turn.settings.backlog_high_bytes;
        resume_reading(conn, key, &mut self.schedule.run_queue, high_bytes);
        match (flush, conn.state.phase()) {
            (Flush::All, Phase::Closing) => self.output_ended(key),
            // The end itself had waited for room.
            (Flush::All, Phase::Lingering) => self.end_our_half(key),
            (_, Phase::Open) if conn.protocol.is_relayed() => {
                let abort = self.relay().flushed(key);
                self.abort_relay(abort);
            }
            (_, Phase::Reaching) => {
                if let Some(client) = self.relay().connected(key) {
                    self.begin_exchange(client);
                }
            }
            (_, Phase::Exchanging) => {
                let partner = self.relay().partner(key);
                self.relay().exchange_flushed(key);
                partner.into_iter().for_each(|partner| self.arm_if_asked(partner));
            }
            (Flush::All, Phase::Handshake) if conn.protocol == Protocol::HttpNext => {
                // The time without a request begins when the client has all of the reply.
                conn.seen = self.turn.tick;
                conn.rearm();
            }
            _ => {}
        }
        self.arm_if_asked(key);
    }

    /// Files the deadline anew if a step asked for it.
    #[inline]
    pub(super) fn arm_if_asked(&mut self, key: ConnKey) {
        if self.table.get(key).is_some_and(|conn| conn.flags.has(Flags::REARM)) {
            self.arm(key);
        }
    }

    /// Goes on after a step that may have come to an outcome.
    pub(super) fn proceed(&mut self, key: ConnKey, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            self.act(key, outcome);
        }
        self.arm_if_asked(key);
    }

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
            // Its backend is gone, which the end of the turn tells it.
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

    /// A socket has failed. A client that waits for a reply is not read, so nothing else would tell that
    /// the reply has no reader any more.
    pub(crate) fn handle_failed(&mut self, key: ConnKey) {
        let waits = |conn: &Conn<S>| {
            conn.state.phase() == Phase::Exchanging
                && !conn.protocol.is_backend()
                && conn.flags.has(Flags::PAUSED_BY_PARTNER)
        };
        if self.table.get(key).is_some_and(waits) {
            self.abort(key, CloseReason::Reset);
        }
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

const KEYS_KEPT: usize = 256;
/// Sockets that are closed even in a turn whose work is done.
const REAPS_MIN: usize = 8;
/// Ends of relays that follow their partner even in a turn whose work is done.
const PARTED_MIN: usize = 16;
/// Each frees 16 KiB or more. The rest goes in the next turn.
const EVICTIONS_PER_TURN: usize = 64;
