//! Writing: what a read produced goes out at once, in one write; what the socket does not take
//! waits in the backlog, and so do messages pushed from elsewhere until the end of the turn.

use std::io::{self, IoSlice};

use super::{Connections, Flags, Phase};
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::output::OutputSegment;
use crate::pool::{Backlog, OutQueue, OverBudget, ReadBuffer, SLICES_MAX};
use crate::timer::Tick;
use crate::transport::Transport;

/// What a write came to.
enum Written {
    /// The socket took everything.
    All,
    Failed,
    /// It took this many bytes and has no more room.
    Part(usize),
}

impl<S: Transport> Connections<S> {
    /// An event said that there may be room.
    pub fn on_writable(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::WRITE_BLOCKED);
        if !conn.queue.is_empty() {
            self.flush_queue(key);
        }
    }

    /// Writes what was gathered for this connection; the rest joins its queue. `buffer` is the
    /// read buffer that the output may refer to.
    pub(super) fn flush_outgoing(&mut self, key: ConnKey, buffer: Option<&mut ReadBuffer>) {
        if self.outgoing.is_empty() {
            return;
        }
        let mut nothing_read = ReadBuffer::default();
        let buffer = buffer.unwrap_or(&mut nothing_read);
        let Some(conn) = self.table.get_mut(key) else { return self.outgoing.clear() };
        let mut written = 0;
        let was_empty = conn.queue.is_empty();
        if was_empty {
            let is_last = conn.phase == Phase::Closing;
            match write_outgoing(&mut conn.socket, &self.outgoing, &buffer.bytes, is_last) {
                Written::All => {
                    self.counters.writes.add(1);
                    self.counters.bytes_out.add(self.outgoing.bytes() as u64);
                    return self.outgoing.clear();
                }
                Written::Failed => {
                    self.outgoing.clear();
                    return self.abort(key, CloseReason::Reset);
                }
                Written::Part(count) => written = count,
            }
            self.counters.writes.add(u64::from(written > 0));
            self.counters.bytes_out.add(written as u64);
        }
        let enqueued = self.enqueue_rest(key, written, buffer);
        self.outgoing.clear();
        if enqueued.is_err() {
            return self.abort(key, CloseReason::Overload);
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        if was_empty {
            self.write_blocked(key);
        } else if !conn.flags.has(Flags::WRITE_BLOCKED) {
            self.flush_queue(key);
        }
        self.judge_high_mark(key);
    }

    /// Moves the gathered output from `written` bytes on into the queue. A long last stretch in a
    /// partial-read buffer that holds nothing else takes the partial-read buffer's buffer along instead of being copied.
    fn enqueue_rest(
        &mut self,
        key: ConnKey,
        written: usize,
        buffer: &mut ReadBuffer,
    ) -> Result<(), OverBudget> {
        let Some(conn) = self.table.get_mut(key) else { return Ok(()) };
        let may_hand_over = !conn.partial.is_none() && buffer.kept_bytes() == 0;
        let mut segments = self.outgoing.segments(written).peekable();
        // The rest of a write that fell short may begin anywhere.
        let mut is_cut = written > 0;
        while let Some(segment) = segments.next() {
            let bytes = match segment {
                OutputSegment::InPlace(range)
                    if may_hand_over
                        && range.len() >= HANDED_OVER_BYTES_MIN
                        && segments.peek().is_none() =>
                {
                    let bytes = std::mem::take(buffer).bytes;
                    self.backlog.push_buffer(&mut conn.queue, bytes, range, true, self.tick);
                    break;
                }
                OutputSegment::InPlace(range) => {
                    // A payload, whose header ends the stretch before.
                    is_cut = true;
                    &buffer.bytes[range]
                }
                OutputSegment::Cork(range) => &self.outgoing.cork_bytes()[range],
            };
            let (buffers, now) = (&mut self.buffers, self.now);
            self.backlog.push_copy(&mut conn.queue, bytes, is_cut, buffers, now)?;
            is_cut = false;
        }
        Ok(())
    }

    /// Writes to at most `limit` connections that were pushed to; the rest waits a turn, and what
    /// is pushed to them until then goes out in the same write.
    pub fn flush_dirty(&mut self, limit: usize) {
        for _ in 0..limit {
            let Some(key) = self.dirty.pop_front() else {
                self.dirty.shrink_to(KEYS_KEPT);
                return;
            };
            let Some(conn) = self.table.get_mut(key) else { continue };
            conn.flags.clear(Flags::DIRTY);
            if !conn.flags.has(Flags::WRITE_BLOCKED) {
                self.flush_queue(key);
            }
        }
    }

    /// Writes from the queue as much as the socket takes, within the connection's share.
    pub(super) fn flush_queue(&mut self, key: ConnKey) {
        for _ in 0..WRITES_PER_FLUSH {
            let Some(conn) = self.table.get_mut(key) else { return };
            if conn.queue.is_empty() {
                break;
            }
            if !self.backlog.is_single(&conn.queue) {
                self.backlog.join(&mut conn.queue, &mut self.buffers, self.now);
            }
            let (offered, result) = match self.backlog.only_slice(&conn.queue) {
                // Most often there is one, and no list of many need be laid out.
                Some(only) => (only.len(), conn.socket.write(&[IoSlice::new(only)])),
                None if conn.queue.bytes() <= COPIED_BYTES_MAX => {
                    self.backlog.copy(&conn.queue, &mut self.scratch);
                    (self.scratch.len(), conn.socket.write(&[IoSlice::new(&self.scratch)]))
                }
                None => write_gathered(&mut conn.socket, &self.backlog, &conn.queue),
            };
            let written = match result {
                Ok(0) => return self.abort(key, CloseReason::Reset),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return self.abort(key, CloseReason::Reset),
            };
            if written > 0 {
                self.counters.writes.add(1);
                self.counters.bytes_out.add(written as u64);
                self.backlog.consume(&mut conn.queue, written, &mut self.buffers, self.tick);
            }
            if written < offered {
                self.write_blocked(key);
                break;
            }
        }
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.queue.is_empty() {
            self.queue_emptied(key);
        } else if !conn.flags.has(Flags::WRITE_BLOCKED) && conn.flags.raise(Flags::DIRTY) {
            self.dirty.push_back(key);
        }
        self.resume_reading(key);
    }

    fn queue_emptied(&mut self, key: ConnKey) {
        let tick = self.tick;
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.flags.take(Flags::PING_UNWRITTEN) {
            // The ping is out only now: the time to answer it begins.
            conn.seen = tick;
            self.arm(key);
        } else if conn.phase == Phase::Closing {
            self.output_ended(key);
        }
    }

    /// Reading goes on once the peer has taken enough. Its bytes gave their edge long ago, so the
    /// run queue must see to it.
    pub(super) fn resume_reading(&mut self, key: ConnKey) {
        let below = self.settings.backlog_high_bytes / 2;
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.flags.has(Flags::PAUSED) && conn.queue.bytes() < below {
            conn.flags.clear(Flags::PAUSED);
            self.run_queue.push(&mut self.table, key);
            self.arm(key);
        }
    }

    /// Replies pile up: stop reading what would make more of them.
    fn judge_high_mark(&mut self, key: ConnKey) {
        let high_bytes = self.settings.backlog_high_bytes;
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase == Phase::Open
            && conn.queue.bytes() > high_bytes
            && conn.flags.raise(Flags::PAUSED)
        {
            self.counters.reading_paused.add(1);
        }
    }

    /// The socket has no room: an edge will say when it has, and a deadline how long to wait.
    fn write_blocked(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.set(Flags::WRITE_BLOCKED);
        if conn.flags.raise(Flags::WRITE_INTEREST) {
            self.write_interest.push(key);
        }
        self.arm(key);
    }

    /// When the socket will have taken no byte for too long, if anything waits for it.
    pub(super) fn stalled_at(&self, key: ConnKey) -> Option<Tick> {
        let conn = self.table.get(key)?;
        let since = self.backlog.waiting_since(&conn.queue)?;
        Some(since.after_ms(self.settings.write_stall_ms))
    }
}

/// Offers a queue to the socket as far as one write takes it: how many bytes, and what came of it.
fn write_gathered<S: Transport>(
    socket: &mut S,
    backlog: &Backlog,
    queue: &OutQueue,
) -> (usize, io::Result<usize>) {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = backlog.gather(queue, &mut slices);
    let slices = &slices[..count];
    (slices.iter().map(|slice| slice.len()).sum(), socket.write(slices))
}

fn write_outgoing<S: Transport>(
    socket: &mut S,
    outgoing: &crate::output::Outgoing,
    read_buffer: &[u8],
    is_last: bool,
) -> Written {
    let total = outgoing.bytes();
    let mut written = 0;
    while written < total {
        let (offered, result) = match outgoing.only_slice(written) {
            Some(only) if is_last => (only.len(), socket.write_last(only)),
            Some(only) => (only.len(), socket.write(&[IoSlice::new(only)])),
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = outgoing.gather(read_buffer, written, &mut slices);
                let slices = &slices[..count];
                (slices.iter().map(|slice| slice.len()).sum(), socket.write(slices))
            }
        };
        match result {
            Ok(0) => return Written::Failed,
            Ok(taken) => {
                written += taken;
                if taken < offered {
                    return Written::Part(written);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Written::Part(written);
            }
            Err(_) => return Written::Failed,
        }
    }
    Written::All
}

/// One connection's share of a flush, in writes of up to [`SLICES_MAX`] slices.
const WRITES_PER_FLUSH: usize = 4;
/// Up to here, copying many small pieces into one costs less than having the kernel gather them.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// From here on handing a buffer over costs less than copying out of it.
const HANDED_OVER_BYTES_MIN: usize = 16 << 10;
const KEYS_KEPT: usize = 256;
