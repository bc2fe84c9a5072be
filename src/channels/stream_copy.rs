//! One stream, taken out of an engine and put into another, with times that count from the copy on.

use std::sync::Arc;

use super::history::{ENTRY_BYTES_MAX, History, Publication};
use super::idempotency::Idempotency;
use super::position::Position;
use crate::timer::Millis;

/// A stream as it was at one moment. The publications are shared with the engine that it is copied of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCopy {
    /// The channel.
    pub channel: Arc<str>,
    /// Where the stream is.
    pub position: Position,
    /// How long the position is kept without members, in milliseconds.
    pub kept_ms: u64,
    /// The last publications up to the position, oldest first, and how long each is kept, in milliseconds. At
    /// most as many as the offset says.
    pub entries: Vec<(Publication, u64)>,
    /// The keys of publications that are not to be made twice, oldest first.
    pub keys: Vec<KeyCopy>,
}

/// The key of a publication that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCopy {
    /// The key.
    pub key: Box<str>,
    /// What the publication has come to.
    pub result: Option<Position>,
    /// How long the key is remembered, in milliseconds.
    pub kept_ms: u64,
}

impl StreamCopy {
    pub(super) fn new(
        channel: &Arc<str>,
        (history, idempotency): (&History, &Idempotency),
        forgotten_at: Millis,
        now: Millis,
    ) -> Self {
        let (epoch, offset, entries) = history.copied();
        let entries = entries.into_iter();
        let keys = idempotency.iter().map(|(key, result, expires_at)| KeyCopy {
            key: key.into(),
            result,
            kept_ms: expires_at.since(now),
        });
        Self {
            channel: Arc::clone(channel),
            position: Position { offset, epoch },
            kept_ms: forgotten_at.since(now),
            entries: entries.map(|(own, expires_at)| (own, expires_at.since(now))).collect(),
            keys: keys.collect(),
        }
    }

    /// What it is a copy of, at `now` by the clock of this process.
    pub(super) fn restored(self, now: Millis) -> (History, Idempotency) {
        let Position { offset, epoch } = self.position;
        // A history rounds moments up, which must not give one whose time is over some more.
        let expired = self.entries.iter().rposition(|(_, kept_ms)| *kept_ms == 0);
        let entries = self.entries.into_iter().skip(expired.map_or(0, |last| last + 1));
        let entries = entries.map(|(own, kept_ms)| (own, now.plus(kept_ms))).collect();
        let mut idempotency = Idempotency::default();
        for KeyCopy { key, result, kept_ms } in self.keys {
            idempotency.restore(key, result, now.plus(kept_ms));
        }
        (History::restored(epoch, offset, entries), idempotency)
    }

    /// Forgets the oldest publications above this number of bytes of memory.
    pub(super) fn keep_latest(&mut self, bytes_max: usize) {
        let mut bytes: usize = 0;
        let fits = self.entries.iter().rev().take_while(|(publication, _)| {
            bytes = bytes.saturating_add(publication.held_bytes() + ENTRY_BYTES_MAX);
            bytes <= bytes_max
        });
        let forgotten = self.entries.len() - fits.count();
        self.entries.drain(..forgotten);
    }

    /// Lets this time pass, in milliseconds.
    pub fn age(&mut self, ms: u64) {
        self.kept_ms = self.kept_ms.saturating_sub(ms);
        self.entries.iter_mut().for_each(|own| own.1 = own.1.saturating_sub(ms));
        self.keys.iter_mut().for_each(|own| own.kept_ms = own.kept_ms.saturating_sub(ms));
    }
}
