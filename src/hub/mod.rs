//! Topics and their subscribers, inside one loop.
//!
//! The members of a topic lie in one dense array, which a publication reads from end to end. A
//! connection has a linked list of its subscriptions, so leaving one topic or all of them costs the
//! same however many members the topics have:
//!
//! ```text
//!   connection ──► subscription ──► subscription ──► none
//!                  {topic, position}      │
//!                        │                ▼
//!                        ▼          topic "lobby"
//!                  topic "news"     [member][member][member]
//! ```

use std::collections::HashMap;

use slab::Slab;

use crate::key::{ConnKey, SlotRef, slot_number};
use crate::shrink::Shrink as _;

/// The topics of one service on one loop.
#[derive(Debug, Default)]
pub struct Hub {
    topics: Slab<Topic>,
    names: HashMap<Box<str>, u32>,
    subscriptions: Slab<Subscription>,
}

/// A connection in a topic: 12 bytes, because a publication reads all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection.
    pub key: ConnKey,
    /// Back to the subscription, whose position changes when this member is moved in the array.
    subscription: u32,
}

#[derive(Debug)]
struct Topic {
    name: Box<str>,
    members: Vec<Member>,
    /// While a publication is on its way to the members: those before have it, the others have not.
    cursor: u32,
}

#[derive(Debug)]
struct Subscription {
    topic: u32,
    /// The index of the connection in the topic's members.
    position: u32,
    /// The connection's next subscription.
    next: SlotRef,
}

impl Hub {
    /// Adds a connection to a topic; the first member creates the topic. `subscriptions` is the
    /// head of the connection's list. Returns `false` if the connection is a member already.
    pub fn subscribe(&mut self, name: &str, key: ConnKey, subscriptions: &mut SlotRef) -> bool {
        let topic_index = match self.names.get(name) {
            Some(index) => *index,
            None => {
                let topic = Topic { name: name.into(), members: Vec::new(), cursor: 0 };
                let index = slot_number(self.topics.insert(topic));
                self.names.insert(name.into(), index);
                index
            }
        };
        // A topic that was just created has no members, so this never returns with an empty one.
        if self.find(*subscriptions, topic_index).is_some() {
            return false;
        }
        let topic = &mut self.topics[topic_index as usize];
        let subscription = Subscription {
            topic: topic_index,
            position: slot_number(topic.members.len()),
            next: *subscriptions,
        };
        let index = slot_number(self.subscriptions.insert(subscription));
        topic.members.push(Member { key, subscription: index });
        *subscriptions = SlotRef::to(index);
        true
    }

    /// Removes a connection from a topic. Returns `false` if it is not a member.
    pub fn unsubscribe(&mut self, name: &str, subscriptions: &mut SlotRef) -> bool {
        let Some(topic) = self.names.get(name).copied() else { return false };
        let Some(found) = self.find(*subscriptions, topic) else { return false };
        let next = self.subscriptions[found as usize].next;
        match self.before(*subscriptions, found) {
            Some(before) => self.subscriptions[before as usize].next = next,
            None => *subscriptions = next,
        }
        self.remove(found);
        true
    }

    /// Removes a connection from all its topics.
    pub fn unsubscribe_all(&mut self, subscriptions: &mut SlotRef) {
        while let Some(index) = subscriptions.index() {
            // Unlink first: `remove` frees the slot that holds `next`.
            *subscriptions = self.subscriptions[index as usize].next;
            self.remove(index);
        }
    }

    /// The members of a topic, in no particular order.
    #[must_use]
    pub fn members(&self, name: &str) -> &[Member] {
        self.names.get(name).map_or(&[], |topic| &self.topics[*topic as usize].members)
    }

    /// The members of a topic that are yet to get the publication which is on its way: all of them
    /// before it begins.
    #[must_use]
    pub fn remaining(&self, name: &str) -> &[Member] {
        let topic = self.names.get(name).map(|topic| &self.topics[*topic as usize]);
        topic.map_or(&[], |topic| &topic.members[topic.cursor as usize..])
    }

    /// The next `count` of [`Hub::remaining`] have the publication.
    pub fn advance(&mut self, name: &str, count: usize) {
        if let Some(topic) = self.names.get(name) {
            self.topics[*topic as usize].cursor += slot_number(count);
        }
    }

    /// All members of a topic have the publication that was on its way.
    pub fn rewind(&mut self, name: &str) {
        if let Some(topic) = self.names.get(name) {
            self.topics[*topic as usize].cursor = 0;
        }
    }

    /// Whether a connection with these subscriptions is a member of a topic, and if so, whether it is
    /// one of [`Hub::remaining`].
    #[must_use]
    pub fn is_remaining(&self, name: &str, subscriptions: SlotRef) -> Option<bool> {
        let topic = *self.names.get(name)?;
        let subscription = self.find(subscriptions, topic)?;
        let position = self.subscriptions[subscription as usize].position;
        Some(position >= self.topics[topic as usize].cursor)
    }

    /// The topics of a connection with these subscriptions, the last that it joined first.
    pub fn topics_of(&self, subscriptions: SlotRef) -> impl Iterator<Item = &str> {
        let first = subscriptions.index();
        let subscription = |index: u32| &self.subscriptions[index as usize];
        std::iter::successors(first, move |index| subscription(*index).next.index())
            .map(move |index| &*self.topics[subscription(index).topic as usize].name)
    }

    /// The number of topics, each with a member, and of subscriptions in all of them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.topics.len(), self.subscriptions.len())
    }

    /// The subscription to `topic` in a connection's list. Linear in the topics of the connection,
    /// not in the members of the topic.
    fn find(&self, subscriptions: SlotRef, topic: u32) -> Option<u32> {
        let mut at = subscriptions;
        while let Some(index) = at.index() {
            let subscription = &self.subscriptions[index as usize];
            if subscription.topic == topic {
                return Some(index);
            }
            at = subscription.next;
        }
        None
    }

    /// The subscription before `wanted` in a connection's list.
    fn before(&self, subscriptions: SlotRef, wanted: u32) -> Option<u32> {
        let mut at = subscriptions;
        while let Some(index) = at.index() {
            at = self.subscriptions[index as usize].next;
            if at.index() == Some(wanted) {
                return Some(index);
            }
        }
        None
    }

    /// Frees a subscription that is unlinked from its connection's list. `swap_remove` moves the
    /// last member of the topic into the gap. If that lies before the cursor, the last member before
    /// the cursor goes there first, so that none passes from one side to the other:
    ///
    /// ```text
    ///   a  GAP  c  d │ e  f  g     d into the gap, g to where d was, the cursor before it
    ///   a   d   c │ g  e  f
    /// ```
    fn remove(&mut self, index: u32) {
        let Subscription { topic: topic_index, position, .. } =
            self.subscriptions.remove(index as usize);
        let topic = &mut self.topics[topic_index as usize];
        let mut gap = position;
        if gap < topic.cursor {
            topic.cursor -= 1;
            topic.members.swap(gap as usize, topic.cursor as usize);
            let moved = topic.members[gap as usize];
            // The one that leaves may have moved onto itself, and its subscription is gone.
            if gap != topic.cursor {
                self.subscriptions[moved.subscription as usize].position = gap;
            }
            gap = topic.cursor;
        }
        // Not `remove`: that would move all members behind, and each has a position to correct.
        topic.members.swap_remove(gap as usize);
        if let Some(moved) = topic.members.get(gap as usize) {
            self.subscriptions[moved.subscription as usize].position = gap;
        }
        if topic.members.is_empty() {
            let topic = self.topics.remove(topic_index as usize);
            self.names.remove(&topic.name);
        } else {
            topic.members.shrink_if_sparse(MEMBERS_KEPT);
        }
        if self.subscriptions.is_empty() {
            // Slabs never shrink while entries are left, because entries cannot move. An empty one
            // can be replaced, which frees its peak.
            *self = Self::default();
        }
    }
}

/// 12 KiB, which a topic keeps as long as it has a member.
const MEMBERS_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// The walk over a topic goes on by this number of members, and begins anew at the end.
        Advance(usize, usize),
        Subscribe(u32, usize),
        Unsubscribe(u32, usize),
        Leave(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..12u32, 0..5usize).prop_map(|(conn, topic)| Step::Subscribe(conn, topic)),
            2 => (0..12u32, 0..5usize).prop_map(|(conn, topic)| Step::Unsubscribe(conn, topic)),
            1 => (0..12u32).prop_map(Step::Leave),
            2 => (0..5usize, 1..5usize).prop_map(|(topic, count)| Step::Advance(topic, count)),
        ]
    }

    proptest! {
        /// The naive twin is a set of connections for each topic, and one of those who have had the
        /// publication that is on its way.
        #[test]
        fn members_are_those_a_set_would_hold(steps in prop::collection::vec(step(), 0..200)) {
            let names = ["a", "b", "c", "d", "e"];
            let mut hub = Hub::default();
            let mut lists = [SlotRef::NONE; 12];
            let mut naive: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
            let mut served: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Advance(topic, count) => {
                        let name = names[topic];
                        let next: Vec<u32> =
                            hub.remaining(name).iter().take(count).map(|own| own.key.index).collect();
                        if next.is_empty() {
                            hub.rewind(name);
                            served.remove(name);
                        }
                        hub.advance(name, next.len());
                        for index in next {
                            prop_assert!(served.entry(name).or_default().insert(index));
                        }
                    }
                    Step::Subscribe(conn, topic) => {
                        let key = ConnKey { index: conn, generation: 1 };
                        let is_new = hub.subscribe(names[topic], key, &mut lists[conn as usize]);
                        prop_assert_eq!(is_new, naive.entry(names[topic]).or_default().insert(conn));
                    }
                    Step::Unsubscribe(conn, topic) => {
                        let was_in = hub.unsubscribe(names[topic], &mut lists[conn as usize]);
                        let naive_was_in =
                            naive.get_mut(names[topic]).is_some_and(|set| set.remove(&conn));
                        prop_assert_eq!(was_in, naive_was_in);
                    }
                    Step::Leave(conn) => {
                        hub.unsubscribe_all(&mut lists[conn as usize]);
                        prop_assert!(lists[conn as usize].is_none());
                        naive.values_mut().for_each(|set| { set.remove(&conn); });
                    }
                }
                naive.retain(|_, set| !set.is_empty());
                // Who leaves and joins again is new.
                served.retain(|name, set| {
                    let members = naive.get(name);
                    set.retain(|index| members.is_some_and(|members| members.contains(index)));
                    members.is_some()
                });
                for (name, served) in &served {
                    for index in &naive[name] {
                        let is_remaining = hub.is_remaining(name, lists[*index as usize]);
                        prop_assert_eq!(is_remaining, Some(!served.contains(index)));
                    }
                }
                prop_assert_eq!(hub.counts().0, naive.len());
                prop_assert_eq!(hub.counts().1, naive.values().map(BTreeSet::len).sum::<usize>());
                for name in names {
                    let wanted = naive.get(name).cloned().unwrap_or_default();
                    prop_assert_eq!(hub.members(name).len(), wanted.len());
                    let found: BTreeSet<u32> =
                        hub.members(name).iter().map(|member| member.key.index).collect();
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }

    #[test]
    fn a_member_takes_12_bytes_in_each_table() {
        assert_eq!(size_of::<Member>(), 12);
        assert_eq!(size_of::<Subscription>(), 12);
    }
}
