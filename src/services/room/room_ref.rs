//! A room as members' loops know it: its name, its home and its topics.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// How a connection is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientFormat {
    /// Lines of text.
    Lines,
    /// JSON events, by the chat subprotocol.
    Events,
}

impl ClientFormat {
    pub(super) const ALL: [Self; 2] = [Self::Lines, Self::Events];
}

/// A room, as seen from outside its home.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RoomRef {
    pub(super) room: Arc<str>,
    /// The loop that knows its members.
    pub(super) home: u16,
    lines: Arc<str>,
    events: Arc<str>,
}

impl RoomRef {
    pub(super) fn new(room: &str, loop_count: u16) -> Self {
        Self {
            room: room.into(),
            home: home_of(room, loop_count),
            // What comes before the first slash is ours, so no room's topic is another's.
            lines: format!("lines/{room}").into(),
            events: format!("events/{room}").into(),
        }
    }

    /// What members with this form are subscribed to.
    pub(super) fn topic(&self, format: ClientFormat) -> &Arc<str> {
        match format {
            ClientFormat::Lines => &self.lines,
            ClientFormat::Events => &self.events,
        }
    }
}

fn home_of(room: &str, loop_count: u16) -> u16 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    u16::try_from(hasher.finish() % u64::from(loop_count.max(1))).unwrap_or(0)
}

/// The places of the people of one loop: all in the same room share one.
#[derive(Debug)]
pub(super) struct RoomRefs {
    loop_count: u16,
    by_room: HashMap<Arc<str>, (Arc<RoomRef>, usize)>,
}

impl RoomRefs {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { loop_count, by_room: HashMap::new() }
    }

    /// One more is in this room.
    pub(super) fn enter(&mut self, room: &str) -> Arc<RoomRef> {
        if let Some((room, count)) = self.by_room.get_mut(room) {
            *count += 1;
            return Arc::clone(room);
        }
        let room = Arc::new(RoomRef::new(room, self.loop_count));
        self.by_room.insert(Arc::clone(&room.room), (Arc::clone(&room), 1));
        room
    }

    /// One less is in this room.
    pub(super) fn leave(&mut self, room: &RoomRef) {
        let Some((_, count)) = self.by_room.get_mut(&room.room) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_room.remove(&room.room);
            shrink_if_sparse(&mut self.by_room);
        }
    }
}

/// Gives back most of what a map no longer needs, now and then: what was once a crowd must not
/// cost for ever.
pub(super) fn shrink_if_sparse<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > KEPT_MIN && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}

const KEPT_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_rooms_and_forms_do_not_collide() {
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
    fn people_of_a_room_share_its_place() {
        let mut rooms = RoomRefs::new(3);
        let first = rooms.enter("lobby");
        let second = rooms.enter("lobby");
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.home < 3);
        rooms.leave(&first);
        assert!(Arc::ptr_eq(&first, &rooms.enter("lobby")));
        rooms.leave(&first);
        rooms.leave(&second);
        assert!(rooms.by_room.is_empty());
        assert_eq!(*rooms.enter("lobby"), *first, "the same home again");
    }

    #[test]
    fn a_map_that_was_large_becomes_small() {
        let mut map: HashMap<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
        for key in 0..10_000 {
            map.remove(&key);
            shrink_if_sparse(&mut map);
        }
        assert!(map.capacity() <= KEPT_MIN, "{}", map.capacity());
    }
}
