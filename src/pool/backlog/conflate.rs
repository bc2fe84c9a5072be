//! Conflation: of frames with one key that wait for the same connection, only the last is needed.

use super::{Backlog, Buffers, OutQueue};
use crate::key::SlotRef;

/// What is to become of the frames with a conflation key, and what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflated {
    /// The key.
    pub key: u32,
    /// Whether the last of them stays.
    pub keeps_last: bool,
    /// How many were dropped.
    pub dropped: usize,
}

impl Backlog {
    /// The keys of unstarted frames that have a later one behind them, where a frame with the key `new` is to
    /// come next; with how many segments were looked at. Where little could be left out of much, nothing is:
    /// each look would lead to the next.
    #[must_use]
    pub fn superseded(&self, queue: &OutQueue, new: u32) -> (Vec<u32>, usize) {
        let mut count = 0;
        let unstarted = self.unstarted(queue).inspect(|_| count += 1);
        let mut keys: Vec<u32> = unstarted.map(|(_, key)| key).filter(|key| *key != 0).collect();
        if new != 0 {
            keys.push(new);
        }
        keys.sort_unstable();
        let with_key = keys.len();
        let mut superseded: Vec<u32> =
            keys.windows(2).filter(|own| own[0] == own[1]).map(|own| own[0]).collect();
        superseded.dedup();
        keys.dedup();
        if count > LOOKED_AT_MAX && (with_key - keys.len()) * LEFT_OUT_PART < count {
            superseded.clear();
        }
        (superseded, count)
    }

    /// Drops the frames with these keys, which ascend, of which no byte is written, but for the last of each
    /// key if it is wanted. Notes with each key how many were dropped, and gives how many segments were looked
    /// at: each at most twice, however many keys there are.
    pub fn discard_conflated(
        &mut self,
        queue: &mut OutQueue,
        keys: &mut [Conflated],
        buffers: &mut Buffers,
    ) -> usize {
        debug_assert!(keys.is_sorted_by(|one, next| one.key < next.key));
        if keys.is_empty() {
            return 0;
        }
        let mut looked_at = 0;
        let with_key = self.unstarted(queue).inspect(|_| looked_at += 1).filter(|own| own.1 != 0);
        let mut unwanted: Vec<(u32, usize)> = with_key
            .filter_map(|(index, key)| {
                Some((index, keys.binary_search_by_key(&key, |own| own.key).ok()?))
            })
            .collect();
        // From the end, so that the first of a key is the last in the queue.
        let mut has_last = vec![false; keys.len()];
        unwanted.reverse();
        unwanted.retain(|(_, at)| {
            let own = &mut keys[*at];
            let is_kept = !std::mem::replace(&mut has_last[*at], true) && own.keeps_last;
            own.dropped += usize::from(!is_kept);
            !is_kept
        });
        // Both are in the order of the queue, so the next is always at the end.
        self.discard_where(queue, buffers, |index, _| {
            looked_at += 1;
            unwanted.pop_if(|own| own.0 == index).is_some()
        });
        debug_assert!(unwanted.is_empty());
        looked_at
    }

    /// The segments of which no byte is written, with their keys, which blocks do not have.
    fn unstarted(&self, queue: &OutQueue) -> impl Iterator<Item = (u32, u32)> {
        let next = move |link: SlotRef| Some((link.index()?, self.segment(link)?));
        let all = std::iter::successors(next(queue.head), move |(_, own)| next(own.next));
        let all = all.skip(usize::from(queue.head_written > 0));
        all.map(|(index, own)| {
            (index, self.frame(own).map_or(0, crate::ws::EncodedFrame::conflation_key))
        })
    }
}

/// Segments that are looked at in any case.
const LOOKED_AT_MAX: usize = 1024;
/// Of more, so large a part has to be superfluous, as a divisor.
const LEFT_OUT_PART: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Buffers, Tick};
    use super::*;
    use crate::pool::SharedBudget;
    use crate::ws::EncodedFrame;

    /// Frames by their keys and numbers, of which the twin is a list.
    fn queue_of(keys: &[u32], buffers: &mut Buffers) -> (Backlog, OutQueue) {
        let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
        for (number, key) in (0..).zip(keys) {
            let payload = [number, u8::try_from(*key).unwrap()];
            if *key == 0 && number % 2 == 0 {
                let bytes = EncodedFrame::binary(&payload);
                let now = crate::timer::Millis(0);
                backlog.push_copy(&mut queue, bytes.as_bytes(), false, buffers, now).unwrap();
                continue;
            }
            let id = backlog.share(EncodedFrame::binary(&payload).conflated_by(*key));
            backlog.push_frame(&mut queue, id, Tick(0));
            backlog.release(id);
        }
        (backlog, queue)
    }

    /// The payloads of what waits, each of which is two bytes behind a header of two.
    fn payloads(backlog: &Backlog, queue: &OutQueue) -> Vec<(u8, u32)> {
        let mut bytes = Vec::new();
        backlog.copy(queue, &mut bytes);
        bytes.chunks(4).map(|own| (own[2], u32::from(own[3]))).collect()
    }

    proptest! {
        /// Of each key that is chosen the last stays, or none does, and all else stays in its order: as if
        /// the keys were done one after the other.
        #[test]
        fn the_last_of_a_key_stays(
            keys in prop::collection::vec(0..8u32, 0..60),
            new in 0..8u32,
            chosen: [bool; 8],
            with_last: [bool; 8],
        ) {
            let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
            let (mut backlog, mut queue) = queue_of(&keys, &mut buffers);
            let mut all: Vec<(u8, u32)> = (0..).zip(keys.iter().copied()).collect();
            prop_assert_eq!(payloads(&backlog, &queue), all.clone());
            let mut counts = BTreeMap::<u32, usize>::new();
            for key in keys.iter().copied().chain([new]).filter(|key| *key != 0) {
                *counts.entry(key).or_default() += 1;
            }
            let wanted: Vec<u32> =
                counts.into_iter().filter(|own| own.1 > 1).map(|own| own.0).collect();
            let (superseded, _) = backlog.superseded(&queue, new);
            prop_assert_eq!(&superseded, &wanted);
            let (mut given, mut wanted) = (Vec::new(), Vec::new());
            for key in superseded.into_iter().filter(|key| chosen[*key as usize]) {
                let keeps_last = with_last[key as usize];
                let last = all.iter().rposition(|own| own.1 == key);
                let mut at = 0..;
                let before = all.len();
                all.retain(|own| {
                    let is_last = at.next() == last && keeps_last;
                    own.1 != key || is_last
                });
                given.push(Conflated { key, keeps_last, dropped: 0 });
                wanted.push(Conflated { key, keeps_last, dropped: before - all.len() });
            }
            let segments = backlog.counts()[0];
            let looked_at = backlog.discard_conflated(&mut queue, &mut given, &mut buffers);
            prop_assert_eq!(given, wanted);
            prop_assert!(looked_at <= 2 * segments);
            prop_assert_eq!(payloads(&backlog, &queue), all);
            backlog.clear(&mut queue, &mut buffers);
            prop_assert_eq!(backlog.counts(), [0, 0, 0]);
        }
    }

    #[test]
    fn a_frame_of_which_a_byte_is_out_stays() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
        let (mut backlog, mut queue) = queue_of(&[1, 1], &mut buffers);
        backlog.consume(&mut queue, 1, &mut buffers, Tick(1));
        assert!(backlog.superseded(&queue, 0).0.is_empty());
        let mut keys = [Conflated { key: 1, keeps_last: false, dropped: 0 }];
        backlog.discard_conflated(&mut queue, &mut keys, &mut buffers);
        assert_eq!((keys[0].dropped, queue.bytes()), (1, 3));
    }

    #[test]
    fn each_segment_is_looked_at_as_often_for_many_keys_as_for_one() {
        const FRAMES: u32 = 2000;
        for count in [1, 10, FRAMES / 2] {
            let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
            let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
            for number in 0..FRAMES {
                let frame = EncodedFrame::binary(b"x").conflated_by(1 + number % count);
                let id = backlog.share(frame);
                backlog.push_frame(&mut queue, id, Tick(0));
                backlog.release(id);
            }
            let (keys, looked_at) = backlog.superseded(&queue, 0);
            assert!(keys.iter().copied().eq(1..=count));
            assert_eq!(looked_at, FRAMES as usize);
            let with_last = |key| Conflated { key, keeps_last: true, dropped: 0 };
            let mut keys: Vec<Conflated> = keys.into_iter().map(with_last).collect();
            let looked_at = backlog.discard_conflated(&mut queue, &mut keys, &mut buffers);
            assert_eq!(looked_at, 2 * FRAMES as usize);
            assert!(keys.iter().all(|own| own.dropped == (FRAMES / count - 1) as usize));
            assert_eq!(backlog.counts()[0], count as usize);
            backlog.clear(&mut queue, &mut buffers);
        }
    }

    #[test]
    fn little_is_not_left_out_of_much() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 30));
        let (mut backlog, mut queue) = (Backlog::default(), OutQueue::default());
        let mut push = |backlog: &mut Backlog, key| {
            let id = backlog.share(EncodedFrame::binary(b"x").conflated_by(key));
            backlog.push_frame(&mut queue, id, Tick(0));
            backlog.release(id);
            backlog.superseded(&queue, 0).0
        };
        for key in (1..).take(LOOKED_AT_MAX) {
            assert!(push(&mut backlog, key).is_empty());
        }
        for key in 1..=128 {
            assert!(push(&mut backlog, key).is_empty(), "{key}");
        }
        let superseded = (129..=200).map(|key| push(&mut backlog, key).len()).max();
        assert!(superseded > Some(128), "{superseded:?}");
        backlog.clear(&mut queue, &mut buffers);
    }
}
