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
                let topic = Topic { name: name.into(), members: Vec::new() };
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
    /// last member of the topic into the gap.
    fn remove(&mut self, index: u32) {
        let Subscription { topic: topic_index, position, .. } =
            self.subscriptions.remove(index as usize);
        let topic = &mut self.topics[topic_index as usize];
        // Not `remove`: that would move all members behind, and each has a position to correct.
        topic.members.swap_remove(position as usize);
        if let Some(moved) = topic.members.get(position as usize) {
            self.subscriptions[moved.subscription as usize].position = position;
        }
        if topic.members.is_empty() {
            let topic = self.topics.remove(topic_index as usize);
            self.names.remove(&topic.name);
        } else {
            topic.members.shrink_if_sparse(MEMBERS_KEPT);
        }
        if self.subscriptions.is_empty() {
            // Slabs never shrink while entries are left, because entries cannot move. An empty one
            // can be replaced, and gives its peak back.
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
        Subscribe(u32, usize),
        Unsubscribe(u32, usize),
        Leave(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..12u32, 0..5usize).prop_map(|(conn, topic)| Step::Subscribe(conn, topic)),
            2 => (0..12u32, 0..5usize).prop_map(|(conn, topic)| Step::Unsubscribe(conn, topic)),
            1 => (0..12u32).prop_map(Step::Leave),
        ]
    }

    proptest! {
        /// The naive twin is a set of connections for each topic.
        #[test]
        fn members_are_those_a_set_would_hold(steps in prop::collection::vec(step(), 0..200)) {
            let names = ["a", "b", "c", "d", "e"];
            let mut hub = Hub::default();
            let mut lists = [SlotRef::NONE; 12];
            let mut naive: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
            for step in steps {
                match step {
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
