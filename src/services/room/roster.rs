//! The names in a room, and which changes of them are announced.
//!
//! In a small room each member that joins or leaves is announced by name. In a large room that
//! would cost n² frames for n members, so only the count is announced, and only when it has changed
//! by more than 2 % since the last announcement: n members that join cost about 50·ln(n)
//! publications instead of n.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::event::ServerEvent;
use crate::key::ConnKey;
use crate::services::Peer;

/// A room with more members than this is large: members that join and leave are not announced by
/// name. A list of members holds no more names than this.
pub const LISTED_MAX: usize = 100;

/// A large room that shrinks to this many members is small again and gets the list of names. It is
/// below [`LISTED_MAX`] so that a single member that joins and leaves repeatedly cannot cause a
/// list for everyone each time.
pub const RELISTED_BELOW: usize = 90;

/// The members of a room by name.
#[derive(Debug)]
pub(super) struct Roster {
    name_holders: BTreeMap<Arc<str>, NameHolders>,
    /// Members with and without a name.
    count: usize,
    /// The count in the last announcement.
    announced: usize,
    is_large: bool,
}

/// The members that hold a name.
#[derive(Clone, Copy, Debug)]
struct NameHolders {
    /// The member that took it last; the only one with `Logins::One`.
    last: Peer,
    count: u32,
}

/// A change that is made to a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PresenceChange<'a> {
    /// Only the count changed.
    Count,
    Joined(&'a str),
    Left(&'a str),
}

impl Roster {
    pub(super) fn new() -> Self {
        Self { name_holders: BTreeMap::new(), count: 0, announced: 0, is_large: false }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Counts a member more, still without a name.
    pub(super) fn add(&mut self) {
        self.count += 1;
    }

    /// Counts a member less. Its name must be released before.
    pub(super) fn subtract(&mut self) {
        self.count -= 1;
    }

    /// The member that holds this name; of several, the one that took it last.
    pub(super) fn holder(&self, name: &str) -> Option<Peer> {
        self.name_holders.get(name).map(|name_holders| name_holders.last)
    }

    pub(super) fn take_name(&mut self, name: &Arc<str>, peer: Peer) {
        let name_holders = self.name_holders.entry(Arc::clone(name));
        let name_holders = name_holders.or_insert(NameHolders { last: peer, count: 0 });
        *name_holders = NameHolders { last: peer, count: name_holders.count + 1 };
    }

    /// A member at another gateway has taken a name.
    pub(super) fn take_name_elsewhere(&mut self, name: &Arc<str>) {
        let key = ConnKey { index: u32::MAX, generation: ConnKey::NOT_A_CONNECTION };
        let name_holders = self.name_holders.entry(Arc::clone(name));
        let no_member = Peer { loop_index: u16::MAX, key };
        name_holders.or_insert(NameHolders { last: no_member, count: 0 }).count += 1;
    }

    pub(super) fn release_name(&mut self, name: &Arc<str>) {
        if let Entry::Occupied(mut entry) = self.name_holders.entry(Arc::clone(name)) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
    }

    /// The first [`LISTED_MAX`] names in alphabetical order, each as often as it is held.
    pub(super) fn names(&self) -> Vec<&str> {
        let repeated = self.name_holders.iter().flat_map(|(name, name_holders)| {
            std::iter::repeat_n(&**name, usize::try_from(name_holders.count).unwrap_or(LISTED_MAX))
        });
        repeated.take(LISTED_MAX).collect()
    }

    /// The announcement of a change that was just made; `None` if it is not announced. Each
    /// change must be passed once, because announcements depend on the one before.
    pub(super) fn presence_event<'a>(
        &'a mut self,
        room: &'a str,
        change: PresenceChange<'a>,
    ) -> Option<ServerEvent<'a>> {
        let count = self.count;
        let was_large = self.is_large;
        self.is_large = count > if was_large { RELISTED_BELOW } else { LISTED_MAX };
        if self.is_large {
            if count.abs_diff(self.announced) * COUNT_STEP <= self.announced {
                return None;
            }
            self.announced = count;
            return Some(ServerEvent::Count { room, count });
        }
        self.announced = count;
        Some(match change {
            // While the room was large, no names were announced: members need all of them.
            _ if was_large => ServerEvent::List { room, count, names: self.names() },
            PresenceChange::Count => ServerEvent::Count { room, count },
            PresenceChange::Joined(name) => ServerEvent::Joined { name, count },
            PresenceChange::Left(name) => ServerEvent::Left { name, count },
        })
    }
}

/// A large room gets its count when it has changed by more than one in this many.
const COUNT_STEP: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(index: usize) -> Peer {
        let index = u32::try_from(index).unwrap();
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    fn join(roster: &mut Roster, index: usize) -> Option<String> {
        let name: Arc<str> = format!("{index:04}").into();
        roster.add();
        roster.take_name(&name, peer(index));
        roster.presence_event("r", PresenceChange::Joined(&name)).map(|event| event.to_json())
    }

    fn leave(roster: &mut Roster, index: usize) -> Option<String> {
        let name: Arc<str> = format!("{index:04}").into();
        roster.release_name(&name);
        roster.subtract();
        roster.presence_event("r", PresenceChange::Left(&name)).map(|event| event.to_json())
    }

    #[test]
    fn a_large_room_gets_counts_and_no_names() {
        let mut roster = Roster::new();
        for index in 0..LISTED_MAX {
            let presence_event = join(&mut roster, index).unwrap();
            assert!(presence_event.starts_with(r#"{"type":"joined""#), "{presence_event}");
        }
        assert_eq!(join(&mut roster, 100), None);
        assert_eq!(join(&mut roster, 101), None);
        let presence_event = join(&mut roster, 102).unwrap();
        assert_eq!(presence_event, r#"{"type":"members","room":"r","count":103}"#);
        let count = (103..10_000).filter_map(|index| join(&mut roster, index)).count();
        assert!((150..250).contains(&count), "{count} counts for ten thousand");
        assert_eq!(roster.names().len(), LISTED_MAX);
        assert_eq!(roster.names().last(), Some(&"0099"));
    }

    #[test]
    fn a_room_that_becomes_small_gets_the_list_of_names() {
        let mut roster = Roster::new();
        (0..=LISTED_MAX).for_each(|index| drop(join(&mut roster, index)));
        for index in 0..10 {
            let presence_event = leave(&mut roster, index);
            assert!(
                presence_event.is_none_or(|presence_event| !presence_event.contains("names")),
                "too early"
            );
        }
        let presence_event = leave(&mut roster, 10).unwrap();
        assert!(
            presence_event
                .starts_with(r#"{"type":"members","room":"r","count":90,"names":["0011""#)
        );
        let presence_event = leave(&mut roster, 11).unwrap();
        assert_eq!(presence_event, r#"{"type":"left","name":"0011","count":89}"#);
    }

    #[test]
    fn a_name_can_have_several_holders() {
        let mut roster = Roster::new();
        let name: Arc<str> = "bob".into();
        roster.take_name(&name, peer(1));
        roster.take_name(&name, peer(2));
        assert_eq!(roster.holder("bob"), Some(peer(2)));
        assert_eq!(roster.names(), ["bob", "bob"]);
        roster.release_name(&name);
        assert_eq!(roster.names(), ["bob"]);
        roster.release_name(&name);
        assert_eq!(roster.holder("bob"), None);
    }
}
