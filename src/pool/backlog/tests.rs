use proptest::prelude::*;

use super::*;
use crate::pool::SharedBudget;

#[derive(Clone, Debug)]
enum Step {
    Copy(Vec<u8>),
    /// A reply whose header and payload are pushed separately.
    Reply(Vec<u8>),
    Frame(Vec<u8>),
    /// Frames that are one segment, as a batch.
    Batch(Vec<Vec<u8>>),
    Write(usize),
    DiscardUnstarted,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..3000).prop_map(Step::Copy),
        2 => prop::collection::vec(any::<u8>(), 1025..6000).prop_map(Step::Reply),
        3 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Frame),
        2 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 2..9)
            .prop_map(Step::Batch),
        4 => (1..5000usize).prop_map(Step::Write),
        1 => Just(Step::DiscardUnstarted),
    ]
}

/// The messages that wait, counted one by one.
fn walked(backlog: &Backlog, queue: &OutQueue) -> usize {
    let (mut at, mut written, mut count) = (queue.head, queue.head_written, 0);
    while let Some(segment) = backlog.segment(at) {
        let written = std::mem::take(&mut written);
        count += match backlog.shared(segment) {
            Some(shared) if !shared.ends.is_empty() => {
                shared.ends.iter().filter(|end| **end > written).count()
            }
            _ => 1,
        };
        at = segment.next;
    }
    count
}

fn gathered(backlog: &Backlog, queue: &OutQueue) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = backlog.gather(queue, &mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn ends(frames: &[EncodedFrame]) -> Box<[u32]> {
    let lengths = frames.iter().map(|frame| byte_count(frame.as_bytes().len()));
    lengths
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect()
}

proptest! {
    /// Two connections share one backlog; the naive twin of each is one vector of bytes.
    #[test]
    fn bytes_come_out_as_they_went_in(
        steps in prop::collection::vec((any::<bool>(), step()), 0..60),
    ) {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
        let mut backlog = Backlog::default();
        let mut queues = [OutQueue::default(); 2];
        let mut naive = [Vec::new(), Vec::new()];
        // Bytes written, and the ends of frames among the bytes written or queued.
        let mut written = [0, 0];
        let mut frame_ends = [vec![0], vec![0]];
        for (which, step) in steps {
            let queue = &mut queues[usize::from(which)];
            let naive = &mut naive[usize::from(which)];
            let written = &mut written[usize::from(which)];
            let frame_ends = &mut frame_ends[usize::from(which)];
            let mut copy = |queue: &mut OutQueue, bytes: &[u8], continues| {
                let pushed = backlog.push_copy(queue, bytes, continues, &mut buffers, Millis(0));
                pushed.unwrap();
                naive.extend(bytes);
            };
            match step {
                Step::Copy(bytes) => copy(queue, &bytes, false),
                Step::Reply(payload) => {
                    copy(queue, b"header", false);
                    copy(queue, &payload, true);
                }
                Step::Frame(payload) => {
                    let frame = EncodedFrame::binary(&payload);
                    naive.extend(frame.as_bytes());
                    let id = backlog.share(frame);
                    backlog.push_frame(queue, id, Tick(0));
                    backlog.release(id);
                }
                Step::Batch(payloads) => {
                    let frames: Vec<_> =
                        payloads.iter().map(|payload| EncodedFrame::binary(payload)).collect();
                    for frame in &frames {
                        naive.extend(frame.as_bytes());
                        frame_ends.push(*written + naive.len());
                    }
                    let id = backlog.share_batch(EncodedFrame::batch(frames.iter()), ends(&frames));
                    backlog.push_frame(queue, id, Tick(0));
                    backlog.release(id);
                }
                Step::Write(bytes) => {
                    let bytes = bytes.min(gathered(&backlog, queue).len());
                    backlog.consume(queue, bytes, &mut buffers, Tick(1));
                    naive.drain(..bytes);
                    *written += bytes;
                }
                Step::DiscardUnstarted => {
                    let is_started = backlog.segment(queue.head).is_some_and(|head| {
                        head.order.kind() == SegmentKind::Continuation
                            || queue.head_written > 0
                                && (head.order.kind() != SegmentKind::Frame
                                    || !frame_ends.contains(written))
                    });
                    backlog.discard_unstarted(queue, &mut buffers);
                    prop_assert_eq!(queue.is_empty(), !is_started);
                    naive.truncate(queue.bytes());
                    let end = *written + naive.len();
                    prop_assert!(frame_ends.contains(&end), "a frame is torn");
                    frame_ends.retain(|frame_end| *frame_end <= end);
                }
            }
            frame_ends.push(*written + naive.len());
            prop_assert_eq!(queue.bytes(), naive.len());
            prop_assert_eq!(queue.is_empty(), naive.is_empty());
            prop_assert_eq!(backlog.messages(queue), walked(&backlog, queue));
            let ready = gathered(&backlog, queue);
            prop_assert!(naive.starts_with(&ready));
            prop_assert_eq!(ready.is_empty(), naive.is_empty());
        }
        for queue in &mut queues {
            backlog.clear(queue, &mut buffers);
        }
        prop_assert_eq!(backlog.counts(), [0, 0, 0]);
        prop_assert_eq!(buffers.allocated_bytes(), buffers.free_bytes());
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Copy,
    Frame,
    Joinable,
    Batch(usize),
    Write(usize),
    Join,
    DiscardUnstarted,
    DiscardUnstartedFrames,
    Keyed(u32),
    DiscardConflated(u32, bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Copy),
        3 => Just(Change::Frame),
        3 => Just(Change::Joinable),
        2 => (1..9usize).prop_map(Change::Batch),
        4 => (1..60usize).prop_map(Change::Write),
        2 => Just(Change::Join),
        1 => Just(Change::DiscardUnstarted),
        1 => Just(Change::DiscardUnstartedFrames),
        3 => (1..4u32).prop_map(Change::Keyed),
        1 => (1..4u32, any::<bool>()).prop_map(|own| Change::DiscardConflated(own.0, own.1)),
    ]
}

proptest! {
    /// Whatever is added, joined, written and dropped: the count that is kept is that of a walk.
    #[test]
    fn messages_are_counted_without_a_walk(changes in prop::collection::vec(change(), 0..80)) {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
        let mut backlog = Backlog::default();
        let mut queue = OutQueue::default();
        let push = |backlog: &mut Backlog, queue: &mut OutQueue, frames: &[EncodedFrame]| {
            let id = match frames {
                [alone] => backlog.share(alone.clone()),
                _ => backlog.share_batch(EncodedFrame::batch(frames.iter()), ends(frames)),
            };
            backlog.push_frame(queue, id, Tick(0));
            backlog.release(id);
        };
        for change in changes {
            match change {
                Change::Copy => {
                    backlog.push_copy(&mut queue, b"reply", false, &mut buffers, Millis(0)).unwrap();
                }
                Change::Frame => push(&mut backlog, &mut queue, &[EncodedFrame::binary(b"frame")]),
                Change::Joinable => {
                    push(&mut backlog, &mut queue, &[EncodedFrame::joinable_text("line")]);
                }
                Change::Batch(count) => {
                    push(&mut backlog, &mut queue, &vec![EncodedFrame::text("one"); count]);
                }
                Change::Write(bytes) => {
                    let bytes = bytes.min(gathered(&backlog, &queue).len());
                    if bytes > 0 {
                        backlog.consume(&mut queue, bytes, &mut buffers, Tick(1));
                    }
                }
                Change::Join => backlog.join(&mut queue, &mut buffers, Millis(0)),
                Change::DiscardUnstarted => backlog.discard_unstarted(&mut queue, &mut buffers),
                Change::DiscardUnstartedFrames => {
                    backlog.discard_unstarted_frames(&mut queue, &mut buffers);
                }
                Change::Keyed(key) => {
                    push(&mut backlog, &mut queue, &[EncodedFrame::binary(b"f").conflated_by(key)]);
                }
                Change::DiscardConflated(key, keeps_last) => {
                    let mut keys = [Conflated { key, keeps_last, dropped: 0 }];
                    backlog.discard_conflated(&mut queue, &mut keys, &mut buffers);
                    prop_assert!(!backlog.superseded(&queue, 0).0.contains(&key));
                }
            }
            let count = walked(&backlog, &queue);
            prop_assert_eq!(backlog.messages(&queue), count, "after {:?}", change);
            prop_assert!(backlog.holds(&queue, count) && !backlog.holds(&queue, count + 1));
        }
        backlog.clear(&mut queue, &mut buffers);
        prop_assert_eq!(backlog.counts(), [0, 0, 0]);
    }
}

#[test]
fn a_shared_frame_is_stored_once() {
    let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
    let mut backlog = Backlog::default();
    let mut queues = [OutQueue::default(); 100];
    let id = backlog.share(EncodedFrame::text("hello"));
    for queue in &mut queues {
        backlog.push_frame(queue, id, Tick(0));
    }
    backlog.release(id);
    assert_eq!(backlog.counts(), [100, 0, 1]);
    for queue in &mut queues {
        backlog.clear(queue, &mut buffers);
    }
    assert_eq!(backlog.counts(), [0, 0, 0]);
    let unused = backlog.share(EncodedFrame::text("no recipient"));
    backlog.release(unused);
    assert_eq!(backlog.counts(), [0, 0, 0]);
}

#[test]
fn the_rest_of_a_short_write_is_never_discarded() {
    let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
    let mut backlog = Backlog::default();
    let mut queue = OutQueue::default();
    backlog.push_copy(&mut queue, b"rest", true, &mut buffers, Millis(0)).unwrap();
    for text in ["old", "older"] {
        let id = backlog.share(EncodedFrame::text(text));
        backlog.push_frame(&mut queue, id, Tick(0));
        backlog.release(id);
    }
    backlog.push_copy(&mut queue, b"reply", false, &mut buffers, Millis(0)).unwrap();
    backlog.discard_unstarted_frames(&mut queue, &mut buffers);
    assert_eq!(gathered(&backlog, &queue), b"restreply");
    backlog.discard_unstarted(&mut queue, &mut buffers);
    assert_eq!((gathered(&backlog, &queue), queue.bytes()), (b"rest".to_vec(), 4));
}

#[test]
fn a_queue_and_a_segment_take_16_bytes() {
    assert_eq!(size_of::<OutQueue>(), 16);
    assert_eq!(size_of::<Segment>(), 16);
    assert_eq!(size_of::<Option<Segment>>(), 16);
}

#[test]
fn empty_lines_count_as_messages() {
    let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
    let mut backlog = Backlog::default();
    let mut queue = OutQueue::default();
    for count in 1..4 {
        assert!(!backlog.holds(&queue, count));
        let id = backlog.share(EncodedFrame::text("").to_line().unwrap());
        backlog.push_frame(&mut queue, id, Tick(0));
        backlog.release(id);
        assert!(backlog.holds(&queue, count));
    }
    backlog.clear(&mut queue, &mut buffers);
}

#[test]
fn messages_of_a_batch_count_one_by_one_and_a_discard_keeps_the_started_one() {
    let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
    let mut backlog = Backlog::default();
    let frames = ["one", "two", "three"].map(EncodedFrame::text);
    let id = backlog.share_batch(EncodedFrame::batch(frames.iter()), ends(&frames));
    let mut queues = [OutQueue::default(); 2];
    for queue in &mut queues {
        backlog.push_frame(queue, id, Tick(0));
        assert!(backlog.holds(queue, 3) && !backlog.holds(queue, 4));
    }
    backlog.release(id);
    let [queue, other] = &mut queues;
    backlog.consume(queue, 5, &mut buffers, Tick(0));
    assert!(backlog.holds(queue, 2) && !backlog.holds(queue, 3), "the first is written");
    backlog.consume(queue, 1, &mut buffers, Tick(0));
    assert!(backlog.holds(queue, 2), "the second is started but not written");
    backlog.discard_unstarted_frames(queue, &mut buffers);
    assert_eq!((gathered(&backlog, queue), queue.bytes()), (b"\x03two".to_vec(), 4));
    assert!(!backlog.holds(queue, 2));
    assert_eq!(other.bytes(), 17, "the other queue has all of them");
    backlog.discard_unstarted_frames(other, &mut buffers);
    assert!(other.is_empty());
    backlog.clear(queue, &mut buffers);
    assert_eq!(backlog.counts(), [0, 0, 0]);
}

#[test]
fn a_write_that_ends_between_messages_of_a_batch_starts_none() {
    let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
    let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
    let frames = ["one", "two", "three"].map(EncodedFrame::text);
    let id = backlog.share_batch(EncodedFrame::batch(frames.iter()), ends(&frames));
    backlog.push_frame(&mut queue, id, Tick(0));
    backlog.release(id);
    backlog.push_copy(&mut queue, b"reply", false, &mut buffers, Millis(0)).unwrap();
    backlog.consume(&mut queue, 5, &mut buffers, Tick(0));
    backlog.discard_unstarted_frames(&mut queue, &mut buffers);
    assert_eq!((gathered(&backlog, &queue), queue.bytes()), (b"reply".to_vec(), 5));
    backlog.clear(&mut queue, &mut buffers);
    assert_eq!(backlog.counts(), [0, 0, 0]);
}
