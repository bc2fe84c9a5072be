//! Backlogs: bytes that sockets have not taken yet.
//!
//! All connections of a loop share one slab of 16-byte segments; a connection holds only the ends
//! of its list. A segment refers to a block, whose bytes belong to one connection, or to a frame in
//! the table that many connections share. The count of references to a frame is a plain integer,
//! because a loop has one thread.
//!
//! ```text
//!   connection            segments                     blocks, frames
//!   {head, tail, …} ──►  [block 3] → [frame 8] → [block 9]
//!                            │           └────────► "…" × 412 recipients
//!                            └──► "tail of a reply"
//! ```

mod conflate;
mod join;
mod order;

pub use conflate::Conflated;

use std::io::IoSlice;

use super::buffers::{BUFFER_BYTES_MIN, Buffers, OverBudget};
use super::slots::{Account, Slots};
use crate::key::{SlotRef, slot_number};
use crate::timer::{Millis, Tick, earliest};
use crate::work::{meter, prices};
use crate::ws::EncodedFrame;
use order::{Order, SegmentKind};

/// Most slices in one vectored write. The kernel takes up to 1024 (`IOV_MAX`, writev(2)); 64 keep
/// the array on the stack at 1 KiB, and more segments than that are rare.
pub const SLICES_MAX: usize = 64;

/// The queue of one connection: 16 bytes, which lie in its slot of the connection table.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutQueue {
    head: SlotRef,
    tail: SlotRef,
    /// Bytes of the head that the socket has taken.
    head_written: u32,
    /// Bytes of all segments that the socket has not taken.
    bytes: u32,
}

impl OutQueue {
    /// Whether the queue has no segments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Bytes that the socket has not taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

/// Identifies a frame in the loop's table of shared frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(u32);

/// The backlogs of one loop.
#[derive(Debug, Default)]
pub struct Backlog {
    segments: Slots<Segment>,
    blocks: Slots<Block>,
    frames: Slots<SharedFrame>,
    /// Bytes of the tables and of the shared frames. Blocks hold buffers, which are charged by
    /// themselves.
    held: usize,
    account: Account,
}

#[derive(Debug)]
struct Segment {
    next: SlotRef,
    /// When the segment became the head, or the socket last took a byte of it. A stall is measured
    /// from here.
    since: Tick,
    /// Index of the block or frame.
    content: u32,
    order: Order,
}

/// Bytes `start..end` of a buffer from the pool.
#[derive(Debug)]
struct Block {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

#[derive(Debug)]
struct SharedFrame {
    frame: EncodedFrame,
    /// Where each message ends, if the frame is a batch of several; empty otherwise.
    ends: Box<[u32]>,
    /// The messages in it.
    messages: u32,
    /// The memory that it keeps allocated.
    bytes: u32,
    /// Segments that refer to the frame, plus one between `share` and `release`.
    holders: u32,
}

impl Backlog {
    /// Appends a copy of `bytes`; it fills the last block before it takes another buffer.
    /// `continues` says that `bytes` begin in the middle of a frame.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory for the copy; nothing is appended then.
    pub fn push_copy(
        &mut self,
        queue: &mut OutQueue,
        bytes: &[u8],
        continues: bool,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<(), OverBudget> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.is_short() {
            self.settle(buffers)?;
        }
        // The last block is private to this queue, so the bytes can go behind its end. Its segment
        // then holds several frames, and `continues` describes the first of them only.
        if let Some(block) = self.last_block(queue)
            && block.buffer.len() - block.end >= bytes.len()
        {
            block.buffer[block.end..block.end + bytes.len()].copy_from_slice(bytes);
            block.end += bytes.len();
            queue.bytes += byte_count(bytes.len());
            return Ok(());
        }
        let mut buffer = buffers.take(bytes.len().max(BUFFER_BYTES_MIN), now)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.push_buffer(queue, buffer, 0..bytes.len(), continues, now.tick());
        Ok(())
    }

    /// Appends a part of a buffer from the pool without copying it. `continues` says that it begins
    /// in the middle of a frame.
    pub fn push_buffer(
        &mut self,
        queue: &mut OutQueue,
        buffer: Vec<u8>,
        part: std::ops::Range<usize>,
        continues: bool,
        tick: Tick,
    ) {
        let length = part.len();
        let before = self.blocks.bytes();
        let block = self.blocks.insert(Block { buffer, start: part.start, end: part.end });
        self.held += self.blocks.bytes() - before;
        let kind = if continues { SegmentKind::Continuation } else { SegmentKind::Block };
        self.append(queue, kind, slot_number(block), 1, length, tick);
    }

    /// Adds a frame to the table of shared frames. The caller pushes it to the recipients and then
    /// [`release`](Backlog::release)s it.
    pub fn share(&mut self, frame: EncodedFrame) -> FrameId {
        self.share_batch(frame, Box::default())
    }

    /// As [`share`](Backlog::share), for a batch of messages whose ends are at the offsets `ends`.
    pub fn share_batch(&mut self, frame: EncodedFrame, ends: Box<[u32]>) -> FrameId {
        let bytes = frame.as_bytes().len() + size_of_val(&*ends);
        self.share_holding(frame, ends, byte_count(bytes))
    }

    fn share_holding(&mut self, frame: EncodedFrame, ends: Box<[u32]>, bytes: u32) -> FrameId {
        let messages = u32::try_from(ends.len().max(1)).unwrap_or(u32::MAX);
        let shared = SharedFrame { frame, ends, messages, bytes, holders: 1 };
        let before = self.frames.bytes();
        let frame = self.frames.insert(shared);
        self.held += self.frames.bytes() - before + bytes as usize;
        FrameId(slot_number(frame))
    }

    /// Whether more is held than is charged. What comes next is to be queued only after
    /// [`Backlog::settle`].
    #[must_use]
    #[inline]
    pub fn is_short(&self) -> bool {
        !self.account.covers(self.held)
    }

    /// Charges the pool for what is held, and returns what is no longer held. To be called when
    /// [`Backlog::is_short`], and at the end of each turn.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    #[inline]
    pub fn settle(&mut self, buffers: &mut Buffers) -> Result<(), OverBudget> {
        self.account.settle(self.held, buffers)
    }

    /// Whether nothing is held beyond what a loop has anyway.
    #[must_use]
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.held == 0
    }

    /// Frees parts of tables that lie unused. Gives the moment to ask again.
    #[inline]
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        // Most loops hold nothing whenever they come to rest.
        if self.held == 0 { None } else { self.trim_tables(now, idle_ms) }
    }

    fn trim_tables(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        let before = self.table_bytes();
        let due = [
            self.segments.trim(now, idle_ms),
            self.blocks.trim(now, idle_ms),
            self.frames.trim(now, idle_ms),
        ];
        self.held -= before - self.table_bytes();
        earliest(due)
    }

    fn table_bytes(&self) -> usize {
        self.segments.bytes() + self.blocks.bytes() + self.frames.bytes()
    }

    /// What is held, counted anew: bytes charged by the account, and those of buffers. The simulation
    /// compares them with what the pool has lent.
    ///
    /// # Errors
    /// What does not agree.
    #[cfg(any(test, feature = "sim"))]
    pub fn recount(&self) -> Result<usize, String> {
        let frames: usize = self.frames.iter().map(|shared| shared.bytes as usize).sum();
        let held = self.table_bytes() + frames;
        if held != self.held {
            return Err(format!("the backlog holds {held} bytes and counts {}", self.held));
        }
        let blocks = self.blocks.iter().map(|block| block.buffer.capacity());
        Ok(self.account.charged() + blocks.sum::<usize>())
    }

    /// Appends a shared frame by reference.
    #[inline]
    pub fn push_frame(&mut self, queue: &mut OutQueue, id: FrameId, tick: Tick) {
        let Some(shared) = self.frames.get_mut(id.0 as usize) else { return };
        meter::spend(prices::DELIVERY);
        shared.holders += 1;
        let (messages, length) = (shared.messages, shared.frame.as_bytes().len());
        self.append(queue, SegmentKind::Frame, id.0, messages, length, tick);
    }

    /// Whether the queue holds at least `count` pushed messages, counting one that is partly
    /// written. Of bytes that belong to the connection each segment counts as a message.
    #[must_use]
    #[inline]
    pub fn holds(&self, queue: &OutQueue, count: usize) -> bool {
        // The smallest message is an empty line of one byte, so most queues need not be looked at.
        queue.bytes() >= count && self.messages(queue) >= count
    }

    /// The messages that wait, as [`Backlog::holds`] counts them.
    fn messages(&self, queue: &OutQueue) -> usize {
        let (Some(head), Some(tail)) = (self.segment(queue.head), self.segment(queue.tail)) else {
            return 0;
        };
        self.unwritten_messages(head, queue.head_written) + tail.order.messages_behind(head.order)
    }

    /// The messages in a segment that are not written completely, when `written` bytes of it are.
    fn unwritten_messages(&self, segment: &Segment, written: u32) -> usize {
        match self.shared(segment) {
            Some(shared) if !shared.ends.is_empty() => {
                shared.ends.len() - shared.ends.partition_point(|end| *end <= written)
            }
            _ => 1,
        }
    }

    fn shared(&self, segment: &Segment) -> Option<&SharedFrame> {
        match segment.order.kind() {
            SegmentKind::Block | SegmentKind::Continuation => None,
            SegmentKind::Frame => self.frames.get(segment.content as usize),
        }
    }

    fn frame(&self, segment: &Segment) -> Option<&EncodedFrame> {
        self.shared(segment).map(|shared| &shared.frame)
    }

    /// Ends the sharing of a frame: it is freed when its last recipient has written or dropped it.
    pub fn release(&mut self, id: FrameId) {
        self.release_frame(id.0);
    }

    #[inline]
    fn release_frame(&mut self, frame: u32) {
        let Some(shared) = self.frames.get_mut(frame as usize) else { return };
        shared.holders -= 1;
        if shared.holders == 0 {
            let shared = self.frames.remove(frame as usize);
            self.held -= shared.bytes as usize;
        }
    }

    /// Whether the queue has at most one segment.
    #[must_use]
    #[inline]
    pub fn is_single(&self, queue: &OutQueue) -> bool {
        queue.head == queue.tail
    }

    /// The bytes to write next, if they are a single slice.
    #[must_use]
    #[inline]
    pub fn only_slice(&self, queue: &OutQueue) -> Option<&[u8]> {
        let segment = self.segment(queue.head).filter(|own| own.next.is_none())?;
        self.content(segment).get(queue.head_written as usize..)
    }

    /// Replaces the contents of `output` by a copy of all that is queued.
    pub fn copy(&self, queue: &OutQueue, output: &mut Vec<u8>) {
        output.clear();
        let mut skip = queue.head_written as usize;
        let mut at = queue.head;
        while let Some(segment) = self.segment(at) {
            output.extend_from_slice(self.content(segment).get(skip..).unwrap_or(&[]));
            skip = 0;
            at = segment.next;
        }
    }

    /// Points `slices` at the bytes to write next; returns how many slices are used.
    pub fn gather<'b>(&'b self, queue: &OutQueue, slices: &mut [IoSlice<'b>; SLICES_MAX]) -> usize {
        let mut skip = queue.head_written as usize;
        let mut at = queue.head;
        let mut count = 0;
        while count < SLICES_MAX
            && let Some(segment) = self.segment(at)
        {
            slices[count] = IoSlice::new(self.content(segment).get(skip..).unwrap_or(&[]));
            skip = 0;
            count += 1;
            at = segment.next;
        }
        count
    }

    /// Removes the `written` bytes that the socket took at `tick`, and restarts the measure of its
    /// stall.
    pub fn consume(
        &mut self,
        queue: &mut OutQueue,
        written: usize,
        buffers: &mut Buffers,
        tick: Tick,
    ) {
        queue.bytes -= byte_count(written);
        if queue.bytes == 0 {
            // The fast path: most writes take everything.
            return self.clear(queue, buffers);
        }
        let mut left = queue.head_written as usize + written;
        while let Some(segment) = self.segment(queue.head) {
            let length = self.content(segment).len();
            if left < length {
                break;
            }
            left -= length;
            self.pop(queue, buffers);
        }
        queue.head_written = byte_count(left);
        if let Some(index) = queue.head.index() {
            self.segments[index as usize].since = tick;
        }
    }

    /// Drops everything except the frame whose first bytes are on the wire: without its rest, the
    /// peer would read the next frame as payload (RFC 6455 §5.2).
    pub fn discard_unstarted(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        self.discard_where(queue, buffers, |_, _| true);
    }

    /// As [`Backlog::clear`], for a queue of one segment, which is written: most are.
    #[inline]
    pub fn clear_single(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        debug_assert!(self.is_single(queue));
        if let Some(head) = queue.head.index() {
            let segment = self.segments.remove(head as usize);
            *queue = OutQueue::default();
            self.release_content(&segment, buffers);
        }
    }

    /// Drops the shared frames of which no byte is written; the blocks of the connection stay.
    pub fn discard_unstarted_frames(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        self.discard_where(queue, buffers, |_, own| own.order.kind() == SegmentKind::Frame);
    }

    fn discard_where(
        &mut self,
        queue: &mut OutQueue,
        buffers: &mut Buffers,
        mut unwanted: impl FnMut(u32, &Segment) -> bool,
    ) {
        let mut rest = std::mem::take(queue);
        // Whether the segment before is kept or already on the wire.
        let mut is_kept = true;
        while let Some(index) = rest.head.index() {
            let written = std::mem::take(&mut rest.head_written);
            let segment = &self.segments[index as usize];
            let continues = segment.order.kind() == SegmentKind::Continuation;
            let is_started = self.is_within_message(segment, written) || (continues && is_kept);
            // A segment that continues a frame shares the fate of the segment before it.
            is_kept = is_started || !unwanted(index, segment);
            if !is_kept {
                self.pop(&mut rest, buffers);
                continue;
            }
            if written > 0 && unwanted(index, segment) {
                self.keep_started(index, written);
            }
            let length = self.content(&self.segments[index as usize]).len();
            let kept = std::mem::take(&mut rest.head);
            rest.head = std::mem::take(&mut self.segments[index as usize].next);
            match queue.tail.index() {
                Some(tail) => {
                    // Those between the two are gone, so it is numbered anew.
                    let segment = &self.segments[index as usize];
                    let messages = self.shared(segment).map_or(1, |shared| shared.messages);
                    let kind = segment.order.kind();
                    let before = &mut self.segments[tail as usize];
                    before.next = kept;
                    let order = before.order.followed_by(kind, messages);
                    self.segments[index as usize].order = order;
                }
                None => (queue.head, queue.head_written) = (kept, written),
            }
            queue.tail = kept;
            queue.bytes += byte_count(length) - written;
        }
    }

    /// Whether `written` bytes of a segment end inside one of its messages. For a block, whose
    /// frame boundaries are not recorded, any written byte counts as inside.
    fn is_within_message(&self, segment: &Segment, written: u32) -> bool {
        let is_end =
            || self.shared(segment).is_some_and(|own| own.ends.binary_search(&written).is_ok());
        written > 0 && !is_end()
    }

    /// Of a batch in one segment, drops the messages of which no byte is written.
    fn keep_started(&mut self, index: u32, written: u32) {
        let Some(shared) = self.shared(&self.segments[index as usize]) else { return };
        if let Some(end) = shared.ends.iter().copied().find(|end| *end > written) {
            // It keeps the memory of the whole batch.
            let (started, bytes) = (shared.frame.cut(end as usize), shared.bytes);
            // The shared batch must stay whole for other connections, so the cut goes into a frame
            // that only this segment holds.
            let own = self.share_holding(started, Box::default(), bytes).0;
            let batch = std::mem::replace(&mut self.segments[index as usize].content, own);
            self.release_frame(batch);
        }
    }

    /// Drops everything, the rest of a started frame included; only for a connection that is closed
    /// or whose queue is written.
    pub fn clear(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        while !queue.is_empty() {
            self.pop(queue, buffers);
        }
        *queue = OutQueue::default();
    }

    /// When the socket last took a byte, or when the head was queued; `None` if nothing is queued.
    #[must_use]
    pub fn waiting_since(&self, queue: &OutQueue) -> Option<Tick> {
        self.segment(queue.head).map(|segment| segment.since)
    }

    /// The numbers of segments, blocks and shared frames in use.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.segments.len(), self.blocks.len(), self.frames.len()]
    }

    #[inline]
    fn append(
        &mut self,
        queue: &mut OutQueue,
        kind: SegmentKind,
        content: u32,
        messages: u32,
        length: usize,
        since: Tick,
    ) {
        if self.segments.is_full() {
            self.grow_segments();
        }
        let link = SlotRef::to(slot_number(self.segments.next_index()));
        let order = match queue.tail.index() {
            Some(tail) => {
                let tail = &mut self.segments[tail as usize];
                tail.next = link;
                tail.order.followed_by(kind, messages)
            }
            None => {
                queue.head = link;
                Order::first(kind)
            }
        };
        self.segments.insert_in_place(Segment { next: SlotRef::NONE, since, content, order });
        queue.tail = link;
        queue.bytes += byte_count(length);
    }

    /// Removes the head and releases what it refers to. Leaves `bytes` and `head_written` as they
    /// are.
    fn pop(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        let Some(head) = queue.head.index() else { return };
        let segment = self.segments.remove(head as usize);
        queue.head = segment.next;
        if queue.head.is_none() {
            queue.tail = SlotRef::NONE;
        }
        self.release_content(&segment, buffers);
    }

    /// Releases what a segment referred to that was taken out.
    #[inline]
    fn release_content(&mut self, segment: &Segment, buffers: &mut Buffers) {
        match segment.order.kind() {
            SegmentKind::Block | SegmentKind::Continuation => {
                buffers.give(self.blocks.remove(segment.content as usize).buffer);
            }
            SegmentKind::Frame => self.release_frame(segment.content),
        }
        if self.segments.is_empty() {
            self.shrink();
        }
    }

    #[cold]
    fn grow_segments(&mut self) {
        let before = self.segments.bytes();
        // Without memory it grows for the few recipients for whom nothing else waits.
        if self.is_short() {
            self.segments.grow_little()
        } else {
            self.segments.grow()
        }
        self.held += self.segments.bytes() - before;
    }

    /// No reader is slow any more. A slab can only shrink when its end is empty; here all of it is.
    #[inline]
    fn shrink(&mut self) {
        let before = self.table_bytes();
        if before > 0 {
            self.segments.shrink_if_empty();
            self.blocks.shrink_if_empty();
            self.frames.shrink_if_empty();
            self.held -= before - self.table_bytes();
        }
    }

    fn segment(&self, link: SlotRef) -> Option<&Segment> {
        link.index().and_then(|index| self.segments.get(index as usize))
    }

    #[inline]
    fn content(&self, segment: &Segment) -> &[u8] {
        match segment.order.kind() {
            SegmentKind::Block | SegmentKind::Continuation => {
                let block = &self.blocks[segment.content as usize];
                &block.buffer[block.start..block.end]
            }
            SegmentKind::Frame => self.frames[segment.content as usize].frame.as_bytes(),
        }
    }

    fn last_block(&mut self, queue: &OutQueue) -> Option<&mut Block> {
        let segment = self.segment(queue.tail)?;
        let block = segment.content as usize;
        let is_frame = segment.order.kind() == SegmentKind::Frame;
        if is_frame { None } else { self.blocks.get_mut(block) }
    }
}

/// Narrows a count of bytes in one queue. The hard mark and what one read may add bound a queue;
/// the configuration keeps their sum below 4 GiB.
fn byte_count(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok());
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
