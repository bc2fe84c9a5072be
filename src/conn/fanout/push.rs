//! Putting frames into the queues of connections, up to the marks at which a route's policy decides.

use super::frame_batch::FrameBatch;
use super::shared_frame::{FrameEncoding, SharedFrame};
use super::volume::Volume;
use crate::access::Traffic;
use crate::conn::active::resume_reading;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::schedule::RunQueue;
use crate::conn::send::{Flush, Output};
use crate::conn::slot::{Conn, Protocol};
use crate::conn::turn::Turn;
use crate::effects::{Peer, RouteOptions, SlowPolicy};
use crate::key::ConnKey;
use crate::metrics::RouteCounters;
use crate::pool::{Backlog, OutQueue};
use crate::services::SocketRoute;
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::server_header_bytes;

/// Everything that a push may touch beside the connection. A push ends no connection: it says which
/// should end, and the caller does that once nothing is being walked.
#[derive(Debug)]
pub(crate) struct Pusher<'p> {
    cold: &'p mut ColdRecords,
    output: &'p mut Output,
    run_queue: &'p mut RunQueue,
    turn: &'p mut Turn,
    options: &'p RouteOptions,
    counters: &'p RouteCounters,
    /// What was to be pushed since the last count and was not.
    missed: Volume,
    traced_from: u64,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushResult {
    /// It is queued, or was dropped by the route's policy.
    Done,
    /// As `Done`, after the socket had its chance: the deadline may have come nearer.
    Written,
    /// The connection failed while its queue was written.
    Failed,
    /// The queue is full, and the policy is to close the connection. The frames of a batch that were
    /// pushed before.
    TooSlow(usize),
}

impl<'p> Pusher<'p> {
    /// For frames of this route.
    pub(crate) fn new(
        cold: &'p mut ColdRecords,
        output: &'p mut Output,
        run_queue: &'p mut RunQueue,
        turn: &'p mut Turn,
        route: &'p SocketRoute,
    ) -> Self {
        let (options, counters) = (&route.options, &**route.counters);
        let missed = Volume::default();
        Self { cold, output, run_queue, turn, options, counters, missed, traced_from: 0 }
    }

    /// Puts several publications into a connection's queue: as one segment where nothing stands in
    /// the way, else one by one.
    #[inline]
    pub(crate) fn push_batch<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        batch: &mut FrameBatch,
    ) -> PushResult {
        let bytes_max = self.turn.settings.backlog_hard_bytes;
        let (_, backlog) = self.output.sharing();
        if let Some(encoding) = batch.encoding(conn, backlog)
            && batch.has_room(&conn.queue, encoding, bytes_max, backlog)
        {
            self.output.push_frame(conn, key, encoding.id, self.turn.tick);
            if self.cold.has_access() {
                self.note_batch(conn, batch);
            }
            return PushResult::Done;
        }
        let mut pushed = PushResult::Done;
        let mut frames = batch.alone.iter_mut().enumerate();
        while let Some((number, frame)) = frames.next() {
            let ended = match self.push(conn, key, frame) {
                PushResult::Done => continue,
                PushResult::Written => {
                    pushed = PushResult::Written;
                    continue;
                }
                PushResult::Failed => PushResult::Failed,
                PushResult::TooSlow(_) => PushResult::TooSlow(number),
            };
            // It is about to end, unless there comes to be room: the rest of the batch waits for that.
            frames.for_each(|(_, frame)| self.miss(Volume::of(frame)));
            return ended;
        }
        pushed
    }

    /// Puts a frame into a connection's queue.
    #[inline(always)]
    pub(crate) fn push<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        frame: &mut SharedFrame,
    ) -> PushResult {
        // The usual push, which stands in the walk over the members itself.
        if let Some(encoding) = frame.plain_encoding(conn)
            && !self.mark(frame).is_reached(&conn.queue, encoding, self.output.backlog())
        {
            self.output.push_frame(conn, key, encoding.id, self.turn.tick);
            if self.cold.has_access() {
                self.note_sent(conn, encoding);
            }
            return PushResult::Done;
        }
        self.push_encoded(conn, key, frame)
    }

    #[inline(always)]
    fn mark(&self, frame: &SharedFrame) -> Mark {
        Mark { bytes: self.turn.settings.backlog_hard_bytes, messages: frame.messages_max }
    }

    /// As [`Pusher::push`], for a connection that needs another encoding, or whose backlog may be at
    /// its mark.
    #[inline(never)]
    fn push_encoded<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        frame: &mut SharedFrame,
    ) -> PushResult {
        let mark = self.mark(frame);
        let (compressor, backlog) = self.output.sharing();
        let encoding = match frame.plain_encoding(conn) {
            Some(encoding) => Some(encoding),
            None => frame.encoding(conn, key.index, compressor, backlog),
        };
        let Some(encoding) = encoding else {
            // Binary has no encoding for lines.
            self.turn.counters.pushes_dropped.add(1);
            self.miss(Volume::of(frame));
            return PushResult::Done;
        };
        if mark.is_reached(&conn.queue, encoding, backlog) {
            let (result, is_pushed) = self.push_to_full(conn, key, encoding, mark);
            if !is_pushed {
                self.miss(Volume::of(frame));
            }
            return result;
        }
        self.push_anyway(conn, key, encoding);
        PushResult::Done
    }

    /// Charges `pushes` pushes, and what was compressed for them. Whether the share is used
    /// up.
    #[inline]
    pub(crate) fn charge(&mut self, pushes: usize) -> bool {
        let compressed = self.output.sharing().0.take_work();
        self.turn.work.charge(pushes as u64 * prices::DELIVERY + compressed);
        self.turn.work.is_share_used()
    }

    /// What is counted as pushed is not, for one of the connections.
    #[inline(never)]
    pub(crate) fn miss(&mut self, volume: Volume) {
        self.missed.add(volume);
    }

    /// What is missed from here on is missed by the connection that [`Pusher::trace`] is called for.
    pub(crate) fn begin_trace(&mut self) {
        self.traced_from = self.missed.messages;
    }

    /// As [`Pusher::miss`], for a connection that is left out.
    #[inline(never)]
    pub(crate) fn skip(&mut self, volume: Volume) {
        self.missed.add(volume);
        self.begin_trace();
    }

    /// Tells those who follow a connection which of these frames were pushed to it: all but the last,
    /// if it missed some.
    #[inline(never)]
    pub(crate) fn trace(&mut self, peer: Peer, frames: &[SharedFrame]) {
        let missed = self.missed.messages.saturating_sub(self.traced_from);
        self.begin_trace();
        if !self.turn.traces.follows(peer.key) {
            return;
        }
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        let unix_ms = self.turn.unix_ms();
        for frame in &frames[..frames.len().saturating_sub(missed)] {
            self.turn.work.charge(prices::EFFECT);
            self.turn.traces.sent(peer, unix_ms, &frame.frame().into());
        }
    }

    /// Counts pushes of `each` to a number of connections, but for what they missed.
    #[inline]
    pub(crate) fn count(&mut self, connections: usize, each: Volume) {
        let missed = std::mem::take(&mut self.missed);
        self.traced_from = 0;
        let connections = connections as u64;
        let messages = connections * each.messages;
        self.counters.messages_out.add(messages.saturating_sub(missed.messages));
        let bytes = connections * each.bytes;
        self.counters.message_bytes_out.add(bytes.saturating_sub(missed.bytes));
    }

    /// Out of line, so that the usual push is the only one that is not.
    #[inline(never)]
    fn push_anyway<S>(&mut self, conn: &mut Conn<S>, key: ConnKey, encoding: FrameEncoding) {
        self.output.push_frame(conn, key, encoding.id, self.turn.tick);
        if self.cold.has_access() {
            self.note_sent(conn, encoding);
        }
    }

    /// The access log counts the frames of a batch.
    #[cold]
    #[inline(never)]
    fn note_batch<S>(&mut self, conn: &Conn<S>, batch: &FrameBatch) {
        let payloads = batch.alone.iter().map(|own| own.frame().payload().len() as u64);
        let messages = batch.alone.len() as u64;
        self.cold.note_sent(conn.cold, Traffic { messages, bytes: payloads.sum() });
    }

    /// The access log counts a frame.
    #[cold]
    #[inline(never)]
    fn note_sent<S>(&mut self, conn: &Conn<S>, encoding: FrameEncoding) {
        let framing_bytes = match conn.protocol {
            Protocol::Line => 1,
            Protocol::Backend
            | Protocol::Exchange
            | Protocol::ExchangeBackend
            | Protocol::FrameBackend
            | Protocol::FrameRelay
            | Protocol::Http
            | Protocol::HttpNext
            | Protocol::Proxied(_)
            | Protocol::Relay
            | Protocol::WebSocket => server_header_bytes(encoding.frame_bytes),
        };
        let bytes = encoding.frame_bytes.saturating_sub(framing_bytes) as u64;
        self.cold.note_sent(conn.cold, Traffic { messages: 1, bytes });
    }

    /// As [`Pusher::push`], for a connection whose backlog is at its mark. Gives whether the frame is in
    /// its queue as well.
    #[inline(never)]
    fn push_to_full<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        encoding: FrameEncoding,
        mark: Mark,
    ) -> (PushResult, bool) {
        let high_bytes = self.turn.settings.backlog_high_bytes;
        // Most often there is memory, and nothing but the charge for it is missing.
        if self.output.backlog().is_short()
            && self.output.settle(&mut self.turn.memory).is_ok()
            && !mark.is_reached(&conn.queue, encoding, self.output.backlog())
        {
            self.push_anyway(conn, key, encoding);
            return (PushResult::Done, true);
        }
        if !conn.flags.has(Flags::WRITE_BLOCKED) {
            // The mark is judged after the socket had its chance.
            if self.output.flush_queue(conn, key, self.cold, self.turn) == Flush::Failed {
                return (PushResult::Failed, false);
            }
            // Whatever becomes of the frame: the next write may be a long time away.
            resume_reading(conn, key, self.run_queue, high_bytes);
        }
        // Without memory, a recipient for whom nothing waits is none of those who use it up.
        if !conn.queue.is_empty() && mark.is_reached(&conn.queue, encoding, self.output.backlog()) {
            match self.options.slow_policy {
                SlowPolicy::Disconnect => return (PushResult::TooSlow(0), false),
                SlowPolicy::DropNewest => {
                    self.turn.counters.pushes_dropped.add(1);
                    return (PushResult::Written, false);
                }
                SlowPolicy::KeepLatest => {
                    self.turn.counters.pushes_dropped.add(1);
                    self.output.discard_unstarted_frames(conn, self.turn);
                }
            }
        }
        self.push_anyway(conn, key, encoding);
        // What is not charged should wait for as short a time as it can.
        if self.output.backlog().is_short()
            && !conn.flags.has(Flags::WRITE_BLOCKED)
            && self.output.flush_queue(conn, key, self.cold, self.turn) == Flush::Failed
        {
            return (PushResult::Failed, true);
        }
        // What made room for the frame may have made enough to read on.
        resume_reading(conn, key, self.run_queue, high_bytes);
        (PushResult::Written, true)
    }
}

/// What may wait for one connection before its slow policy decides about more.
#[derive(Clone, Copy)]
struct Mark {
    bytes: usize,
    messages: Option<usize>,
}

impl Mark {
    /// Whether a further frame would be too much. An empty queue takes any, if there is memory.
    #[inline]
    fn is_reached(self, queue: &OutQueue, encoding: FrameEncoding, backlog: &Backlog) -> bool {
        backlog.is_short()
            || !queue.is_empty()
                && (queue.bytes() + encoding.frame_bytes > self.bytes
                    || self.messages.is_some_and(|max| backlog.holds(queue, max)))
    }
}
