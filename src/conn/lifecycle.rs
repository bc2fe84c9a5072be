//! Opening, closing and the order in which things end.
//!
//! Orderly ends (the peer's close frame, a service, a shutdown) first send what was queued before;
//! failing ends (a broken rule, a backlog over its mark) drop all but the frame that is already in
//! part on the wire. Then comes the close frame. A peer that sent its own has no more to say (RFC
//! 6455 §5.5.1): if nothing came behind it, the socket is closed at once. With others our half ends,
//! and whatever they still send is read and thrown away until their end: closing earlier would reset
//! the connection, and our last bytes would be lost on the way (RFC 6455 §7.1.1, RFC 9112 §9.6).

use super::{Connections, Flags, Phase};
use crate::effects::{CloseReason, Effects, Peer};
use crate::key::{ConnKey, SlotRef};
use crate::line::write_line;
use crate::transport::Transport;
use crate::ws::CloseRequest;
use crate::ws::{CloseCode, Violation, encode_close};

impl<S: Transport> Connections<S> {
    /// The upgrade was granted; its reply stands in the output.
    pub(super) fn open(&mut self, key: ConnKey, route: u8) {
        let Some(conn) = self.table.get_mut(key) else { return };
        self.half_open.leave(&mut conn.flags);
        conn.route = route;
        conn.phase = Phase::Open;
        conn.seen = self.tick;
        let flags = conn.flags;
        self.arm(key);
        self.open_count += 1;
        let deflate = self.router.socket(route).options.deflate;
        self.outgoing.set_framing(flags.framing(deflate, key.index));
        let peer = Peer { loop_index: self.loop_index, key };
        self.router.socket(route).service.on_open(
            peer,
            &mut Effects::on(route, peer, None, &mut self.outgoing, &mut self.pending),
        );
    }

    /// Answers the peer's close frame with its own code (RFC 6455 §5.5.1).
    pub(super) fn answer_close(&mut self, key: ConnKey, code: Option<CloseCode>) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.flags.set(Flags::SAID_CLOSE);
        }
        self.write_close(key, code, "");
        self.finish(key, CloseReason::Peer(code));
    }

    /// A service wants the connection closed.
    pub(super) fn close_for_service(&mut self, key: ConnKey, request: &CloseRequest) {
        if !self.table.get(key).is_some_and(|conn| conn.phase == Phase::Open) {
            self.counters.effects_ignored.add(1);
            return;
        }
        self.write_close(key, Some(request.code), &request.reason);
        self.finish(key, CloseReason::Service(request.code));
    }

    /// Tells the next connections after `cursor`, at most `count`, that the gateway goes away.
    /// Gives the cursor to go on from, `None` when all have been told.
    pub fn send_closes(&mut self, cursor: u32, count: usize) -> Option<u32> {
        let mut told = 0;
        for index in cursor..self.table.slots_end() {
            if told == count {
                return Some(index);
            }
            let Some(key) = self.table.key_of(index) else { continue };
            let Some(phase) = self.table.get(key).map(|conn| conn.phase) else { continue };
            match phase {
                Phase::Open => {
                    told += 1;
                    let code = Some(CloseCode::GOING_AWAY);
                    self.write_close(key, code, "shutting down");
                    self.finish(key, CloseReason::Drained);
                }
                Phase::Handshake => {
                    told += 1;
                    self.refuse_draining(key, false);
                }
                // Those over the limit are told 503 within `refuse_ms` anyway.
                Phase::Refusing | Phase::Closing | Phase::Lingering | Phase::Dead => {}
            }
        }
        None
    }

    /// The peer did something for which the connection must end.
    pub(super) fn fail(&mut self, key: ConnKey, code: CloseCode, text: &str, reason: CloseReason) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| !conn.is_ending()) else { return };
        self.backlog.discard_unstarted(&mut conn.queue, &mut self.buffers);
        self.write_close(key, Some(code), text);
        self.finish(key, reason);
    }

    /// The last that an open connection is told: a close frame, or its reason as a line.
    fn write_close(&mut self, key: ConnKey, code: Option<CloseCode>, reason: &str) {
        if !self.speaks_lines(key) {
            encode_close(code, reason, self.outgoing.cork());
        } else if code.is_some() {
            write_line(reason.as_bytes(), self.outgoing.cork());
        }
    }

    /// There is no memory for what the connection needs.
    pub(super) fn overloaded(&mut self, key: ConnKey) {
        let Some(phase) = self.table.get(key).map(|conn| conn.phase) else { return };
        match phase {
            Phase::Open => {
                let code = CloseCode::TRY_AGAIN_LATER;
                self.fail(key, code, "overloaded", CloseReason::Overload);
            }
            Phase::Handshake | Phase::Refusing => self.refuse_at_limit(key, false),
            Phase::Closing | Phase::Dead | Phase::Lingering => {}
        }
    }

    /// What stands in the output, if anything, is the last that the connection will be sent.
    pub(super) fn finish(&mut self, key: ConnKey, reason: CloseReason) {
        let is_ending = self.table.get(key).is_none_or(|conn| conn.is_ending());
        if is_ending {
            // Something else ended it first, such as a write that failed on the way here.
            return self.outgoing.clear();
        }
        self.leave_open(key, reason);
        self.cancel_decision(key);
        let Some(conn) = self.table.get_mut(key) else { return };
        self.half_open.leave(&mut conn.flags);
        conn.phase = Phase::Closing;
        conn.seen = self.tick;
        conn.flags.clear(Flags::PAUSED);
        conn.flags.clear(Flags::UNDECODED);
        conn.flags.clear(Flags::PINGED);
        conn.flags.clear(Flags::PING_UNWRITTEN);
        self.flush_outgoing(key, None);
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase == Phase::Closing && conn.queue.is_empty() {
            self.output_ended(key);
        } else {
            self.arm(key);
        }
        self.run_queue.push(&mut self.table, key);
    }

    /// Our last byte is written.
    pub(super) fn output_ended(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.flags.has(Flags::INPUT_ENDED) {
            return self.abort(key, CloseReason::Gone);
        }
        conn.phase = Phase::Lingering;
        conn.seen = self.tick;
        if conn.flags.has(Flags::SAID_CLOSE) {
            // Whether all is read that it sent will show when this read is dealt with.
            self.run_queue.push(&mut self.table, key);
            return;
        }
        self.end_our_half(key);
    }

    /// Both close frames are out. If nothing came behind the peer's, that is the end; otherwise it is
    /// treated like those that sent none.
    pub(super) fn end_after_close(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::SAID_CLOSE);
        if conn.flags.has(Flags::INPUT_PENDING) {
            self.end_our_half(key);
        } else {
            self.abort(key, CloseReason::Gone);
        }
    }

    fn end_our_half(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.socket.shutdown_write().is_err() {
            return self.abort(key, CloseReason::Gone);
        }
        self.arm(key);
    }

    /// Ends the connection without a further word. The socket is dropped when it is reaped.
    pub(super) fn abort(&mut self, key: ConnKey, reason: CloseReason) {
        self.leave_open(key, reason);
        self.cancel_decision(key);
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase == Phase::Dead {
            return;
        }
        self.half_open.leave(&mut conn.flags);
        conn.phase = Phase::Dead;
        self.backlog.clear(&mut conn.queue, &mut self.buffers);
        self.wheel.remove(&mut self.table, key.index);
        self.dead.push_back(key);
    }

    /// Removes dead connections, at most `limit`: each close costs a system call. `freed` is told
    /// of each whether it was one of those over the limit.
    pub fn reap(&mut self, limit: usize, mut freed: impl FnMut(bool)) {
        for _ in 0..limit {
            let Some(key) = self.dead.pop_front() else { break };
            if let Some(was_refused) = self.remove(key) {
                freed(was_refused);
            }
        }
        if self.dead.is_empty() {
            self.dead.shrink_to(KEYS_KEPT);
            self.table.shrink();
        }
    }

    /// Takes a dead connection out; whether it was one of those over the limit.
    fn remove(&mut self, key: ConnKey) -> Option<bool> {
        let conn = self.table.remove(key)?;
        debug_assert_eq!(conn.phase, Phase::Dead);
        if conn.partial != SlotRef::NONE {
            self.partial_reads.release(conn.partial, &mut self.buffers);
        }
        let refused = conn.flags.has(Flags::REFUSED);
        if refused {
            self.refused_count -= 1;
        }
        Some(refused)
    }

    /// Tells the service and the counters, once, that an open connection no longer is.
    fn leave_open(&mut self, key: ConnKey, reason: CloseReason) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        // Whatever follows must not find it open.
        conn.phase = Phase::Closing;
        let (route, flags) = (conn.route, conn.flags);
        self.open_count -= 1;
        if flags.has_contexts() {
            self.inflater.forget(key.index, &mut self.buffers);
            self.outgoing.compressor_mut().forget(key.index);
        }
        self.leave_topics(key);
        let peer = Peer { loop_index: self.loop_index, key };
        let mut effects = Effects::detached(route, &mut self.pending);
        self.router.socket(route).service.on_close(peer, reason, &mut effects);
        self.count_close(reason);
    }

    fn count_close(&self, reason: CloseReason) {
        let counters = &self.counters;
        let counter = match reason {
            CloseReason::Drained => &counters.closed_drained,
            CloseReason::Gone => &counters.closed_gone,
            CloseReason::Idle => &counters.closed_idle,
            CloseReason::Overload => &counters.closed_overload,
            CloseReason::Peer(_) => &counters.closed_by_peer,
            CloseReason::Reset => &counters.closed_reset,
            CloseReason::Service(_) => &counters.closed_by_service,
            CloseReason::Slow => &counters.closed_slow,
            CloseReason::Stalled => &counters.closed_stalled,
            CloseReason::Violation(Violation::NotDeflate) => &counters.closed_not_deflate,
            CloseReason::Violation(Violation::MessageTooBig) => &counters.closed_too_big,
            CloseReason::Violation(Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8) => {
                &counters.closed_not_utf8
            }
            CloseReason::Violation(_) => &counters.closed_protocol,
        };
        counter.add(1);
    }
}

const KEYS_KEPT: usize = 256;
