//! A room as the loops of its members know it: its name, its home loop and its topics.

use std::collections::HashMap;
use std::sync::Arc;

use crate::key::home_loop;
use crate::shrink::Shrink as _;

/// What a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientFormat {
    /// Lines of text.
    Lines,
    /// JSON events, as agreed by the chat subprotocol.
    Events,
}

impl ClientFormat {
    pub(super) const ALL: [Self; 2] = [Self::Lines, Self::Events];
}

/// The address of a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RoomRef {
    pub(super) name: Arc<str>,
    /// The loop that knows all members of the room.
    pub(super) home: u16,
    lines: Arc<str>,
    events: Arc<str>,
}

impl RoomRef {
    pub(super) fn new(name: &str, loop_count: u16) -> Self {
        Self {
            name: name.into(),
            home: home_loop(name, loop_count),
            // A room name may hold slashes, but the text before the first slash is fixed, so topics
            // of different rooms and formats never collide.
            lines: format!("lines/{name}").into(),
            events: format!("events/{name}").into(),
        }
    }

    /// The topic that members with this format are subscribed to.
    pub(super) fn topic(&self, format: ClientFormat) -> &Arc<str> {
        match format {
            ClientFormat::Lines => &self.lines,
            ClientFormat::Events => &self.events,
        }
    }
}

/// The rooms of the members on one loop, counted by member. Members of one room share a
/// [`RoomRef`].
#[derive(Debug)]
pub(super) struct RoomRefs {
    loop_count: u16,
    by_name: HashMap<Arc<str>, (Arc<RoomRef>, usize)>,
}

impl RoomRefs {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { loop_count, by_name: HashMap::new() }
    }

    /// Counts one member more in the room `name`.
    pub(super) fn acquire(&mut self, name: &str) -> Arc<RoomRef> {
        if let Some((room, count)) = self.by_name.get_mut(name) {
            *count += 1;
            return Arc::clone(room);
        }
        let room = Arc::new(RoomRef::new(name, self.loop_count));
        self.by_name.insert(Arc::clone(&room.name), (Arc::clone(&room), 1));
        room
    }

    /// Counts one member less; a room without members is forgotten.
    pub(super) fn release(&mut self, room: &RoomRef) {
        let Some((_, count)) = self.by_name.get_mut(&room.name) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_name.remove(&room.name);
            self.by_name.shrink_if_sparse(ENTRIES_KEPT);
        }
    }
}

/// Entries for which the maps of rooms and members always keep memory.
pub(super) const ENTRIES_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_rooms_and_formats_do_not_collide() {
        let rooms = ["a", "lines/a", "events/a", "/a", "a/", ""];
        let mut topics: Vec<_> = rooms
            .iter()
            .flat_map(|room| {
                ClientFormat::ALL.map(|format| RoomRef::new(room, 4).topic(format).to_string())
            })
            .collect();
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), rooms.len() * 2);
    }

    #[test]
    fn members_of_one_room_share_its_ref() {
        let mut rooms = RoomRefs::new(3);
        let first = rooms.acquire("lobby");
        let second = rooms.acquire("lobby");
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.home < 3);
        rooms.release(&first);
        assert!(Arc::ptr_eq(&first, &rooms.acquire("lobby")));
        rooms.release(&first);
        rooms.release(&second);
        assert!(rooms.by_name.is_empty());
        assert_eq!(*rooms.acquire("lobby"), *first, "the same home again");
    }
}
