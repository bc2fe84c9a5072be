//! The output of one loop's connections: what is gathered for the one that is being handled, the
//! queues of those whose sockets were full, and the list of those to be written to.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::slot::Conn;
use crate::conn::state::Phase;
use crate::conn::turn::Turn;
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::output::{MessageCompressor, Outgoing, OutputSegment};
use crate::pool::{
    Backlog, Buffers, Conflated, FrameId, NOTED_BYTES, OverBudget, ReadBuffer, SLICES_MAX,
    SharedBudget,
};
use crate::shrink::Shrink as _;
use crate::stream::{self, End, Sent, StreamError};
use crate::timer::{Millis, Tick};
use crate::transport::Transport;
use crate::work::prices;

/// The send side of one loop.
#[derive(Debug)]
pub(crate) struct Output {
    /// What the connection that is being handled is sent; empty between connections.
    outgoing: Outgoing,
    backlog: Backlog,
    /// Where the small segments of one write are put together.
    scratch: Vec<u8>,
    /// Connections that were pushed to and not written since.
    dirty: VecDeque<ConnKey>,
    /// Connections that the poller is to report room for from now on.
    write_interest: Vec<ConnKey>,
    /// Connections for which much waits, since they were last weighed.
    grown: Vec<ConnKey>,
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// The socket took everything.
    All,
    /// The rest waits for an edge, or for the next turn.
    Waiting,
    /// The connection has failed: it is to be aborted.
    Failed,
    /// There was no memory for what the socket did not take: the connection is to be aborted.
    NoRoom,
}

impl Flush {
    /// Why the connection is to be aborted, if it is.
    #[inline]
    pub(crate) fn abort_reason(self) -> Option<CloseReason> {
        match self {
            Self::All | Self::Waiting => None,
            Self::Failed => Some(CloseReason::Reset),
            Self::NoRoom => Some(CloseReason::Overload),
        }
    }
}

impl Output {
    /// No output; what compressing it takes counts against `pool`.
    pub(crate) fn new(pool: SharedBudget) -> Self {
        Self {
            outgoing: Outgoing::new(pool),
            backlog: Backlog::default(),
            scratch: Vec::new(),
            dirty: VecDeque::new(),
            write_interest: Vec::new(),
            grown: Vec::new(),
        }
    }

    /// Where the output of the connection that is being handled is gathered.
    #[inline]
    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Whether nothing is gathered.
    #[inline]
    pub(crate) fn has_nothing_gathered(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Whether a service asked for a close that was not dealt with.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn wants_close(&self) -> bool {
        self.outgoing.wants_close()
    }

    /// The compressor of the loop's messages.
    pub(crate) fn compressor(&self) -> &MessageCompressor {
        self.outgoing.compressor()
    }

    /// What waits for room in sockets.
    #[inline]
    pub(crate) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// As [`Output::backlog`], with the compressor, to share frames.
    #[inline]
    pub(crate) fn sharing(&mut self) -> (&mut MessageCompressor, &mut Backlog) {
        (self.outgoing.compressor_mut(), &mut self.backlog)
    }

    /// Writes what is gathered; the rest joins the queue. `buffer` is the read buffer that the
    /// output may refer to.
    pub(crate) fn flush_gathered<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        buffer: Option<&mut ReadBuffer>,
        turn: &mut Turn,
    ) -> Flush {
        let mut nothing_read = ReadBuffer::default();
        let buffer = buffer.unwrap_or(&mut nothing_read);
        let was_flushed = conn.is_flushed();
        let mut written = 0;
        // What waits must go first, so only an empty queue lets the output go straight to the
        // socket.
        if was_flushed {
            // With `End::HalfClose` the kernel holds the bytes back for the FIN that follows
            // (MSG_MORE, send(2)), so both travel in one packet.
            let is_last = conn.state.phase() == Phase::Closing;
            let end = if is_last { End::HalfClose } else { End::None };
            let sent = send_gathered(conn, cold, &self.outgoing, &buffer.bytes, end, turn);
            let Ok(sent) = sent else {
                self.outgoing.clear();
                return Flush::Failed;
            };
            turn.work.charge(prices::WRITE + prices::bytes(sent.taken));
            turn.counters.writes.add(u64::from(sent.taken > 0));
            turn.counters.bytes_out.add(sent.taken as u64);
            conn.under_way.take(sent.taken, &mut turn.written);
            if sent.taken == self.outgoing.bytes() && !sent.unsent {
                self.outgoing.clear();
                return Flush::All;
            }
            note_unsent(conn, key, cold, sent, turn);
            written = sent.taken;
        }
        let enqueued = self.enqueue_gathered(conn, written, buffer, turn);
        // On every path: the ranges in it refer to a buffer that is read into next.
        self.outgoing.clear();
        if enqueued.is_err() {
            return Flush::NoRoom;
        }
        if was_flushed {
            self.block(conn, key);
        } else if !conn.flags.has(Flags::WRITE_BLOCKED)
            && self.flush_queue(conn, key, cold, turn) == Flush::Failed
        {
            return Flush::Failed;
        }
        // Replies pile up: stop reading what would make more of them. What goes to an end of a relay is
        // made by its partner.
        if conn.state.is_open()
            && !conn.protocol.is_relayed()
            && conn.queue.bytes() > turn.settings.backlog_high_bytes
            && conn.flags.raise(Flags::PAUSED_BY_BACKLOG)
        {
            turn.counters.reading_paused.add(1);
        }
        if conn.is_flushed() { Flush::All } else { Flush::Waiting }
    }

    /// Moves the gathered output from `written` bytes on into the queue. A long last segment in a
    /// partial-read buffer that holds nothing else takes the buffer along instead of being copied.
    fn enqueue_gathered<S>(
        &mut self,
        conn: &mut Conn<S>,
        written: usize,
        buffer: &mut ReadBuffer,
        turn: &mut Turn,
    ) -> Result<(), OverBudget> {
        // What goes on to another connection lies in a buffer that is not of this one.
        let is_own = !conn.partial.is_none() && !conn.protocol.is_relayed();
        let may_hand_over = is_own && buffer.kept_bytes() == 0;
        let mut segments = self.outgoing.segments(written).peekable();
        // The rest of a write that fell short may begin anywhere. And the reply to a request, for which
        // a stream may have had no room, is not to be dropped either: what comes behind it would be
        // taken for it. No frame begins as it does.
        let is_reply = self.outgoing.cork_bytes().starts_with(b"HTTP/");
        let mut is_cut = written > 0 || is_reply;
        while let Some(segment) = segments.next() {
            let bytes = match segment {
                OutputSegment::InPlace(range)
                    if may_hand_over
                        && range.len() >= HANDED_OVER_BYTES_MIN
                        && segments.peek().is_none() =>
                {
                    // The buffer's charge to the pool goes along. What is left in its place is
                    // empty, so `Input::keep` frees the slot and gives nothing back twice.
                    let bytes = std::mem::take(buffer).bytes;
                    self.backlog.push_buffer(&mut conn.queue, bytes, range, true, turn.tick);
                    break;
                }
                OutputSegment::InPlace(range) => {
                    // A payload, whose header ends the segment before.
                    is_cut = true;
                    &buffer.bytes[range]
                }
                OutputSegment::Cork(range) => &self.outgoing.cork_bytes()[range],
            };
            let memory = &mut turn.memory;
            self.backlog.push_copy(&mut conn.queue, bytes, is_cut, memory, turn.now)?;
            is_cut = false;
        }
        Ok(())
    }

    /// Writes from the queue as much as the socket takes, within the connection's share.
    #[inline]
    pub(crate) fn flush_queue<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) -> Flush {
        // Most often one frame waits and the socket takes it, as of every member of a fan-out: that
        // is done here, and whatever else there is in the loop.
        let mut first = None;
        if let Some(only) = self.backlog.only_slice(&conn.queue) {
            let sent = cold.send(&mut conn.socket, conn.cold, only, End::None, turn);
            let Ok(sent) = sent else { return Flush::Failed };
            if sent.taken == only.len() && !sent.unsent {
                turn.work.charge(prices::WRITE + prices::bytes(sent.taken));
                turn.counters.writes.add(1);
                turn.counters.bytes_out.add(sent.taken as u64);
                conn.under_way.take(sent.taken, &mut turn.written);
                self.backlog.clear_single(&mut conn.queue, &mut turn.memory);
                conn.flags.clear(Flags::UNSENT);
                return Self::all_written(conn, key, turn);
            }
            first = Some(sent);
        }
        self.write_queue::<false, S>(conn, key, cold, turn, first)
    }

    /// As [`Output::flush_queue`], to a socket that had no room until now: if it takes bytes, its peer
    /// has taken some, which is a sign of life.
    pub(crate) fn flush_unblocked<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) -> Flush {
        self.write_queue::<true, S>(conn, key, cold, turn, None)
    }

    /// `WAS_FULL` says that the socket had no room until now. `first` is what the first write came to,
    /// if that is done.
    #[inline(never)]
    fn write_queue<const WAS_FULL: bool, S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        turn: &mut Turn,
        mut first: Option<Sent>,
    ) -> Flush {
        for _ in 0..WRITES_PER_FLUSH {
            if conn.is_flushed() {
                break;
            }
            let result = match first.take() {
                Some(sent) => Ok(sent),
                None => self.send_queued(conn, cold, turn),
            };
            let Ok(sent) = result else { return Flush::Failed };
            turn.work.charge(prices::WRITE + prices::bytes(sent.taken));
            if sent.taken > 0 {
                turn.counters.writes.add(1);
                turn.counters.bytes_out.add(sent.taken as u64);
                if WAS_FULL && conn.state.is_open() {
                    // What a socket with room takes says nothing about the peer.
                    conn.note_seen(turn.tick);
                }
                conn.under_way.take(sent.taken, &mut turn.written);
                self.backlog.consume(&mut conn.queue, sent.taken, &mut turn.memory, turn.tick);
            }
            note_unsent(conn, key, cold, sent, turn);
            if sent.blocked {
                self.block(conn, key);
                break;
            }
        }
        if !conn.is_flushed() {
            // Without a short write there is no edge to come, so the next turn goes on.
            // `mark_dirty` leaves those out that wait for an edge.
            self.mark_dirty(conn, key);
            return Flush::Waiting;
        }
        Self::all_written(conn, key, turn)
    }

    /// Offers what waits to the socket, once.
    fn send_queued<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) -> Result<Sent, StreamError> {
        // Only just before a write: until then more may be pushed that can be joined as well.
        if !self.backlog.is_single(&conn.queue) {
            self.backlog.join(&mut conn.queue, &mut turn.memory, turn.now);
        }
        let stream = cold.stream(&mut conn.socket, conn.cold, turn);
        match self.backlog.only_slice(&conn.queue) {
            Some(only) => stream::send(stream, only, End::None),
            None if conn.queue.bytes() <= COPIED_BYTES_MAX => {
                self.backlog.copy(&conn.queue, &mut self.scratch);
                stream::send(stream, &self.scratch, End::None)
            }
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = self.backlog.gather(&conn.queue, &mut slices);
                stream::send_vectored(stream, &slices[..count])
            }
        }
    }

    /// Nothing waits for the connection any more.
    #[inline]
    fn all_written<S>(conn: &mut Conn<S>, key: ConnKey, turn: &mut Turn) -> Flush {
        if !turn.memory.large_holders().is_empty() {
            turn.memory.holders().set_output(key, 0, turn.tick);
        }
        if conn.flags.take(Flags::PING_UNWRITTEN) {
            // The ping is out only now: the time to answer it begins.
            conn.note_seen(turn.tick);
            conn.rearm();
        }
        Flush::All
    }

    /// Sends bytes that are no frames: at once, if nothing waits before them, and what the socket does
    /// not take joins the queue.
    pub(crate) fn send_bytes<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        bytes: &[u8],
        turn: &mut Turn,
    ) -> Flush {
        let waits = !conn.is_flushed() || conn.flags.has(Flags::WRITE_BLOCKED);
        if bytes.is_empty() {
            return if waits { Flush::Waiting } else { Flush::All };
        }
        if waits {
            return self.queue_bytes(conn, key, bytes, turn);
        }
        let sent = cold.send(&mut conn.socket, conn.cold, bytes, End::None, turn);
        let Ok(sent) = sent else { return Flush::Failed };
        turn.work.charge(prices::WRITE + prices::bytes(sent.taken));
        turn.counters.writes.add(u64::from(sent.taken > 0));
        turn.counters.bytes_out.add(sent.taken as u64);
        conn.under_way.take(sent.taken, &mut turn.written);
        if sent.taken == bytes.len() && !sent.unsent {
            return Flush::All;
        }
        note_unsent(conn, key, cold, sent, turn);
        let rest = bytes.get(sent.taken..).unwrap_or_default();
        if sent.blocked || sent.unsent {
            self.block(conn, key);
        }
        self.queue_bytes(conn, key, rest, turn)
    }

    /// Puts a copy of bytes into a connection's queue, to go out at the end of the turn.
    pub(crate) fn queue_bytes<S>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        bytes: &[u8],
        turn: &mut Turn,
    ) -> Flush {
        let pushed =
            self.backlog.push_copy(&mut conn.queue, bytes, true, &mut turn.memory, turn.now);
        if pushed.is_err() {
            return Flush::NoRoom;
        }
        self.mark_dirty(conn, key);
        Flush::Waiting
    }

    /// Puts a shared frame into a connection's queue. It goes out at the end of the turn, together
    /// with whatever else is pushed until then.
    #[inline(always)]
    pub(crate) fn push_frame<S>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        id: FrameId,
        now: Tick,
    ) {
        let before = conn.queue.bytes();
        self.backlog.push_frame(&mut conn.queue, id, now);
        if conn.flags.has(Flags::WRITE_BLOCKED) {
            // Whether it has come to the next power of two.
            let bytes = conn.queue.bytes();
            if bytes >= NOTED_BYTES && before ^ bytes > before {
                self.grown.push(key);
            }
        } else {
            self.mark_dirty(conn, key);
        }
    }

    /// Whether there are connections for which much more waits than when they were last weighed.
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        !self.grown.is_empty()
    }

    /// The next of them.
    pub(crate) fn next_grown(&mut self) -> Option<ConnKey> {
        let next = self.grown.pop();
        if next.is_none() {
            self.grown.shrink_if_sparse(KEYS_KEPT);
        }
        next
    }

    /// Puts a connection among those that are written to at the end of the turn, unless an edge is
    /// waited for.
    #[inline]
    pub(crate) fn mark_dirty<S>(&mut self, conn: &mut Conn<S>, key: ConnKey) {
        if !conn.flags.has(Flags::WRITE_BLOCKED) && conn.flags.raise(Flags::DIRTY) {
            self.dirty.push_back(key);
        }
    }

    /// The next connection that was pushed to and not written since.
    pub(crate) fn next_dirty(&mut self) -> Option<ConnKey> {
        let next = self.dirty.pop_front();
        if next.is_none() {
            self.dirty.shrink_if_sparse(KEYS_KEPT);
        }
        next
    }

    /// Whether connections wait to be written to.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The socket has no room: an edge will say when it has, and a deadline how long to wait.
    pub(crate) fn block<S>(&mut self, conn: &mut Conn<S>, key: ConnKey) {
        conn.flags.set(Flags::WRITE_BLOCKED);
        if conn.queue.bytes() >= NOTED_BYTES {
            self.grown.push(key);
        }
        // Registered late, when a write has fallen short for the first time: EPOLL_CTL_MOD reports
        // room that has come meanwhile, so nothing is missed (epoll_ctl(2)).
        if conn.flags.raise(Flags::WRITE_INTEREST) {
            self.write_interest.push(key);
        }
        conn.rearm();
    }

    /// As [`Output::block`], for what the stream has sealed and not sent.
    pub(crate) fn block_unsent<S>(
        &mut self,
        conn: &mut Conn<S>,
        key: ConnKey,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) {
        let sent = Sent { taken: 0, unsent: true, blocked: true, moved: false };
        note_unsent(conn, key, cold, sent, turn);
        self.block(conn, key);
    }

    /// A connection that the poller is to report room for from now on.
    pub(crate) fn next_write_interest(&mut self) -> Option<ConnKey> {
        let next = self.write_interest.pop();
        if next.is_none() {
            self.write_interest.shrink_if_sparse(KEYS_KEPT);
        }
        next
    }

    /// Whether the poller is to be told of connections.
    pub(crate) fn has_write_interest(&self) -> bool {
        !self.write_interest.is_empty()
    }

    /// Drops what waits for a connection, but for the frame that is partly on the wire.
    pub(crate) fn discard_unstarted<S>(&mut self, conn: &mut Conn<S>, turn: &mut Turn) {
        self.backlog.discard_unstarted(&mut conn.queue, &mut turn.memory);
    }

    /// Drops the shared frames of which no byte is out.
    pub(crate) fn discard_unstarted_frames<S>(&mut self, conn: &mut Conn<S>, turn: &mut Turn) {
        self.backlog.discard_unstarted_frames(&mut conn.queue, &mut turn.memory);
    }

    /// The conflation keys of frames that a connection need not get, as later ones with the same key wait, or one
    /// with the key `new` comes next: see [`Backlog::superseded`].
    pub(crate) fn superseded<S>(&self, conn: &Conn<S>, new: u32, turn: &mut Turn) -> Vec<u32> {
        let (keys, looked_at) = self.backlog.superseded(&conn.queue, new);
        turn.work.charge(looked_at as u64 * prices::SEGMENT);
        keys
    }

    /// Drops the unstarted frames with these conflation keys: see [`Backlog::discard_conflated`].
    pub(crate) fn discard_conflated<S>(
        &mut self,
        conn: &mut Conn<S>,
        keys: &mut [Conflated],
        turn: &mut Turn,
    ) {
        let looked_at = self.backlog.discard_conflated(&mut conn.queue, keys, &mut turn.memory);
        turn.work.charge(looked_at as u64 * prices::SEGMENT);
    }

    /// Drops all that waits for a connection.
    pub(crate) fn clear<S>(&mut self, conn: &mut Conn<S>, turn: &mut Turn) {
        self.backlog.clear(&mut conn.queue, &mut turn.memory);
    }

    /// Says what time it is.
    pub(crate) fn set_now(&mut self, now: Millis) {
        self.outgoing.compressor_mut().set_now(now);
    }

    /// Charges the pool for what waits, and returns what no longer does. To be called at the end of
    /// each turn, and where [`Backlog::is_short`].
    pub(crate) fn settle(&mut self, memory: &mut Buffers) -> Result<(), OverBudget> {
        self.backlog.settle(memory)
    }

    /// Frees compressors, contexts and parts of tables that lie unused. Gives the moment to ask
    /// again.
    pub(crate) fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        let due = self.backlog.trim(now, idle_ms);
        self.outgoing.compressor_mut().trim(now, idle_ms).into_iter().chain(due).min()
    }

    /// Forgets what the connection in `slot` was sent.
    pub(crate) fn forget_context(&mut self, slot: u32) {
        self.outgoing.compressor_mut().forget(slot);
    }
}

/// Notes what a stream holds back, and since when.
#[inline]
fn note_unsent<S>(
    conn: &mut Conn<S>,
    key: ConnKey,
    cold: &mut ColdRecords,
    sent: Sent,
    turn: &mut Turn,
) {
    if sent.unsent {
        if sent.moved || !conn.flags.has(Flags::UNSENT) {
            cold.touch_unsent(conn.cold, turn.tick);
        }
        conn.flags.set(Flags::UNSENT);
        turn.memory.holders().set_records(key, cold.waiting_bytes(conn.cold), turn.tick);
    } else {
        conn.flags.clear(Flags::UNSENT);
    }
}

/// Offers the gathered output until all is taken or the socket has no more room.
#[inline]
fn send_gathered<S: Transport>(
    conn: &mut Conn<S>,
    cold: &mut ColdRecords,
    outgoing: &Outgoing,
    read_buffer: &[u8],
    end: End,
    turn: &mut Turn,
) -> Result<Sent, StreamError> {
    let total = outgoing.bytes();
    let mut taken = 0;
    loop {
        let sent = match outgoing.only_slice(taken) {
            Some(only) => cold.send(&mut conn.socket, conn.cold, only, end, turn)?,
            None => {
                let stream = cold.stream(&mut conn.socket, conn.cold, turn);
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = outgoing.gather(read_buffer, taken, &mut slices);
                stream::send_vectored(stream, &slices[..count])?
            }
        };
        taken += sent.taken;
        // A write of `SLICES_MAX` slices may be taken whole and leave more to offer.
        if sent.blocked || taken == total {
            return Ok(Sent { taken, ..sent });
        }
    }
}

/// One connection's share of a flush, in writes of up to [`SLICES_MAX`] slices.
const WRITES_PER_FLUSH: usize = 4;
/// Up to here, copying many small segments into one costs less than having the kernel gather them.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// From here on handing a buffer over costs less than copying out of it.
const HANDED_OVER_BYTES_MIN: usize = 16 << 10;
const KEYS_KEPT: usize = 256;
