//! The engine inside the process: the streams of the channels whose home is one loop.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::engine::{
    Engine, EngineError, EngineEvent, PublishRequest, Published, Read, ReadRequest, StreamItem,
};
use super::history::{History, Recovery};
use super::idempotency::Idempotency;
use super::namespace::{Namespace, RecoveryMode};
use super::position::Epoch;
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

    fn recovered(
        &mut self,
        (channel, namespace): (&Arc<str>, &Namespace),
        position: Option<(u64, &str)>,
        mode: RecoveryMode,
        now: Millis,
    ) -> Result<Read, EngineError> {
        let index = self.stream(channel, namespace.history_meta_ttl_ms, now)?;
        self.recount(index);
        let history = &self.streams[index].history;
        let recovery = match (position, mode) {
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

    fn fetch(
        &mut self,
        request: ReadRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let result = match request {
            ReadRequest::Recover { channel, namespace, position, mode } => {
                self.recovered((channel, namespace), position, mode, now)
            }
            ReadRequest::Page { channel, namespace, since, epoch, limit } => {
                let index = self.stream(channel, namespace.history_meta_ttl_ms, now);
                index.and_then(|index| {
                    self.recount(index);
                    let history = &self.streams[index].history;
                    let position = history.position();
                    if epoch.is_some_and(|own| Epoch::parse(own) != Some(position.epoch)) {
                        return Err(EngineError::OtherEpoch);
                    }
                    let recovery = Recovery::Recovered(history.page(since, limit));
                    Ok(Read { position, recovery })
                })
            }
        };
        events.push(EngineEvent::Read(context, result));
    }

    fn remove(&mut self, channel: &str, context: C, events: &mut Vec<EngineEvent<C>>) {
        if let Some(index) = self.by_name.get(channel) {
            let index = *index as usize;
            self.streams[index].history.clear();
            self.recount(index);
        }
        events.push(EngineEvent::Removed(context, Ok(())));
    }

    fn set_interest(&mut self, channel: &Arc<str>, has_members: bool) {
        if let Some(index) = self.by_name.get(channel) {
            self.streams[*index as usize].has_members = has_members;
        }
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
        let request = ReadRequest::Page {
            channel: &channel.into(),
            namespace,
            since: Since::Oldest(None),
            epoch: None,
            limit: 100,
        };
        own.fetch(request, 1, Millis(now), &mut events);
        let Some(EngineEvent::Read(1, Ok(read))) = events.pop() else { panic!("{events:?}") };
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
        Engine::<u8>::set_interest(&mut own, &"a".into(), true);
        Engine::<u8>::tick(&mut own, Millis(5000));
        assert_eq!(own.stream_count(), 1, "members have its position");
        Engine::<u8>::set_interest(&mut own, &"a".into(), false);
        Engine::<u8>::tick(&mut own, Millis(5000));
        assert_eq!((own.stream_count(), Engine::<u8>::held_bytes(&own)), (0, 0));
        let read = page(&mut own, "a", &namespace(2), 5000);
        assert_eq!(read.position.offset, 0);
        assert_ne!(read.position.epoch, epoch);
    }

    proptest! {
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
