//! The order of publications that name the one before them, and those that come twice.
//!
//! A backend may give a publication an ID and the ID of the one before it in its channel. One that comes
//! too early is held until the other is there, or for five seconds; one whose ID was published to the
//! channel in the last minute is left out. Both are as in Pushpin, so that backends that publish to several
//! gateways by several ways behave the same.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::publish::ChannelItem;
use crate::timer::Millis;

/// What is known of the publications so far. Without IDs it holds nothing.
#[derive(Debug, Default)]
pub struct Sequencer {
    /// When each ID of a channel was published.
    seen: Recent<(Arc<str>, Arc<str>), Millis>,
    /// The ID of the last publication of each channel, if it had one.
    last: Recent<Arc<str>, Option<Arc<str>>>,
    /// What waits, by its channel and the ID of the one before it.
    held: HashMap<(Arc<str>, Arc<str>), Held>,
    /// The same by its age: when it is given in any case, and the number of its arrival.
    by_age: BTreeMap<(Millis, u64), (Arc<str>, Arc<str>)>,
    held_bytes: usize,
    arrivals: u64,
}

#[derive(Debug)]
struct Held {
    item: ChannelItem,
    age: (Millis, u64),
}

/// What becomes of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sequenced {
    /// It is due, and behind it what has waited for it, in this order.
    Due(Vec<ChannelItem>),
    /// It waits for the one before it.
    Held,
    /// It came before.
    Repeated,
}

impl Sequencer {
    /// A publication has come.
    pub fn take(&mut self, item: ChannelItem, now: Millis) -> Sequenced {
        if let Some(id) = &item.id {
            let key = (Arc::clone(&item.channel), Arc::clone(id));
            let is_repeated = self.seen.get(&key).is_some_and(|at| now.since(*at) < REMEMBERED_MS);
            if is_repeated {
                return Sequenced::Repeated;
            }
            self.seen.insert(key, now);
        }
        let is_early = match (&item.prev_id, self.last.get(&item.channel)) {
            (Some(prev), Some(Some(last))) => prev != last,
            (_, _) => false,
        };
        match is_early && self.hold(&item, now) {
            true => Sequenced::Held,
            false => Sequenced::Due(self.give(item)),
        }
    }

    /// Those that have waited for too long, with what has waited for them.
    pub fn overdue(&mut self, now: Millis) -> Vec<ChannelItem> {
        let mut due = Vec::new();
        while let Some(first) = self.by_age.first_entry() {
            if first.key().0 > now {
                break;
            }
            let key = first.remove();
            if let Some(held) = self.held.remove(&key) {
                self.held_bytes -= held.item.held_bytes();
                due.append(&mut self.give(held.item));
            }
        }
        due
    }

    /// When [`Sequencer::overdue`] gives something.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        self.by_age.first_key_value().map(|((at, _), _)| *at)
    }

    /// A publication that was due could not be given: it may come again.
    pub fn forget(&mut self, item: &ChannelItem) {
        if let Some(id) = &item.id {
            self.seen.remove(&(Arc::clone(&item.channel), Arc::clone(id)));
        }
    }

    /// Whether there was room for it to wait. One that waits for the same takes no second place.
    fn hold(&mut self, item: &ChannelItem, now: Millis) -> bool {
        let Some(prev) = &item.prev_id else { return false };
        let key = (Arc::clone(&item.channel), Arc::clone(prev));
        let bytes = item.held_bytes();
        let has_room = self.held.len() < HELD_MAX && self.held_bytes + bytes <= HELD_BYTES_MAX;
        if !has_room || self.held.contains_key(&key) {
            return false;
        }
        self.arrivals += 1;
        self.held_bytes += bytes;
        let age = (now.plus(HELD_MS), self.arrivals);
        self.by_age.insert(age, key.clone());
        self.held.insert(key, Held { item: item.clone(), age });
        true
    }

    /// A publication, and all that has waited for it.
    fn give(&mut self, item: ChannelItem) -> Vec<ChannelItem> {
        let mut due = vec![item];
        while let Some(item) = due.last() {
            let (channel, id) = (Arc::clone(&item.channel), item.id.clone());
            if id.is_some() || self.last.get(&channel).is_some() {
                self.last.insert(Arc::clone(&channel), id.clone());
            }
            let next = id.and_then(|id| self.held.remove(&(channel, id)));
            let Some(Held { item, age }) = next else { break };
            self.by_age.remove(&age);
            self.held_bytes -= item.held_bytes();
            due.push(item);
        }
        due
    }
}

/// A map that forgets what was put into it longest ago: it keeps the last [`RECENT_MAX`] keys at least,
/// and twice as many at most.
#[derive(Debug)]
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= RECENT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

/// How long the ID of a publication is remembered.
const REMEMBERED_MS: u64 = 60_000;
/// How long a publication waits for the one before it.
const HELD_MS: u64 = 5_000;
/// Publications that wait; one for which there is no room does not wait.
const HELD_MAX: usize = 10_000;
const HELD_BYTES_MAX: usize = 16 << 20;
const RECENT_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::ClientEvent;
    use crate::events::filter::Meta;
    use crate::events::publish::ChannelAction;

    fn item(channel: &str, id: Option<u64>, prev: Option<u64>) -> ChannelItem {
        let text = |own: u64| own.to_string().into();
        ChannelItem {
            channel: channel.into(),
            id: id.map(text),
            prev_id: prev.map(text),
            meta: Meta::default(),
            action: ChannelAction::Send(ClientEvent::Text, Vec::new()),
        }
    }

    fn due(own: &mut Sequencer, item: ChannelItem, now: u64) -> Option<Vec<String>> {
        match own.take(item, Millis(now)) {
            Sequenced::Due(items) => Some(ids(&items)),
            Sequenced::Held | Sequenced::Repeated => None,
        }
    }

    fn ids(items: &[ChannelItem]) -> Vec<String> {
        items.iter().map(|own| own.id.as_deref().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn one_that_comes_too_early_waits_for_the_one_before_it() {
        let mut own = Sequencer::default();
        assert_eq!(due(&mut own, item("a", Some(1), None), 0), Some(vec!["1".to_owned()]));
        assert_eq!(own.take(item("a", Some(3), Some(2)), Millis(1)), Sequenced::Held);
        assert_eq!(own.take(item("a", Some(4), Some(3)), Millis(2)), Sequenced::Held);
        // Another channel has its own order.
        assert_eq!(due(&mut own, item("b", Some(9), Some(8)), 2), Some(vec!["9".to_owned()]));
        let all = ["2", "3", "4"].map(str::to_owned).to_vec();
        assert_eq!(due(&mut own, item("a", Some(2), Some(1)), 3), Some(all));
        assert_eq!((own.next_due(), own.held_bytes, own.by_age.len()), (None, 0, 0));
    }

    #[test]
    fn one_whose_predecessor_never_comes_is_given_after_five_seconds() {
        let mut own = Sequencer::default();
        due(&mut own, item("a", Some(1), None), 0);
        own.take(item("a", Some(3), Some(2)), Millis(10));
        assert_eq!(own.next_due(), Some(Millis(5010)));
        assert!(own.overdue(Millis(5009)).is_empty());
        assert_eq!(ids(&own.overdue(Millis(5010))), ["3"]);
        assert_eq!(own.next_due(), None);
    }

    #[test]
    fn one_that_comes_twice_within_a_minute_is_left_out() {
        let mut own = Sequencer::default();
        assert!(due(&mut own, item("a", Some(1), None), 0).is_some());
        assert_eq!(own.take(item("a", Some(1), None), Millis(59_999)), Sequenced::Repeated);
        assert!(due(&mut own, item("b", Some(1), None), 1).is_some());
        assert!(due(&mut own, item("a", Some(1), None), 60_000).is_some());
        own.forget(&item("a", Some(1), None));
        assert!(due(&mut own, item("a", Some(1), None), 60_001).is_some());
    }

    #[test]
    fn without_ids_nothing_is_kept() {
        let mut own = Sequencer::default();
        for _ in 0..3 {
            assert!(due(&mut own, item("a", None, None), 0).is_some());
        }
        assert!(own.last.get(&"a".into()).is_none() && own.seen.young.is_empty());
    }

    proptest! {
        /// Whatever order the publications of a chain come in, each is given once, and in the order of the
        /// chain if its beginning comes first.
        #[test]
        fn a_chain_is_given_in_its_order(order in Just((1..20u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut own = Sequencer::default();
            let mut given = due(&mut own, item("a", Some(0), None), 0).unwrap();
            for id in order {
                if let Sequenced::Due(items) = own.take(item("a", Some(id), Some(id - 1)), Millis(id)) {
                    given.append(&mut ids(&items));
                }
            }
            let expected: Vec<String> = (0..20u64).map(|id| id.to_string()).collect();
            prop_assert_eq!(given, expected);
            prop_assert_eq!(own.held_bytes, 0);
        }

        /// None is lost or given twice, whatever the chains are.
        #[test]
        fn each_is_given_once(
            sent in prop::collection::vec((0..2u8, 0..8u64, prop::option::of(0..8u64), 0..3000u64), 0..60),
        ) {
            let mut own = Sequencer::default();
            let (mut taken, mut given, mut now) = (0, 0, 0);
            for (channel, id, prev, ms) in sent {
                now += ms;
                given += own.overdue(Millis(now)).len();
                match own.take(item(&channel.to_string(), Some(id), prev), Millis(now)) {
                    Sequenced::Due(items) => { taken += 1; given += items.len(); }
                    Sequenced::Held => taken += 1,
                    Sequenced::Repeated => {}
                }
            }
            given += own.overdue(Millis(now + HELD_MS)).len();
            prop_assert_eq!((taken, own.held.len(), own.held_bytes), (given, 0, 0));
        }
    }
}
