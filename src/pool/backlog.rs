//! Backlogs: bytes that sockets did not take yet.
//!
//! All connections of a loop share one slab of 16-byte segments; a connection has only the ends
//! of its list. A segment is a block of bytes that belong to one connection, or an index into the
//! table of frames that many share, with a plain count instead of an atomic one.
//!
//! ```text
//!   connection            segments                     blocks, frames
//!   {head, tail, …} ──►  [block 3] → [frame 8] → [block 9]
//!                            │           └────────► "…" × 412 recipients
//!                            └──► "tail of a reply"
//! ```

mod join;

use std::io::IoSlice;

use slab::Slab;

use super::buffers::{BUFFER_BYTES_MIN, Buffers, OverBudget};
use crate::key::{SlotRef, slot_number};
use crate::timer::{Millis, Tick};
use crate::ws::EncodedFrame;

/// Slices that go into one write at most.
pub const SLICES_MAX: usize = 64;

/// A connection's part of the backlog: 16 bytes, all of them idle when there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutQueue {
    head: SlotRef,
    tail: SlotRef,
    head_written: u32,
    bytes: u32,
}

impl OutQueue {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

/// Names a frame in the loop's table of shared frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(u32);

/// The backlogs of one loop.
#[derive(Debug, Default)]
pub struct Backlog {
    segments: Slab<Segment>,
    blocks: Slab<Block>,
    frames: Slab<SharedFrame>,
}

#[derive(Debug)]
struct Segment {
    next: SlotRef,
    /// When it became the head or a byte of it was last taken: the start of a stall.
    since: Tick,
    /// Index of the block or frame.
    content: u32,
    kind: Kind,
    /// It begins in the middle of a frame, whose first bytes are in the segment before it or, at
    /// the head, on the wire.
    continues: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block,
    Frame,
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
    /// Where each of its messages ends, if it holds several.
    ends: Box<[u32]>,
    /// Segments that refer to it, and whoever shares it until that is settled.
    holders: u32,
}

impl Backlog {
    /// Appends a copy of `bytes`, filling up the last block first. `continues` says that they begin
    /// in the middle of a frame.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no memory for it; nothing is appended then.
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

    /// Appends a part of a buffer that came from the pool, without copying it. `continues` says
    /// that it begins in the middle of a frame.
    pub fn push_buffer(
        &mut self,
        queue: &mut OutQueue,
        buffer: Vec<u8>,
        part: std::ops::Range<usize>,
        continues: bool,
        tick: Tick,
    ) {
        let length = part.len();
        let block = self.blocks.insert(Block { buffer, start: part.start, end: part.end });
        let content = slot_number(block);
        let segment =
            Segment { next: SlotRef::NONE, since: tick, content, kind: Kind::Block, continues };
        self.append(queue, segment, length);
    }

    /// Enters a frame into the table of shared frames. Push it to its recipients, then
    /// [`release`](Backlog::release) it.
    pub fn share(&mut self, frame: EncodedFrame) -> FrameId {
        self.share_batch(frame, Box::default())
    }

    /// As [`share`](Backlog::share), of several messages behind each other, which end there.
    pub fn share_batch(&mut self, frame: EncodedFrame, ends: Box<[u32]>) -> FrameId {
        let shared = SharedFrame { frame, ends, holders: 1 };
        FrameId(slot_number(self.frames.insert(shared)))
    }

    /// Appends a shared frame.
    pub fn push_frame(&mut self, queue: &mut OutQueue, id: FrameId, tick: Tick) {
        let Some(shared) = self.frames.get_mut(id.0 as usize) else { return };
        shared.holders += 1;
        let length = shared.frame.as_bytes().len();
        let (content, kind) = (id.0, Kind::Frame);
        let segment = Segment { next: SlotRef::NONE, since: tick, content, kind, continues: false };
        self.append(queue, segment, length);
    }

    /// Whether at least so many pushed messages wait, the one that is partly written included. What
    /// else waits counts by segments.
    #[must_use]
    pub fn holds(&self, queue: &OutQueue, count: usize) -> bool {
        // The smallest is an empty line of one byte, so a short queue need not be walked.
        if queue.bytes() < count {
            return false;
        }
        let (mut at, mut written) = (queue.head, queue.head_written);
        let mut left = count;
        while left > 0
            && let Some(segment) = self.segment(at)
        {
            left = left.saturating_sub(self.messages(segment, std::mem::take(&mut written)));
            at = segment.next;
        }
        left == 0
    }

    /// Messages in a segment of which so many bytes are out.
    fn messages(&self, segment: &Segment, written: u32) -> usize {
        match self.frames.get(segment.content as usize) {
            Some(shared) if segment.kind == Kind::Frame && !shared.ends.is_empty() => {
                shared.ends.iter().filter(|end| **end > written).count()
            }
            _ => 1,
        }
    }

    fn frame(&self, segment: &Segment) -> Option<&EncodedFrame> {
        match segment.kind {
            Kind::Block => None,
            Kind::Frame => self.frames.get(segment.content as usize).map(|shared| &shared.frame),
        }
    }

    /// No more recipients will come: the frame is forgotten with its last one.
    pub fn release(&mut self, id: FrameId) {
        self.let_go(id.0);
    }

    fn let_go(&mut self, frame: u32) {
        let Some(shared) = self.frames.get_mut(frame as usize) else { return };
        shared.holders -= 1;
        if shared.holders == 0 {
            self.frames.remove(frame as usize);
        }
    }

    /// Whether all that waits is one segment, if anything does.
    #[must_use]
    #[inline]
    pub fn is_single(&self, queue: &OutQueue) -> bool {
        queue.head == queue.tail
    }

    /// What is to be written next, if it is all that waits and lies in one piece.
    #[must_use]
    pub fn only_slice(&self, queue: &OutQueue) -> Option<&[u8]> {
        let segment = self.segment(queue.head).filter(|own| own.next.is_none())?;
        self.content(segment).get(queue.head_written as usize..)
    }

    /// Puts all that waits into `output`, in place of what was there.
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

    /// Points `slices` at what is to be written next; gives how many there are.
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

    /// The socket took `written` bytes at `tick`.
    pub fn consume(
        &mut self,
        queue: &mut OutQueue,
        written: usize,
        buffers: &mut Buffers,
        tick: Tick,
    ) {
        queue.bytes -= byte_count(written);
        if queue.bytes == 0 {
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

    /// Drops everything but what the frame needs whose first bytes are already out: cutting it short
    /// would leave half a frame on the wire.
    pub fn discard_unstarted(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        self.discard_where(queue, buffers, |_| true);
    }

    /// Drops the shared frames of which no byte is out; what belongs to the connection stays.
    pub fn discard_unstarted_frames(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        self.discard_where(queue, buffers, |segment| segment.kind == Kind::Frame);
    }

    fn discard_where(
        &mut self,
        queue: &mut OutQueue,
        buffers: &mut Buffers,
        unwanted: impl Fn(&Segment) -> bool,
    ) {
        let mut rest = std::mem::take(queue);
        // Whether what precedes the segment goes out or has gone out.
        let mut goes_out = true;
        while let Some(index) = rest.head.index() {
            let written = std::mem::take(&mut rest.head_written);
            let segment = &self.segments[index as usize];
            let is_begun =
                self.is_within_message(segment, written) || (segment.continues && goes_out);
            goes_out = is_begun || !unwanted(segment);
            if !goes_out {
                self.pop(&mut rest, buffers);
                continue;
            }
            if written > 0 && unwanted(segment) {
                self.keep_begun(index, written);
            }
            let length = self.content(&self.segments[index as usize]).len();
            let kept = std::mem::take(&mut rest.head);
            rest.head = std::mem::take(&mut self.segments[index as usize].next);
            match queue.tail.index() {
                Some(tail) => self.segments[tail as usize].next = kept,
                None => (queue.head, queue.head_written) = (kept, written),
            }
            queue.tail = kept;
            queue.bytes += byte_count(length) - written;
        }
    }

    /// Whether the socket stopped, after so many bytes of a segment, inside one of its messages. Of a
    /// block that is not known once a byte is out.
    fn is_within_message(&self, segment: &Segment, written: u32) -> bool {
        let is_end = || match self.frames.get(segment.content as usize) {
            Some(shared) if segment.kind == Kind::Frame => shared.ends.contains(&written),
            _ => false,
        };
        written > 0 && !is_end()
    }

    /// Of several messages in one segment, drops those of which no byte is out.
    fn keep_begun(&mut self, index: u32, written: u32) {
        let segment = &self.segments[index as usize];
        let Some(shared) = self.frames.get(segment.content as usize) else { return };
        let end = shared.ends.iter().copied().find(|end| *end > written);
        if let Some(end) = end.filter(|_| segment.kind == Kind::Frame) {
            let begun = shared.frame.cut(end as usize);
            // Shared with nobody: the segment holds it alone.
            let own = self.share(begun).0;
            let row = std::mem::replace(&mut self.segments[index as usize].content, own);
            self.let_go(row);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        while !queue.is_empty() {
            self.pop(queue, buffers);
        }
        *queue = OutQueue::default();
    }

    /// Since when the socket has taken no byte, if anything waits.
    #[must_use]
    pub fn waiting_since(&self, queue: &OutQueue) -> Option<Tick> {
        self.segment(queue.head).map(|segment| segment.since)
    }

    /// Segments, blocks and shared frames in use.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.segments.len(), self.blocks.len(), self.frames.len()]
    }

    fn append(&mut self, queue: &mut OutQueue, segment: Segment, length: usize) {
        let link = SlotRef::to(slot_number(self.segments.insert(segment)));
        match queue.tail.index() {
            Some(tail) => self.segments[tail as usize].next = link,
            None => queue.head = link,
        }
        queue.tail = link;
        queue.bytes += byte_count(length);
    }

    /// Removes the head and frees what it referred to. Leaves `bytes` and `head_written` alone.
    fn pop(&mut self, queue: &mut OutQueue, buffers: &mut Buffers) {
        let Some(head) = queue.head.index() else { return };
        let segment = self.segments.remove(head as usize);
        queue.head = segment.next;
        if queue.head.is_none() {
            queue.tail = SlotRef::NONE;
        }
        match segment.kind {
            Kind::Block => buffers.give(self.blocks.remove(segment.content as usize).buffer),
            Kind::Frame => self.let_go(segment.content),
        }
        if self.segments.is_empty() {
            // The slabs hold only what slow readers owe; give the peak back when all caught up.
            self.segments.shrink_to_fit();
            self.blocks.shrink_to_fit();
            self.frames.shrink_to_fit();
        }
    }

    fn segment(&self, link: SlotRef) -> Option<&Segment> {
        link.index().and_then(|index| self.segments.get(index as usize))
    }

    fn content(&self, segment: &Segment) -> &[u8] {
        match segment.kind {
            Kind::Block => {
                let block = &self.blocks[segment.content as usize];
                &block.buffer[block.start..block.end]
            }
            Kind::Frame => self.frames[segment.content as usize].frame.as_bytes(),
        }
    }

    fn last_block(&mut self, queue: &OutQueue) -> Option<&mut Block> {
        let segment = self.segment(queue.tail)?;
        let block = segment.content as usize;
        if segment.kind == Kind::Block { self.blocks.get_mut(block) } else { None }
    }
}

/// Backlogs are bounded by the hard mark and what one read may add, which configuration keeps below
/// 4 GiB together.
fn byte_count(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok());
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
