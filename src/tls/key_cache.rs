//! Expanded keys, for connections that talk. An expanded key is ten times its secret, and is made in
//! a microsecond; so an idle connection has none.
//!
//! The cache is a table with one line for each remainder of a connection's number, and the
//! connection that comes later takes the line over. Numbers are dense, so connections share a line only when there
//! are more of them than lines.

use super::key_schedule::TrafficKey;
use crate::timer::{Millis, Tick};

/// The keys of both directions of one connection, as far as they were needed.
#[derive(Debug, Default)]
pub struct ExpandedKeys {
    pub(super) read: Option<TrafficKey>,
    pub(super) write: Option<TrafficKey>,
}

/// The cache of one loop.
#[derive(Debug, Default)]
pub struct KeyCache {
    /// Empty, or [`LINES`] long.
    lines: Vec<Option<Box<Line>>>,
    count: usize,
    /// Before this moment no line is to go: a loop comes to rest after most messages, and the lines are
    /// many.
    trim_due: Millis,
}

#[derive(Debug)]
struct Line {
    owner: u32,
    used: Tick,
    keys: ExpandedKeys,
}

impl ExpandedKeys {
    /// Whether the next record to be opened, or sealed, needs a key that is yet to be expanded.
    #[inline]
    pub fn lacks_one(&self, to_open: bool) -> bool {
        if to_open { self.read.is_none() } else { self.write.is_none() }
    }
}

impl KeyCache {
    /// What the line of a connection costs: the keys, and for the first the table.
    pub fn price(&self) -> usize {
        let table_bytes = if self.lines.is_empty() { TABLE_BYTES } else { 0 };
        LINE_BYTES + table_bytes
    }

    /// Whether there is neither a line nor the table.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of all lines, and the table.
    pub fn bytes(&self) -> usize {
        let table_bytes = if self.lines.is_empty() { 0 } else { TABLE_BYTES };
        self.count * LINE_BYTES + table_bytes
    }

    /// The keys of the connection with this number. `may_grow` is asked whether there may be one
    /// line more, which costs [`KeyCache::price`]; `None` if there may not.
    #[inline]
    pub fn keys(
        &mut self,
        owner: u32,
        now: Tick,
        may_grow: impl FnOnce(usize) -> bool,
    ) -> Option<&mut ExpandedKeys> {
        let at = owner as usize % LINES;
        if self.lines.get(at).is_none_or(Option::is_none) {
            if !may_grow(self.price()) {
                return None;
            }
            if self.lines.is_empty() {
                self.lines.resize_with(LINES, || None);
            }
            let line = Line { owner, used: now, keys: ExpandedKeys::default() };
            self.lines[at] = Some(Box::new(line));
            self.count += 1;
        }
        let line = self.lines.get_mut(at)?.as_mut()?;
        line.used = now;
        if line.owner != owner {
            line.owner = owner;
            line.keys = ExpandedKeys::default();
        }
        Some(&mut line.keys)
    }

    /// The connection with this number is gone. Gives the bytes that its line held.
    pub fn forget(&mut self, owner: u32) -> usize {
        let Some(line) = self.lines.get_mut(owner as usize % LINES) else { return 0 };
        if line.as_ref().is_none_or(|line| line.owner != owner) {
            return 0;
        }
        *line = None;
        self.count -= 1;
        LINE_BYTES + self.release_if_empty()
    }

    /// Drops the keys that were not used for `idle_ms`. Gives the bytes that they held, and when to
    /// ask again.
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> (usize, Option<Millis>) {
        if now < self.trim_due {
            return (0, Some(self.trim_due));
        }
        let (before, mut oldest) = (self.count, None);
        for line in &mut self.lines {
            let Some(used) = line.as_ref().map(|line| line.used) else { continue };
            if used.after_ms(idle_ms) <= now.tick() {
                *line = None;
                self.count -= 1;
            } else {
                oldest = Some(oldest.map_or(used, |oldest: Tick| oldest.min(used)));
            }
        }
        let freed = (before - self.count) * LINE_BYTES + self.release_if_empty();
        let due = oldest.map(|oldest| oldest.after_ms(idle_ms).begins());
        self.trim_due = due.unwrap_or_default();
        (freed, due)
    }

    fn release_if_empty(&mut self) -> usize {
        if self.count > 0 || self.lines.is_empty() {
            return 0;
        }
        self.lines = Vec::new();
        self.trim_due = Millis::default();
        TABLE_BYTES
    }
}

/// 256 lines of 1.2 KB.
const LINES: usize = 256;
/// What the allocator needs for a line.
const LINE_BYTES: usize = size_of::<Line>() + 16;
const TABLE_BYTES: usize = LINES * size_of::<Option<Box<Line>>>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_over_and_given_back() {
        let mut cache = KeyCache::default();
        let (now, later) = (Millis(10_000), Millis(30_000));
        let mut granted = 0;
        let mut grant = |cache: &mut KeyCache, owner: u32, now: Millis| {
            cache
                .keys(owner, now.tick(), |bytes| {
                    granted += bytes;
                    true
                })
                .is_some()
        };
        assert!(grant(&mut cache, 1, now) && grant(&mut cache, 2, now));
        // The same line.
        assert!(grant(&mut cache, 1 + 256, now));
        let held = cache.bytes();
        assert_eq!(granted, held);
        assert_eq!(cache.forget(1), 0);
        assert_eq!(cache.forget(1 + 256), LINE_BYTES);
        assert!(cache.keys(5, later.tick(), |_| false).is_none());
        assert_eq!(cache.trim(now, 10_000), (0, Some(now.tick().after_ms(10_000).begins())));
        assert_eq!(cache.trim(later, 10_000), (LINE_BYTES + TABLE_BYTES, None));
        assert_eq!(cache.bytes(), 0);
    }
}
