//! The people of one loop: what is kept for each of its connections.

use std::collections::HashMap;
use std::sync::Arc;

use super::room_ref::{ClientFormat, RoomRef, RoomRefs, shrink_if_sparse};
use crate::key::ConnKey;

/// One connection, from its admission to its end.
#[derive(Debug)]
pub(super) struct LocalMember {
    pub(super) place: Arc<RoomRef>,
    /// `None` until it says its name.
    pub(super) name: Option<Arc<str>>,
    pub(super) format: ClientFormat,
    /// Whether its name is or will be what it says first.
    pub(super) is_named_by_text: bool,
    pub(super) join_state: JoinState,
}

/// How far somebody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinState {
    /// Its token is being looked up.
    AskedAbout,
    /// The room's home is asked for its name.
    Claims,
    /// Its name was granted, so it may be let in.
    Granted,
    /// Another took its name before it was in.
    Replaced,
    /// It needs nobody's leave.
    Free,
}

/// All connections of one loop.
#[derive(Debug)]
pub(super) struct LocalMembers {
    rooms: RoomRefs,
    by_key: HashMap<ConnKey, LocalMember>,
}

/// What somebody comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewMember<'a> {
    pub(super) room: &'a str,
    pub(super) name: Option<Arc<str>>,
    pub(super) format: ClientFormat,
    pub(super) join_state: JoinState,
}

impl LocalMembers {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { rooms: RoomRefs::new(loop_count), by_key: HashMap::new() }
    }

    pub(super) fn add(&mut self, key: ConnKey, new_member: NewMember<'_>) {
        let NewMember { room, name, format, join_state } = new_member;
        let place = self.rooms.enter(room);
        let is_named_by_text = name.is_none();
        self.by_key.insert(key, LocalMember { place, name, format, is_named_by_text, join_state });
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut LocalMember> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: ConnKey) -> Option<LocalMember> {
        let member = self.by_key.remove(&key)?;
        self.rooms.leave(&member.place);
        shrink_if_sparse(&mut self.by_key);
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_at_rest_is_small() {
        assert!(size_of::<(ConnKey, LocalMember)>() <= 40);
    }
}
