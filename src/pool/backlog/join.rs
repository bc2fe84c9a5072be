//! Joining: short texts that wait for the same connection become one message.

use super::order::SegmentKind;
use super::{Backlog, OutQueue, byte_count};
use crate::pool::Buffers;
use crate::timer::Millis;
use crate::ws::{Opcode, ServerHeader};

impl Backlog {
    /// Replaces the joinable frames at the head by one message: a copy of their texts with line
    /// breaks between them. Does nothing if there are fewer than two, if the head is partly
    /// written, or if the budget has no memory for the copy.
    pub fn join(&mut self, queue: &mut OutQueue, buffers: &mut Buffers, now: Millis) {
        let (count, payload_bytes) = self.joinable(queue);
        if count < 2 {
            return;
        }
        let header = ServerHeader::new(Opcode::Text, payload_bytes);
        let total = header.as_bytes().len() + payload_bytes;
        let Ok(mut buffer) = buffers.take(total, now) else { return };
        // The joined block inherits the start of a stall: joining must not make a blocked socket
        // look as if it had taken bytes.
        let since = self.segment(queue.head).map_or_else(|| now.tick(), |own| own.since);
        // It counts as the last of those that it replaces, so that those behind keep their numbers.
        let mut order = None;
        let mut end = 0;
        let mut copy = |bytes: &[u8]| {
            buffer[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        copy(header.as_bytes());
        for serial in 0..count {
            if serial > 0 {
                copy(b"\n");
            }
            let Some(segment) = self.segment(queue.head) else { break };
            let Some(frame) = self.frame(segment) else { break };
            order = Some(segment.order.of_kind(SegmentKind::Block));
            copy(frame.payload());
            queue.bytes -= byte_count(frame.as_bytes().len());
            self.pop(queue, buffers);
        }
        // The block belongs at the head: append it to an empty queue, then link the rest behind it.
        let mut rest = std::mem::take(queue);
        self.push_buffer(queue, buffer, 0..end, false, since);
        if !rest.is_empty() {
            if let (Some(head), Some(order)) = (queue.head.index(), order) {
                let head = &mut self.segments[head as usize];
                (head.next, head.order) = (rest.head, order);
            }
            queue.tail = rest.tail;
            queue.bytes += std::mem::take(&mut rest.bytes);
        }
    }

    /// The number of joinable frames at the head, and the length of their texts when joined.
    fn joinable(&self, queue: &OutQueue) -> (usize, usize) {
        let (mut count, mut payload_bytes) = (0, 0);
        let mut at = queue.head;
        while queue.head_written == 0
            && let Some(segment) = self.segment(at)
            && let Some(frame) = self.frame(segment).filter(|frame| frame.is_joinable())
            && payload_bytes + frame.payload().len() < JOINED_BYTES_MAX
        {
            payload_bytes += frame.payload().len() + usize::from(count > 0);
            count += 1;
            at = segment.next;
        }
        (count, payload_bytes)
    }
}

/// Longest joined text; below this the copy costs less than the frame headers and wake-ups that it
/// saves the client.
const JOINED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::{SLICES_MAX, SharedBudget};
    use crate::timer::Tick;
    use crate::ws::EncodedFrame;

    #[derive(Clone, Debug)]
    enum Step {
        Text(String),
        /// A text that must not be joined.
        Alone(String),
        Write(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => "[a-z]{0,300}".prop_map(Step::Text),
            1 => "[A-Z]{1,9}".prop_map(Step::Alone),
            2 => (0..1000usize).prop_map(Step::Write),
        ]
    }

    /// The payloads of the unmasked text frames in `wire`.
    fn payloads(mut wire: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while let [0x81, length, rest @ ..] = wire {
            let (length, rest) = match (length, rest) {
                (126, [high, low, rest @ ..]) => {
                    (usize::from(*high) << 8 | usize::from(*low), rest)
                }
                (length, rest) => (usize::from(*length), rest),
            };
            found.push(String::from_utf8(rest[..length].to_vec()).unwrap());
            wire = &rest[length..];
        }
        assert!(wire.is_empty());
        found
    }

    proptest! {
        /// Joined or not, the lines of all messages are the texts that were pushed, in their order.
        #[test]
        fn joined_texts_are_lines(steps in prop::collection::vec(step(), 0..60)) {
            let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
            let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
            let (mut wire, mut pushed) = (Vec::new(), Vec::new());
            let drain = Step::Write(usize::MAX);
            for step in steps.into_iter().chain([drain]) {
                let frame = match step {
                    Step::Text(text) => {
                        pushed.push(text.clone());
                        EncodedFrame::joinable_text(&text)
                    }
                    Step::Alone(text) => {
                        pushed.push(text.clone());
                        EncodedFrame::text(&text)
                    }
                    Step::Write(limit) => {
                        let mut left = limit;
                        while left > 0 && !queue.is_empty() {
                            backlog.join(&mut queue, &mut buffers, Millis(0));
                            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                            let count = backlog.gather(&queue, &mut slices);
                            let bytes: Vec<u8> =
                                slices[..count].iter().flat_map(|own| own.to_vec()).collect();
                            let written = bytes.len().min(left);
                            wire.extend_from_slice(&bytes[..written]);
                            backlog.consume(&mut queue, written, &mut buffers, Tick(0));
                            left -= written;
                        }
                        continue;
                    }
                };
                let id = backlog.share(frame);
                backlog.push_frame(&mut queue, id, Tick(0));
                backlog.release(id);
            }
            let messages = payloads(&wire);
            prop_assert!(messages.len() <= pushed.len());
            let lines: Vec<&str> = messages.iter().flat_map(|text| text.split('\n')).collect();
            prop_assert_eq!(lines, pushed);
            prop_assert_eq!(backlog.counts(), [0, 0, 0]);
            prop_assert_eq!(buffers.allocated_bytes(), buffers.free_bytes());
        }
    }

    #[test]
    fn queued_texts_are_joined_except_a_started_one() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
        let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
        for text in ["one", "two", "three"] {
            let id = backlog.share(EncodedFrame::joinable_text(text));
            backlog.push_frame(&mut queue, id, Tick(0));
            backlog.release(id);
        }
        backlog.consume(&mut queue, 1, &mut buffers, Tick(0));
        backlog.join(&mut queue, &mut buffers, Millis(0));
        assert_eq!(backlog.counts(), [3, 0, 3]);
        backlog.consume(&mut queue, 4, &mut buffers, Tick(0));
        backlog.join(&mut queue, &mut buffers, Millis(0));
        assert_eq!(backlog.counts(), [1, 1, 0]);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        backlog.gather(&queue, &mut slices);
        assert_eq!(&*slices[0], b"\x81\x09two\nthree");
        assert_eq!(queue.bytes(), 11);
        backlog.clear(&mut queue, &mut buffers);
    }
}
