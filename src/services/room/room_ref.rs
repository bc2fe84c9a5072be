//! A room as the loops of its members know it: its name, its home loop and its topics.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use crate::key::{home_loop, slot_number};
use crate::shrink::Shrink as _;

/// What a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientFormat {
    /// Lines of text.
    Lines,
    /// JSON events, as agreed by the chat subprotocol.
    Events,
    /// JSON events of messages alone: the member may not see who is in the room.
    Messages,
}

impl ClientFormat {
    pub(super) const ALL: [Self; 3] = [Self::Lines, Self::Events, Self::Messages];

    /// Whether its messages are JSON events.
    pub(super) fn is_json(self) -> bool {
        match self {
            Self::Events | Self::Messages => true,
            Self::Lines => false,
        }
    }

    /// The formats that members may have, where some may or may not lack the right to see members.
    pub(super) fn with_hidden(may_hide_members: bool) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().take(if may_hide_members { 3 } else { 2 })
    }
}

/// The address of a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RoomRef {
    pub(super) name: Arc<str>,
    /// The loop that knows all members of the room.
    pub(super) home: u16,
    lines: Arc<str>,
    events: Arc<str>,
    messages: Arc<str>,
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
            messages: format!("messages/{name}").into(),
        }
    }

    /// The topic that members with this format are subscribed to.
    pub(super) fn topic(&self, format: ClientFormat) -> &Arc<str> {
        match format {
            ClientFormat::Lines => &self.lines,
            ClientFormat::Events => &self.events,
            ClientFormat::Messages => &self.messages,
        }
    }
}

/// The rooms of the members on one loop, counted by member. Members of one room share a
/// [`RoomRef`].
#[derive(Debug)]
pub(super) struct RoomRefs {
    loop_count: u16,
    by_name: HashMap<Arc<str>, u32>,
    rooms: Slab<CountedRoom>,
}

#[derive(Debug)]
struct CountedRoom {
    room: Arc<RoomRef>,
    /// Members, with those that are not open yet.
    refs: u32,
    /// Members that are open.
    open: u32,
}

impl RoomRefs {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { loop_count, by_name: HashMap::new(), rooms: Slab::new() }
    }

    /// Counts one member more in the room `name`.
    pub(super) fn acquire(&mut self, name: &str) -> Arc<RoomRef> {
        if let Some(own) = self.get_mut(name) {
            own.refs += 1;
            return Arc::clone(&own.room);
        }
        let room = Arc::new(RoomRef::new(name, self.loop_count));
        let own = CountedRoom { room: Arc::clone(&room), refs: 1, open: 0 };
        let position = slot_number(self.rooms.insert(own));
        self.by_name.insert(Arc::clone(&room.name), position);
        room
    }

    /// One of the members of a room is open.
    pub(super) fn open(&mut self, room: &RoomRef) {
        if let Some(own) = self.get_mut(&room.name) {
            own.open += 1;
        }
    }

    /// Counts one member less, which `was_open` or not; a room without members is forgotten.
    pub(super) fn release(&mut self, room: &RoomRef, was_open: bool) {
        let Some(own) = self.get_mut(&room.name) else { return };
        own.refs -= 1;
        own.open -= u32::from(was_open);
        if own.refs > 0 {
            return;
        }
        if let Some(position) = self.by_name.remove(&room.name) {
            self.rooms.remove(position as usize);
        }
        self.by_name.shrink_if_sparse(ENTRIES_KEPT);
        if self.rooms.is_empty() {
            // A slab keeps its peak otherwise.
            self.rooms = Slab::new();
        }
    }

    /// One more than the largest position of a room.
    pub(super) fn end(&self) -> usize {
        self.rooms.capacity()
    }

    /// The room at a position, which it keeps, and how many of its members are open; `None` if none is.
    pub(super) fn at(&self, position: usize) -> Option<(&str, usize)> {
        let own = self.rooms.get(position).filter(|own| own.open > 0)?;
        Some((&own.room.name, own.open as usize))
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut CountedRoom> {
        let position = *self.by_name.get(name)?;
        self.rooms.get_mut(position as usize)
    }
}

/// Entries for which the maps of rooms and members always keep memory.
pub(super) const ENTRIES_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_rooms_and_formats_do_not_collide() {
        let rooms = ["a", "lines/a", "events/a", "messages/a", "/a", "a/", ""];
        let mut topics: Vec<_> = rooms
            .iter()
            .flat_map(|room| {
                ClientFormat::ALL.map(|format| RoomRef::new(room, 4).topic(format).to_string())
            })
            .collect();
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), rooms.len() * ClientFormat::ALL.len());
    }

    #[test]
    fn members_of_one_room_share_its_ref() {
        let mut rooms = RoomRefs::new(3);
        let first = rooms.acquire("lobby");
        let second = rooms.acquire("lobby");
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.home < 3);
        rooms.release(&first, false);
        assert!(Arc::ptr_eq(&first, &rooms.acquire("lobby")));
        rooms.release(&first, false);
        rooms.release(&second, false);
        assert!(rooms.by_name.is_empty() && rooms.rooms.is_empty());
        assert_eq!(*rooms.acquire("lobby"), *first, "the same home again");
    }
    #[test]
    fn a_room_keeps_its_position_and_counts_those_that_are_open() {
        let mut rooms = RoomRefs::new(1);
        let [first, second, _third] = ["a", "b", "c"].map(|name| rooms.acquire(name));
        assert_eq!((0..rooms.end()).find_map(|at| rooms.at(at)), None, "none is open");
        for room in [&first, &second, &second] {
            rooms.acquire(&room.name);
            rooms.open(room);
        }
        assert_eq!((rooms.at(0), rooms.at(1), rooms.at(2)), (Some(("a", 1)), Some(("b", 2)), None));
        rooms.release(&first, true);
        rooms.release(&first, false);
        rooms.release(&second, true);
        assert_eq!((rooms.at(0), rooms.at(1)), (None, Some(("b", 1))));
    }

    #[test]
    fn a_room_takes_16_bytes_in_the_list() {
        assert_eq!(size_of::<Option<CountedRoom>>(), 16);
    }
}
