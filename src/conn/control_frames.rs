//! Which connections have sent control frames lately, and how many.
//!
//! Every client sends some: it answers pings, and may send its own. To remember that of each would cost
//! most connections more than they are worth. So a loop has one small table, in which those stand that
//! have sent the most: a client that floods stays in it, and one that sends now and then is soon replaced.

use crate::key::ConnKey;
use crate::rate::Rate;
use crate::timer::Millis;

/// The control frames of the connections of one loop. Without any it holds no memory.
#[derive(Debug, Default)]
pub(super) struct ControlFrames {
    /// [`SETS`] times [`WAYS`] entries, or none.
    entries: Vec<Entry>,
}

/// What one connection has sent that has not drained.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: ConnKey,
    at: Millis,
    level: u64,
}

impl ControlFrames {
    /// Control frames that the connection may send at once.
    pub(super) fn room(&self, key: ConnKey, rate: Rate, now: Millis) -> u64 {
        rate.room(self.level(key, rate, now))
    }

    /// The first moment from `now` on at which it may send one.
    pub(super) fn room_at(&self, key: ConnKey, rate: Rate, now: Millis) -> Millis {
        rate.room_at(self.level(key, rate, now), now)
    }

    /// The connection has sent this many.
    pub(super) fn charge(&mut self, key: ConnKey, count: u64, rate: Rate, now: Millis) {
        if self.entries.is_empty() {
            let key = ConnKey { index: u32::MAX, generation: 0 };
            self.entries = vec![Entry { key, at: now, level: 0 }; SETS * WAYS];
        }
        let level = self.level(key, rate, now).saturating_add(count);
        let set = self.entries.get_mut(set_of(key)).unwrap_or_default();
        let own = set.iter().position(|entry| entry.key == key);
        let place = own.or_else(|| {
            // Who owes the least makes room, unless all owe more.
            let left = |entry: &Entry| entry.level.saturating_sub(rate.drained(entry.at, now));
            let least = (0..set.len()).min_by_key(|place| set.get(*place).map(left))?;
            (left(set.get(least)?) <= level).then_some(least)
        });
        if let Some(entry) = place.and_then(|place| set.get_mut(place)) {
            *entry = Entry { key, at: now, level };
        }
    }

    /// What the connection has sent that has not drained.
    fn level(&self, key: ConnKey, rate: Rate, now: Millis) -> u64 {
        let set = self.entries.get(set_of(key)).unwrap_or_default();
        let own = set.iter().find(|entry| entry.key == key);
        own.map_or(0, |entry| entry.level.saturating_sub(rate.drained(entry.at, now)))
    }
}

/// Where the entries lie that a connection may have.
fn set_of(key: ConnKey) -> std::ops::Range<usize> {
    let first = key.index as usize % SETS * WAYS;
    first..first + WAYS
}

/// With its ways 6 KiB. Where more clients than these flood one loop at once, each has little of it.
const SETS: usize = 64;
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 20 };

    fn key(index: u32) -> ConnKey {
        ConnKey { index, generation: index + 1 }
    }

    /// One of the connections that share the first set.
    fn of_one_set(number: u32) -> ConnKey {
        key(number * u32::try_from(SETS).unwrap())
    }

    proptest! {
        /// As a map of all connections, as long as no more of them have sent any than there is room for;
        /// and with more of them a connection may be thought to have sent less, but never more.
        #[test]
        fn a_connection_has_sent_what_it_has_sent(
            connections in 1..12u32,
            sent in prop::collection::vec((0..12u32, 1..15u64, 0..2000u64), 1..100),
        ) {
            let mut frames = ControlFrames::default();
            let mut twin: HashMap<u32, (u64, Millis)> = HashMap::new();
            let mut now = Millis(0);
            for (connection, count, ms) in sent {
                now = now.plus(ms);
                let connection = connection % connections;
                let own = of_one_set(connection);
                frames.charge(own, count, RATE, now);
                let (level, at) = twin.entry(connection).or_insert((0, now));
                *level = level.saturating_sub(RATE.drained(*at, now)) + count;
                *at = now;
                for (connection, (level, at)) in &twin {
                    let level = level.saturating_sub(RATE.drained(*at, now));
                    let found = frames.level(of_one_set(*connection), RATE, now);
                    prop_assert!(found <= level);
                    prop_assert!(found == level || connections as usize > WAYS);
                }
            }
        }
    }

    #[test]
    fn a_flood_is_not_forgotten_for_those_who_answer_pings() {
        let mut frames = ControlFrames::default();
        assert_eq!(frames.room(key(7), RATE, Millis(0)), 20);
        frames.charge(key(7), 50, RATE, Millis(0));
        for index in 0..10_000 {
            frames.charge(key(100 + index), 1, RATE, Millis(1));
        }
        assert_eq!(frames.room(key(7), RATE, Millis(1)), 0);
        // 31 are to drain, so that one less than 20 remain.
        assert_eq!(frames.room_at(key(7), RATE, Millis(1)), Millis(3100));
        assert_eq!(frames.room(key(7), RATE, Millis(3100)), 1);
    }
}
