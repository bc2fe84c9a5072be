//! Publications that are not to be made twice.

use std::collections::{HashMap, VecDeque};

use super::position::Position;
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// What publications with keys have come to, for a time.
#[derive(Debug, Default)]
pub(super) struct Idempotency {
    results: HashMap<Box<str>, Option<Position>>,
    /// The keys in the order in which they expire.
    order: VecDeque<(Millis, Box<str>)>,
    /// Bytes of all keys: each publication with one asks what is held.
    key_bytes: usize,
}

impl Idempotency {
    /// What the publication with this key has come to, if it was made.
    pub(super) fn get(&self, key: &str) -> Option<Option<Position>> {
        self.results.get(key).copied()
    }

    /// Notes what a publication has come to. Above [`IDEMPOTENT_MAX`] the oldest is forgotten.
    pub(super) fn add(&mut self, key: &str, result: Option<Position>, now: Millis) {
        if self.results.insert(key.into(), result).is_some() {
            return;
        }
        self.order.push_back((now.plus(IDEMPOTENCY_MS), key.into()));
        self.key_bytes += key.len();
        if self.order.len() > IDEMPOTENT_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Millis) {
        while self.order.front().is_some_and(|(expires_at, _)| *expires_at <= now) {
            self.forget_oldest();
        }
        self.results.shrink_if_sparse(0);
        self.order.shrink_if_sparse(0);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.results.remove(&key);
            self.key_bytes -= key.len();
        }
    }

    /// The keys with what they have come to and when they expire, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<Position>, Millis)> {
        self.order.iter().filter_map(|(expires_at, key)| {
            let result = self.results.get(key)?;
            Some((&**key, *result, *expires_at))
        })
    }

    /// Notes a key of an earlier process, behind those that expire before it.
    pub(super) fn restore(&mut self, key: Box<str>, result: Option<Position>, expires_at: Millis) {
        if self.results.insert(key.clone(), result).is_none() {
            self.key_bytes += key.len();
            self.order.push_back((expires_at, key));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        let entry = size_of::<(Box<str>, Option<Position>)>() + size_of::<(Millis, Box<str>)>();
        self.order.len() * (entry + 2 * BLOCK_BYTES) + 2 * self.key_bytes
    }
}

/// How long a key is remembered, in milliseconds.
pub const IDEMPOTENCY_MS: u64 = 300_000;
/// The longest key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Keys that are remembered of one channel.
pub const IDEMPOTENT_MAX: usize = 256;
/// What the allocator needs for a block beside its bytes.
const BLOCK_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_time() {
        let mut own = Idempotency::default();
        own.add("a", None, Millis(0));
        own.add("b", None, Millis(1));
        own.add("a", None, Millis(2));
        own.expire(Millis(IDEMPOTENCY_MS));
        assert_eq!((own.get("a"), own.get("b")), (None, Some(None)));
        own.expire(Millis(IDEMPOTENCY_MS + 1));
        assert!(own.is_empty() && own.results.is_empty() && own.held_bytes() == 0);
    }

    #[test]
    fn a_flood_of_keys_forgets_the_oldest() {
        let mut own = Idempotency::default();
        for number in 0..=IDEMPOTENT_MAX {
            own.add(&number.to_string(), None, Millis(0));
        }
        own.restore("restored".into(), None, Millis(1));
        own.add("1", None, Millis(1));
        assert_eq!((own.get("0"), own.get("1")), (None, Some(None)));
        assert_eq!(own.results.len(), IDEMPOTENT_MAX + 1);
        assert_eq!(own.key_bytes, own.results.keys().map(|key| key.len()).sum::<usize>());
    }
}
