//! Who gets what, inside one loop: topics, their members, and nothing about sockets.
//!
//! The members of a topic stand in one dense array, which a publication walks from end to end. A
//! connection has a list of its subscriptions, so that leaving, one or all, costs the same
//! however many others there are:
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

/// A connection in a topic: 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection.
    pub key: ConnKey,
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
    /// Where in the topic's members the connection stands.
    position: u32,
    /// The connection's next subscription.
    next: SlotRef,
}

impl Hub {
    /// Adds a connection to a topic, which begins with its first member. `subscriptions` is the
    /// connection's list. Gives `false` if it was in already.
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

    /// Takes a connection out of a topic. Gives `false` if it was not in.
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

    /// Takes a connection out of all its topics.
    pub fn unsubscribe_all(&mut self, subscriptions: &mut SlotRef) {
        while let Some(index) = subscriptions.index() {
            *subscriptions = self.subscriptions[index as usize].next;
            self.remove(index);
        }
    }

    /// Takes the members of a topic out for the time of a publication; put them back with
    /// [`Hub::restore_members`] before anything else is done to the hub.
    pub fn borrow_members(&mut self, name: &str) -> Option<(u32, Vec<Member>)> {
        let index = self.names.get(name).copied()?;
        Some((index, std::mem::take(&mut self.topics[index as usize].members)))
    }

    /// Puts back what [`Hub::borrow_members`] took.
    pub fn restore_members(&mut self, topic: u32, members: Vec<Member>) {
        if let Some(topic) = self.topics.get_mut(topic as usize) {
            debug_assert!(topic.members.is_empty());
            topic.members = members;
        }
    }

    /// Members of a topic.
    #[must_use]
    pub fn member_count(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |topic| self.topics[*topic as usize].members.len())
    }

    /// Topics with a member, and subscriptions in all of them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.topics.len(), self.subscriptions.len())
    }

    /// The subscription to `topic` in a connection's list.
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

    /// The subscription that stands before `wanted` in a connection's list.
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

    /// Frees a subscription that is in no list any more. The last member takes its place.
    fn remove(&mut self, index: u32) {
        let Subscription { topic: topic_index, position, .. } =
            self.subscriptions.remove(index as usize);
        let topic = &mut self.topics[topic_index as usize];
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
            // Give the peak back; a slab keeps it otherwise.
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
        /// The naive twin is a set of connections for every topic.
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
                    prop_assert_eq!(hub.member_count(name), wanted.len());
                    let Some((topic, members)) = hub.borrow_members(name) else { continue };
                    let found: BTreeSet<u32> =
                        members.iter().map(|member| member.key.index).collect();
                    hub.restore_members(topic, members);
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }

    #[test]
    fn what_a_membership_costs() {
        assert_eq!(size_of::<Member>(), 12);
        assert_eq!(size_of::<Subscription>(), 12);
    }
}
