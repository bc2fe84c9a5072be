//! The engine inside the process: the streams of the channels whose home is one loop.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::engine::{
    Engine, EngineError, EngineEvent, JoinRequest, PageRequest, PublishRequest, Published, Read,
    StreamItem,
};
use super::history::{History, Recovery};
use super::idempotency::Idempotency;
use super::namespace::RecoveryMode;
use super::position::Epoch;
use super::stream_copy::StreamCopy;
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// How much an engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Channels of which something is kept.
    pub streams_max: usize,
    /// Bytes of all histories together. A publication that has no room forgets older ones of its channel,
    /// and is not kept itself if that is not enough.
    pub bytes_max: usize,
}

/// Keeps publications in memory. What it answers, it answers at once.
#[derive(Debug)]
pub struct MemoryEngine {
    limits: MemoryLimits,
    streams: Slab<Stream>,
    by_name: HashMap<Arc<str>, u32>,
    /// The epoch of the next stream.
    next_epoch: u32,
    bytes: usize,
    /// The stream that is looked at next.
    cursor: usize,
    /// Whether nothing may change, as another engine is to go on from here.
    is_frozen: bool,
}

#[derive(Debug)]
struct Stream {
    name: Arc<str>,
    history: History,
    idempotency: Idempotency,
    /// When its position may be forgotten.
    forgotten_at: Millis,
    /// Whether its position is that of members, which a new epoch would contradict.
    has_members: bool,
    /// What it counts for in the engine's bytes.
    counted_bytes: usize,
}

impl MemoryEngine {
    /// An engine without streams, whose first has this epoch. Two engines of one channel, one after the
    /// other, must not begin with the same.
    #[must_use]
    pub fn new(limits: MemoryLimits, first_epoch: u32) -> Self {
        Self {
            limits,
            streams: Slab::new(),
            by_name: HashMap::new(),
            next_epoch: first_epoch,
            bytes: 0,
            cursor: 0,
            is_frozen: false,
        }
    }

    /// The limits from now on. What is kept stays.
    pub fn set_limits(&mut self, limits: MemoryLimits) {
        self.limits = limits;
    }

    /// Streams that are kept.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// From now on nothing is published, forgotten or begun, until [`MemoryEngine::thaw`]: what asks for that
    /// is answered with [`EngineError::Unavailable`].
    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// Goes on. Where another engine may have gone on meanwhile from copies of these streams, they `are_new`
    /// from here on: each has another epoch.
    pub fn thaw(&mut self, are_new: bool) {
        self.is_frozen = false;
        for (_, stream) in self.streams.iter_mut().filter(|_| are_new) {
            stream.history.set_epoch(Epoch(self.next_epoch));
            self.next_epoch = self.next_epoch.wrapping_add(1);
        }
    }

    /// Copies of the streams from a cursor on, which is 0 at first: some, with up to `entries_max` publications
    /// and keys, but one stream at least. Then the next cursor, if there are more. To be called while it is
    /// frozen.
    #[must_use]
    pub fn copies(
        &self,
        cursor: usize,
        entries_max: usize,
        now: Millis,
    ) -> (Vec<StreamCopy>, Option<usize>) {
        let (mut copies, mut entries) = (Vec::new(), 0);
        for index in cursor..self.streams.capacity() {
            let Some(stream) = self.streams.get(index) else { continue };
            if entries >= entries_max && !copies.is_empty() {
                return (copies, Some(index));
            }
            let kept = (&stream.history, &stream.idempotency);
            let copy = StreamCopy::new(&stream.name, kept, stream.forgotten_at, now);
            entries += 1 + copy.entries.len() + copy.keys.len();
            copies.push(copy);
        }
        (copies, None)
    }

    /// Takes a stream over. Whether there was room: the publications that have none are forgotten, the oldest
    /// first; a stream that has none begins anew with another epoch.
    pub fn restore(&mut self, mut copy: StreamCopy, now: Millis) -> bool {
        let is_full = self.streams.len() >= self.limits.streams_max;
        if is_full || self.by_name.contains_key(&copy.channel) {
            return false;
        }
        let (name, kept_ms) = (Arc::clone(&copy.channel), copy.kept_ms);
        let taken = self.bytes + STREAM_BYTES + name.len();
        copy.keep_latest(self.limits.bytes_max.saturating_sub(taken));
        let (history, idempotency) = copy.restored(now);
        let index = self.streams.insert(Stream {
            name: Arc::clone(&name),
            history,
            idempotency,
            forgotten_at: now.plus(kept_ms),
            has_members: false,
            counted_bytes: 0,
        });
        self.by_name.insert(name, crate::key::slot_number(index));
        self.streams[index].expire(now);
        self.recount(index);
        true
    }

    /// The stream of a channel, after what is too old in it is forgotten; a new one if there is none.
    fn stream(
        &mut self,
        channel: &Arc<str>,
        meta_ttl_ms: u64,
        now: Millis,
    ) -> Result<usize, EngineError> {
        if let Some(index) = self.by_name.get(channel) {
            let index = *index as usize;
            self.streams[index].expire(now);
            return Ok(index);
        }
        if self.is_frozen {
            return Err(EngineError::Unavailable);
        }
        if self.streams.len() >= self.limits.streams_max {
            return Err(EngineError::TooManyChannels);
        }
        let history = History::new(Epoch(self.next_epoch));
        self.next_epoch = self.next_epoch.wrapping_add(1);
        let index = self.streams.insert(Stream {
            name: Arc::clone(channel),
            history,
            idempotency: Idempotency::default(),
            forgotten_at: now.plus(meta_ttl_ms),
            has_members: false,
            counted_bytes: 0,
        });
        self.by_name.insert(Arc::clone(channel), crate::key::slot_number(index));
        Ok(index)
    }

    /// Counts what a stream holds now.
    fn recount(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let bytes = stream.held_bytes();
        self.bytes = self.bytes + bytes - stream.counted_bytes;
        stream.counted_bytes = bytes;
    }

    fn push(&mut self, index: usize, request: &PublishRequest<'_>, now: Millis) {
        let PublishRequest { namespace, publication, skips_history, .. } = request;
        let stream = &mut self.streams[index];
        let keeps_it = now.plus(namespace.history_meta_ttl_ms.max(namespace.history_ttl_ms));
        stream.forgotten_at = stream.forgotten_at.max(keeps_it);
        if *skips_history {
            return;
        }
        let wanted = publication.held_bytes() + super::history::ENTRY_BYTES_MAX;
        let others = self.bytes - stream.counted_bytes;
        while others + stream.held_bytes() + wanted > self.limits.bytes_max {
            if !stream.history.forget_oldest() {
                stream.history.skip();
                return;
            }
        }
        let expires_at = now.plus(namespace.history_ttl_ms);
        stream.history.push((*publication).clone(), namespace.history_size, expires_at);
    }

    fn published(
        &mut self,
        request: &PublishRequest<'_>,
        now: Millis,
    ) -> Result<(Published, bool), EngineError> {
        let PublishRequest { channel, namespace, idempotency_key, skips_history, .. } = request;
        if self.is_frozen {
            return Err(EngineError::Unavailable);
        }
        let keeps = namespace.has_history() && !skips_history;
        if !keeps && idempotency_key.is_none() {
            return Ok((Published { position: None }, true));
        }
        let index = self.stream(channel, namespace.history_meta_ttl_ms, now)?;
        let key = idempotency_key.as_ref();
        if let Some(position) = key.and_then(|key| self.streams[index].idempotency.get(key)) {
            return Ok((Published { position }, false));
        }
        if keeps {
            self.push(index, request, now);
        }
        let stream = &mut self.streams[index];
        let position = keeps.then(|| stream.history.position());
        if let Some(key) = key {
            stream.idempotency.add(key, position, now);
        }
        self.recount(index);
        Ok((Published { position }, true))
    }

    /// The stream as a member finds it, which is kept as long as there are members.
    fn joined(&mut self, request: &JoinRequest<'_>, now: Millis) -> Result<Read, EngineError> {
        let JoinRequest { channel, namespace, position, .. } = *request;
        let index = self.stream(channel, namespace.history_meta_ttl_ms, now)?;
        self.streams[index].has_members = true;
        self.recount(index);
        let history = &self.streams[index].history;
        let recovery = match (position, namespace.recovery_mode) {
            (None, _) => Recovery::Recovered(Vec::new()),
            (Some((offset, epoch)), RecoveryMode::Stream) => history.recover(offset, epoch),
            (Some((offset, epoch)), RecoveryMode::Cache) => history.recover_latest(offset, epoch),
        };
        Ok(Read { position: history.position(), recovery })
    }

    fn forget(&mut self, index: usize) {
        let stream = self.streams.remove(index);
        self.by_name.remove(&stream.name);
        self.bytes -= stream.counted_bytes;
        self.by_name.shrink_if_sparse(STREAMS_KEPT);
        if self.streams.is_empty() {
            self.streams = Slab::new();
        }
    }
}

impl Stream {
    fn expire(&mut self, now: Millis) {
        self.history.expire(now);
        self.idempotency.expire(now);
    }

    fn held_bytes(&self) -> usize {
        let keys = self.idempotency.held_bytes();
        STREAM_BYTES + self.name.len() + self.history.held_bytes() + keys
    }
}

impl<C> Engine<C> for MemoryEngine {
    fn publish(
        &mut self,
        request: PublishRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let result = self.published(&request, now);
        if let Ok((Published { position }, true)) = &result {
            events.push(EngineEvent::Stream(StreamItem {
                channel: Arc::clone(request.channel),
                publication: request.publication.clone(),
                position: *position,
            }));
        }
        events.push(EngineEvent::Published(context, result.map(|(published, _)| published)));
    }

    fn join(
        &mut self,
        request: JoinRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let read = request.is_positioned.then(|| self.joined(&request, now)).transpose();
        events.push(EngineEvent::Joined(context, read));
    }

    fn leave(&mut self, channel: &Arc<str>) {
        if let Some(index) = self.by_name.get(channel) {
            self.streams[*index as usize].has_members = false;
        }
    }

    fn page(
        &mut self,
        request: PageRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let PageRequest { channel, namespace, since, epoch, limit } = request;
        let index = self.stream(channel, namespace.history_meta_ttl_ms, now);
        let result = index.and_then(|index| {
            self.recount(index);
            let history = &self.streams[index].history;
            let position = history.position();
            if !epoch.admits(position.epoch) {
                return Err(EngineError::OtherEpoch);
            }
            let recovery = Recovery::Recovered(history.page(since, limit));
            Ok(Read { position, recovery })
        });
        events.push(EngineEvent::Page(context, result));
    }

    fn remove(&mut self, channel: &Arc<str>, context: C, events: &mut Vec<EngineEvent<C>>) {
        if self.is_frozen {
            return events.push(EngineEvent::Removed(context, Err(EngineError::Unavailable)));
        }
        if let Some(index) = self.by_name.get(channel) {
            let index = *index as usize;
            self.streams[index].history.clear();
            self.recount(index);
        }
        events.push(EngineEvent::Removed(context, Ok(())));
    }

    fn tick(&mut self, now: Millis) {
        let count = self.streams.len().div_ceil(TICKS_OF_A_ROUND).max(LOOKED_AT_MIN);
        let end = (self.cursor + count).min(self.streams.capacity());
        for index in self.cursor..end {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            stream.expire(now);
            let is_over = stream.history.is_empty()
                && stream.idempotency.is_empty()
                && stream.forgotten_at <= now
                && !stream.has_members;
            match is_over {
                true => self.forget(index),
                false => self.recount(index),
            }
        }
        self.cursor = if end >= self.streams.capacity() { 0 } else { end };
    }

    fn held_bytes(&self) -> usize {
        self.bytes
    }
}

/// Bytes of a stream with its entry in the map of names.
const STREAM_BYTES: usize = size_of::<Stream>() + 2 * size_of::<(Arc<str>, u32)>() + 32;
/// Ticks in which all streams are looked at once.
const TICKS_OF_A_ROUND: usize = 64;
/// Streams that are looked at in a tick, at least.
const LOOKED_AT_MIN: usize = 64;
/// Entries for which the map of names keeps room.
const STREAMS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::history::{Publication, Since};
    use crate::channels::{NamedEpoch, Namespace};

    fn namespace(size: usize) -> Namespace {
        let (history_ttl_ms, history_meta_ttl_ms) = (1000, 5000);
        Namespace { history_size: size, history_ttl_ms, history_meta_ttl_ms, ..Namespace::new("") }
    }

    fn engine(streams_max: usize, bytes_max: usize) -> MemoryEngine {
        MemoryEngine::new(MemoryLimits { streams_max, bytes_max }, 1)
    }

    fn publish(
        own: &mut MemoryEngine,
        channel: &str,
        namespace: &Namespace,
        key: Option<&str>,
        now: u64,
    ) -> Vec<EngineEvent<u8>> {
        let mut events = Vec::new();
        let request = PublishRequest {
            channel: &channel.into(),
            namespace,
            publication: &Publication::new(*b"{}"),
            idempotency_key: key,
            skips_history: false,
        };
        own.publish(request, 9, Millis(now), &mut events);
        events
    }

    fn offset(events: &[EngineEvent<u8>]) -> Option<u64> {
        let [.., EngineEvent::Published(9, Ok(own))] = events else { panic!("{events:?}") };
        own.position.map(|own| own.offset)
    }

    fn page(own: &mut MemoryEngine, channel: &str, namespace: &Namespace, now: u64) -> Read {
        let mut events: Vec<EngineEvent<u8>> = Vec::new();
        let request = PageRequest {
            channel: &channel.into(),
            namespace,
            since: Since::Oldest(None),
            epoch: NamedEpoch::Any,
            limit: 100,
        };
        own.page(request, 1, Millis(now), &mut events);
        let Some(EngineEvent::Page(1, Ok(read))) = events.pop() else { panic!("{events:?}") };
        read
    }

    #[test]
    fn a_publication_streams_before_it_is_answered() {
        let mut own = engine(10, 1 << 20);
        let events = publish(&mut own, "a", &namespace(2), None, 0);
        assert!(matches!(&events[..], [EngineEvent::Stream(_), EngineEvent::Published(9, Ok(_))]));
        assert_eq!(offset(&events), Some(1));
        let events = publish(&mut own, "b", &namespace(0), None, 0);
        assert_eq!((events.len(), offset(&events), own.stream_count()), (2, None, 1));
    }

    #[test]
    fn a_key_publishes_once() {
        let mut own = engine(10, 1 << 20);
        let first = publish(&mut own, "a", &namespace(2), Some("k"), 0);
        let second = publish(&mut own, "a", &namespace(2), Some("k"), 1);
        assert_eq!((first.len(), second.len()), (2, 1), "nothing is streamed again");
        assert_eq!(offset(&first), offset(&second));
        let later = publish(&mut own, "a", &namespace(2), Some("k"), 1_000_000);
        assert_eq!((later.len(), offset(&later)), (2, Some(2)));
    }

    #[test]
    fn streams_are_bounded_and_vanish_with_what_they_keep() {
        let mut own = engine(1, 1 << 20);
        publish(&mut own, "a", &namespace(2), None, 0);
        let events = publish(&mut own, "b", &namespace(2), None, 0);
        let refused =
            matches!(&events[..], [EngineEvent::Published(9, Err(EngineError::TooManyChannels))]);
        assert!(refused, "{events:?}");
        let epoch = page(&mut own, "a", &namespace(2), 10).position.epoch;
        Engine::<u8>::tick(&mut own, Millis(4999));
        let read = page(&mut own, "a", &namespace(2), 4999);
        assert_eq!((read.position.offset, read.position.epoch), (1, epoch), "the position stays");
        let request = JoinRequest {
            channel: &"a".into(),
            namespace: &namespace(2),
            is_positioned: true,
            position: Some((1, NamedEpoch::Any)),
        };
        let mut events = Vec::new();
        own.join(request, 7, Millis(4999), &mut events);
        let [EngineEvent::Joined(7, Ok(Some(joined)))] = &events[..] else { panic!("{events:?}") };
        assert_eq!(
            (joined.position, &joined.recovery),
            (read.position, &Recovery::Recovered(vec![]))
        );
        Engine::<u8>::tick(&mut own, Millis(5000));
        assert_eq!(own.stream_count(), 1, "members have its position");
        Engine::<u8>::leave(&mut own, &"a".into());
        Engine::<u8>::tick(&mut own, Millis(5000));
        assert_eq!((own.stream_count(), Engine::<u8>::held_bytes(&own)), (0, 0));
        let read = page(&mut own, "a", &namespace(2), 5000);
        assert_eq!(read.position.offset, 0);
        assert_ne!(read.position.epoch, epoch);
    }

    #[test]
    fn a_frozen_engine_changes_nothing_until_it_goes_on() {
        let mut own = engine(10, 1 << 20);
        publish(&mut own, "a", &namespace(2), None, 0);
        own.freeze();
        for (channel, size) in [("a", 2), ("b", 2), ("c", 0)] {
            let events = publish(&mut own, channel, &namespace(size), None, 0);
            let refused =
                matches!(&events[..], [EngineEvent::Published(9, Err(EngineError::Unavailable))]);
            assert!(refused, "{channel}: {events:?}");
        }
        let mut events: Vec<EngineEvent<u8>> = Vec::new();
        own.remove(&"a".into(), 1, &mut events);
        assert!(matches!(&events[..], [EngineEvent::Removed(1, Err(EngineError::Unavailable))]));
        let before = page(&mut own, "a", &namespace(2), 0);
        assert_eq!((before.position.offset, own.stream_count()), (1, 1), "it is read as ever");
        own.thaw(false);
        assert_eq!(offset(&publish(&mut own, "a", &namespace(2), None, 0)), Some(2));
        own.freeze();
        own.thaw(true);
        let after = page(&mut own, "a", &namespace(2), 0);
        assert_ne!(after.position.epoch, before.position.epoch, "another may have gone on");
    }

    #[test]
    fn a_stream_without_room_is_not_taken_over() {
        let mut own = engine(10, 1 << 20);
        for _ in 0..5 {
            publish(&mut own, "a", &namespace(5), None, 0);
            publish(&mut own, "b", &namespace(5), None, 0);
        }
        let (copies, _) = own.copies(0, usize::MAX, Millis(0));
        let mut next = engine(1, 1 << 20);
        let taken: Vec<bool> =
            copies.iter().map(|own| next.restore(own.clone(), Millis(0))).collect();
        assert_eq!(taken, [true, false]);
        let bytes_max = STREAM_BYTES + 200;
        let mut small = engine(10, bytes_max);
        assert!(small.restore(copies[0].clone(), Millis(0)));
        let read = page(&mut small, "a", &namespace(5), 0);
        let offsets: Vec<u64> = read.clone().page().into_iter().map(|(own, _)| own).collect();
        assert!((1..5).contains(&offsets.len()) && offsets.ends_with(&[5]), "{offsets:?}");
        assert_eq!(read.position.offset, 5);
        assert!(Engine::<u8>::held_bytes(&small) <= bytes_max + STREAM_BYTES);
    }

    proptest! {
        /// An engine that goes on from copies answers as the one that they are of would.
        #[test]
        fn an_engine_goes_on_where_another_was(
            steps in prop::collection::vec((0..4_u8, 0..6_usize, 0..400_u64, 0..4_u8), 1..60),
            at in any::<prop::sample::Index>(),
            entries_max in 0..9_usize,
        ) {
            let (mut own, mut next) = (engine(3, 1 << 20), None);
            let mut now = 0;
            // The clock of the other process began elsewhere.
            let shift = 7_000_000;
            let handover = at.index(steps.len());
            for (number, (channel, size, ms, key)) in steps.into_iter().enumerate() {
                now += ms;
                if number == handover {
                    own.freeze();
                    let mut taken = MemoryEngine::new(own.limits, 900);
                    let mut cursor = Some(0);
                    while let Some(at) = cursor {
                        let (copies, more) = own.copies(at, entries_max, Millis(now));
                        for copy in copies {
                            prop_assert!(taken.restore(copy, Millis(now + shift)));
                        }
                        cursor = more;
                    }
                    prop_assert_eq!(taken.bytes, taken.streams.iter().map(|(_, own)| own.held_bytes()).sum::<usize>());
                    own.thaw(false);
                    // What is new has the same epochs in both.
                    own.next_epoch = 900;
                    next = Some(taken);
                }
                let (name, key) = (channel.to_string(), key.to_string());
                let key = Some(&*key).filter(|own| *own != "0");
                let wanted = publish(&mut own, &name, &namespace(size), key, now);
                if let Some(next) = &mut next {
                    let found = publish(next, &name, &namespace(size), key, now + shift);
                    prop_assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
                    if next.by_name.contains_key(&*name) {
                        let found = page(next, &name, &namespace(5), now + shift);
                        prop_assert_eq!(found, page(&mut own, &name, &namespace(5), now));
                    }
                }
            }
        }

        /// Whatever is published where, the bytes stay below the limit but for what the streams themselves
        /// take, they are those of a recount, and offsets have no gap.
        #[test]
        fn bytes_are_bounded(
            steps in prop::collection::vec((0..4_u8, 0..6_usize, 0..400_u64), 1..80),
            bytes_max in 0..6000_usize,
        ) {
            let mut own = engine(3, bytes_max);
            let mut now = 0;
            let mut tops = HashMap::new();
            for (channel, size, ms) in steps {
                now += ms;
                let name = channel.to_string();
                let events = publish(&mut own, &name, &namespace(size), None, now);
                if let [EngineEvent::Stream(StreamItem { position: Some(position), .. }), _] =
                    &events[..]
                {
                    let before = tops.insert((name, position.epoch), position.offset);
                    prop_assert_eq!(position.offset, before.unwrap_or(0) + 1);
                }
                let naive: usize = own.streams.iter().map(|(_, own)| own.counted_bytes).sum();
                prop_assert_eq!(own.bytes, naive);
                let of_streams = own.streams.len() * (STREAM_BYTES + 1);
                // The room for further entries of a history comes on top.
                prop_assert!(own.bytes <= bytes_max + of_streams + 4 * 5 * 32);
                Engine::<u8>::tick(&mut own, Millis(now));
            }
        }
    }
}
