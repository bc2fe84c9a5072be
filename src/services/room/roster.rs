//! Who is in a room, and what of its coming and going the room is told.
//!
//! While few are there, each one who joins or leaves is announced. In a crowd that would be a
//! message to everyone for everyone, so there only the count is told, and only once it has changed
//! by more than 2 % since it was told last: n who join at once cost about 50·ln(n) publications
//! instead of n.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::event::ServerEvent;
use crate::services::Peer;

/// Up to this many members, those who join and leave are announced by name. A list of members
/// holds no more names than this.
pub const LISTED_MAX: usize = 100;

/// A crowd that has become this small is told who is there, and by name again from then on. Lower
/// than [`LISTED_MAX`], or one who comes and goes could make lists for all others.
pub const RELISTED_BELOW: usize = 90;

/// The members of a room by name.
#[derive(Debug)]
pub(super) struct Roster {
    name_holders: BTreeMap<Arc<str>, NameHolders>,
    /// Members with and without a name.
    count: usize,
    /// The count that the room was told last.
    told: usize,
    is_crowd: bool,
}

/// Who has a name.
#[derive(Clone, Copy, Debug)]
struct NameHolders {
    /// Who took it last; the only one if logins are one.
    last: Peer,
    count: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// Only the count changed.
    Count,
    Joined(&'a str),
    Left(&'a str),
}

impl Roster {
    pub(super) fn new() -> Self {
        Self { name_holders: BTreeMap::new(), count: 0, told: 0, is_crowd: false }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// One more, yet without a name.
    pub(super) fn add(&mut self) {
        self.count += 1;
    }

    /// One less, whose name is given up already.
    pub(super) fn subtract(&mut self) {
        self.count -= 1;
    }

    /// Who has this name; if several do, who took it last.
    pub(super) fn holder(&self, name: &str) -> Option<Peer> {
        self.name_holders.get(name).map(|name_holders| name_holders.last)
    }

    pub(super) fn take_name(&mut self, name: &Arc<str>, peer: Peer) {
        let name_holders = self.name_holders.entry(Arc::clone(name));
        let name_holders = name_holders.or_insert(NameHolders { last: peer, count: 0 });
        *name_holders = NameHolders { last: peer, count: name_holders.count + 1 };
    }

    pub(super) fn release_name(&mut self, name: &Arc<str>) {
        if let Entry::Occupied(mut entry) = self.name_holders.entry(Arc::clone(name)) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
    }

    /// The first names in their order, as often as each is there.
    pub(super) fn names(&self) -> Vec<&str> {
        let repeated = self.name_holders.iter().flat_map(|(name, name_holders)| {
            std::iter::repeat_n(&**name, usize::try_from(name_holders.count).unwrap_or(LISTED_MAX))
        });
        repeated.take(LISTED_MAX).collect()
    }

    /// What the room is to be told of a change, which is made already.
    pub(super) fn presence_event<'a>(
        &'a mut self,
        room: &'a str,
        change: Change<'a>,
    ) -> Option<ServerEvent<'a>> {
        let count = self.count;
        let was_crowd = self.is_crowd;
        self.is_crowd = count > if was_crowd { RELISTED_BELOW } else { LISTED_MAX };
        if self.is_crowd {
            if count.abs_diff(self.told) * COUNT_STEP <= self.told {
                return None;
            }
            self.told = count;
            return Some(ServerEvent::Count { room, count });
        }
        self.told = count;
        Some(match change {
            // Nobody knows who is there.
            _ if was_crowd => ServerEvent::List { room, count, names: self.names() },
            Change::Count => ServerEvent::Count { room, count },
            Change::Joined(name) => ServerEvent::Joined { name, count },
            Change::Left(name) => ServerEvent::Left { name, count },
        })
    }
}

/// A crowd is told its count when one in so many has come or gone.
const COUNT_STEP: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    fn peer(index: usize) -> Peer {
        let index = u32::try_from(index).unwrap();
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    fn join(roster: &mut Roster, index: usize) -> Option<String> {
        let name: Arc<str> = format!("{index:04}").into();
        roster.add();
        roster.take_name(&name, peer(index));
        roster.presence_event("r", Change::Joined(&name)).map(|event| event.to_json())
    }

    fn leave(roster: &mut Roster, index: usize) -> Option<String> {
        let name: Arc<str> = format!("{index:04}").into();
        roster.release_name(&name);
        roster.subtract();
        roster.presence_event("r", Change::Left(&name)).map(|event| event.to_json())
    }

    #[test]
    fn a_crowd_hears_counts_and_no_names() {
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
    fn a_crowd_that_went_home_is_told_who_is_left() {
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
    fn a_name_can_be_there_more_than_once() {
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
