//! What users have sent of what their routes limit, with all of their connections on all loops: buckets
//! in shards with a lock each.
//!
//! A loop takes a lock before it decodes what a user under such a limit has sent, and another after it;
//! for others it takes none. Between the two a further loop may let the same user send as much, so a user
//! is over a limit by one read of each loop at most.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::round::{Round, Trimmed};
use crate::rate::Rate;
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// The buckets. Clones share them.
#[derive(Clone, Debug)]
pub struct SharedUserRates(Arc<Shards>);

#[derive(Debug)]
struct Shards {
    shards: [Mutex<Users>; SHARDS],
    round: Round,
    /// With keys that no user knows, so that none can choose names which come to the same.
    hasher: RandomState,
}

/// The users of one shard.
#[derive(Debug, Default)]
struct Users {
    sent: HashMap<UserKey, Sent>,
    /// None has drained before.
    due: Millis,
    /// Until then no newcomer makes a full shard be looked through.
    crowded_until: Millis,
}

/// A user on a route: a keyed hash of both, so that an entry needs no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserKey(u64);

/// The rates of messages and of their bytes; `None` for any number.
pub type UserLimits = [Option<Rate>; 2];

/// What a user has sent, as far as it has not drained.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// The moment for which the levels hold.
    at: Millis,
    /// Messages and bytes.
    levels: [u64; 2],
    /// When both have drained.
    empty_at: Millis,
}

impl Default for SharedUserRates {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Shards { shards, round: Round::default(), hasher: RandomState::new() }))
    }
}

impl SharedUserRates {
    /// The key of a user on the route with this number, as the identity of this name knows the user.
    #[must_use]
    pub fn key(&self, route: u8, identity: &str, user: &str) -> UserKey {
        UserKey(self.0.hasher.hash_one((route, identity, user)))
    }

    /// Messages and bytes that a user may send at once.
    #[must_use]
    pub fn room(&self, key: UserKey, limits: UserLimits, now: Millis) -> [u64; 2] {
        let levels = self.levels(key, limits, now);
        let room =
            |(rate, level): (Option<Rate>, u64)| rate.map_or(u64::MAX, |own| own.room(level));
        [room((limits[0], levels[0])), room((limits[1], levels[1]))]
    }

    /// The first moment from `now` on at which a user may send something of both.
    #[must_use]
    pub fn room_at(&self, key: UserKey, limits: UserLimits, now: Millis) -> Millis {
        let levels = self.levels(key, limits, now);
        let room_at = |number: usize| {
            limits[number].map_or(now, |rate: Rate| rate.room_at(levels[number], now))
        };
        room_at(0).max(room_at(1))
    }

    /// A user has sent this many messages, with this many bytes. Whether that is remembered: users are, up
    /// to [`USERS_MAX`].
    pub fn charge(&self, key: UserKey, limits: UserLimits, sent: [u64; 2], now: Millis) -> bool {
        let mut users = self.lock(key);
        let has_room = users.has_room_for(key, now);
        if has_room {
            let own = users.sent.entry(key).or_default();
            own.add(limits, sent, now);
            users.due = own.empty_at.min(users.due);
        }
        has_room
    }

    /// Forgets users of whom everything has drained, as far as one call may look. Gives the moment from
    /// which some can be forgotten, if any are left: not after `now` if there was more to look at.
    pub fn trim(&self, now: Millis) -> Option<Millis> {
        self.0.round.trim(SHARDS, |shard, looks| lock(&self.0.shards[shard]).trim(now, looks))
    }

    /// Users that are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).sent.len()).sum()
    }

    fn levels(&self, key: UserKey, limits: UserLimits, now: Millis) -> [u64; 2] {
        self.lock(key).sent.get(&key).map_or([0; 2], |own| own.levels(limits, now))
    }

    fn lock(&self, key: UserKey) -> MutexGuard<'_, Users> {
        lock(&self.0.shards[(key.0 >> u32::BITS) as usize % SHARDS])
    }
}

impl Users {
    /// Whether this user is there, or has room. What fills a shard makes others wait for a look through it
    /// now and then, and not with every message of theirs.
    fn has_room_for(&mut self, key: UserKey, now: Millis) -> bool {
        if self.sent.len() < USERS_MAX / SHARDS || self.sent.contains_key(&key) {
            return true;
        }
        if now < self.crowded_until {
            return false;
        }
        self.crowded_until = now.plus(CROWDED_MS);
        self.forget_drained(now);
        self.sent.len() < USERS_MAX / SHARDS
    }

    fn trim(&mut self, now: Millis, looks: usize) -> Trimmed {
        let mut looked = 0;
        if looks > 0 && self.due <= now {
            looked = self.sent.len();
            self.forget_drained(now);
        }
        Trimmed { looked, due: (!self.sent.is_empty()).then_some(self.due) }
    }

    fn forget_drained(&mut self, now: Millis) {
        let mut due = Millis(u64::MAX);
        self.sent.retain(|_, own| {
            let is_kept = own.empty_at > now;
            if is_kept {
                due = due.min(own.empty_at);
            }
            is_kept
        });
        self.due = due;
        self.sent.shrink_if_sparse(0);
    }
}

impl Sent {
    /// What has not drained. What has no limit is not counted.
    fn levels(&self, limits: UserLimits, now: Millis) -> [u64; 2] {
        let level = |number: usize| {
            let drained = limits[number].map_or(u64::MAX, |rate| rate.drained(self.at, now));
            self.levels[number].saturating_sub(drained)
        };
        [level(0), level(1)]
    }

    fn add(&mut self, limits: UserLimits, sent: [u64; 2], now: Millis) {
        let before = self.levels(limits, now);
        // Another loop may have looked at its clock later than this one.
        self.at = self.at.max(now);
        self.empty_at = self.at;
        for (number, rate) in limits.into_iter().enumerate() {
            let Some(rate) = rate else {
                self.levels[number] = 0;
                continue;
            };
            let level = before[number].saturating_add(sent[number]);
            self.levels[number] = level;
            let empty = Rate { burst: 1, ..rate };
            self.empty_at = self.empty_at.max(empty.room_at(level, self.at));
        }
    }
}

fn lock(shard: &Mutex<Users>) -> MutexGuard<'_, Users> {
    // A panic ends the process: what it left is looked at by no one.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 16;
/// Ten looks through all shards in a second cost a hundredth of a core.
const CROWDED_MS: u64 = 100;
/// Users with something left to remember, in about 64 bytes each. Further ones have no limit.
pub const USERS_MAX: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGES: UserLimits = [Some(Rate { per_s: 10, burst: 5 }), None];

    #[test]
    fn the_connections_of_a_user_share_a_bucket_and_others_do_not() {
        let rates = SharedUserRates::default();
        let ann = rates.key(1, "users", "ann");
        assert_eq!(ann, rates.key(1, "users", "ann"));
        assert_eq!(rates.room(ann, MESSAGES, Millis(0)), [5, u64::MAX]);
        assert!(rates.charge(ann, MESSAGES, [3, 900], Millis(0)));
        assert!(rates.charge(ann, MESSAGES, [1, 900], Millis(0)));
        assert_eq!(rates.room(ann, MESSAGES, Millis(0)), [1, u64::MAX]);
        for other in [("users", "bob", 1), ("guests", "ann", 1), ("users", "ann", 2)] {
            let key = rates.key(other.2, other.0, other.1);
            assert_eq!(rates.room(key, MESSAGES, Millis(0)), [5, u64::MAX]);
        }
        assert!(rates.charge(ann, MESSAGES, [1, 0], Millis(0)));
        assert_eq!(rates.room_at(ann, MESSAGES, Millis(0)), Millis(100));
        assert_eq!(rates.room(ann, MESSAGES, Millis(200)), [2, u64::MAX]);
    }

    #[test]
    fn users_are_forgotten_when_all_has_drained() {
        let rates = SharedUserRates::default();
        assert_eq!(rates.trim(Millis(0)), None);
        for (user, messages) in [("ann", 2), ("bob", 4)] {
            assert!(rates.charge(rates.key(0, "users", user), MESSAGES, [messages, 0], Millis(0)));
        }
        assert_eq!((rates.trim(Millis(199)), rates.count()), (Some(Millis(200)), 2));
        assert_eq!((rates.trim(Millis(200)), rates.count()), (Some(Millis(400)), 1));
        assert_eq!((rates.trim(Millis(400)), rates.count()), (None, 0));
    }

    #[test]
    fn a_full_table_forgets_none_that_has_something_left() {
        let rates = SharedUserRates::default();
        let user = |number: usize| rates.key(0, "users", &number.to_string());
        // A message drains in half the time for which a full shard is not looked through again.
        let limits = [Some(Rate { per_s: 20, burst: 5 }), None];
        let charge = |number, at| rates.charge(user(number), limits, [1, 0], Millis(at));
        let kept: Vec<usize> =
            (0..USERS_MAX + 50_000).filter(|number| charge(*number, 0)).collect();
        assert!(rates.count() <= USERS_MAX && kept.len() == rates.count());
        assert!(kept.iter().all(|number| rates.room(user(*number), limits, Millis(0))[0] == 4));
        // However many come, a shard is looked through once in a while: what drains meanwhile stays.
        let newcomers = |from: usize, at| (0..1000).filter(|own| charge(from + own, at)).count();
        assert_eq!(newcomers(USERS_MAX + 100_000, CROWDED_MS - 1), 0);
        // Later there is room again, without anything having looked meanwhile.
        assert_eq!(newcomers(USERS_MAX + 100_000, CROWDED_MS), 1000);
    }

    proptest! {
        /// Whatever is charged in turns, no more than the burst and what has drained is let through.
        #[test]
        fn no_more_is_let_through_than_the_rate_allows(
            steps in prop::collection::vec((0..400_u64, 0..9_u64), 1..60),
            per_s in 1..50_u32,
            burst in 1..20_u32,
        ) {
            let rates = SharedUserRates::default();
            let limits = [Some(Rate { per_s, burst }), None];
            let key = rates.key(0, "users", "ann");
            let (mut now, mut through) = (0, 0);
            for (pause, asked) in steps {
                now += pause;
                let room = rates.room(key, limits, Millis(now))[0];
                let taken = asked.min(room);
                prop_assert!(rates.charge(key, limits, [taken, 0], Millis(now)));
                through += taken;
                let most = u64::from(burst) + now * u64::from(per_s) / 1000;
                prop_assert!(through <= most, "{through} of {most}");
                let at = rates.room_at(key, limits, Millis(now));
                prop_assert!(rates.room(key, limits, at)[0] > 0);
                prop_assert!(at == Millis(now) || rates.room(key, limits, Millis(at.0 - 1))[0] == 0);
            }
        }
    }
}
