//! The members on one loop, from their request to their end.

use std::collections::HashMap;
use std::sync::Arc;

use super::room_ref::{ClientFormat, ENTRIES_KEPT, RoomRef, RoomRefs};
use crate::key::ConnKey;
use crate::services::Rights;
use crate::shrink::Shrink as _;

/// A connection that asks for admission or is open.
#[derive(Debug)]
pub(super) struct LocalMember {
    pub(super) room: Arc<RoomRef>,
    /// `None` until the client names itself.
    pub(super) name: Option<Arc<str>>,
    pub(super) format: ClientFormat,
    /// Whether the name is, or will be, the first text of the client.
    pub(super) is_named_by_text: bool,
    /// What it may do.
    pub(super) rights: Rights,
    /// Whether the connection is open.
    is_open: bool,
    pub(super) join_state: JoinState,
}

/// How far a connection has come on its way into the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinState {
    /// The home of the room has not answered the claim of the name.
    AwaitsName,
    /// The home granted the name; the connection is accepted.
    NameGranted,
    /// A later login took the name before the connection was open.
    Replaced,
    /// The connection is accepted and claims no name.
    Accepted,
}

/// All members on one loop.
#[derive(Debug)]
pub(super) struct LocalMembers {
    rooms: RoomRefs,
    by_key: HashMap<ConnKey, LocalMember>,
}

/// What is known of a member when its request arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewMember<'a> {
    pub(super) room: &'a str,
    pub(super) name: Option<Arc<str>>,
    pub(super) format: ClientFormat,
    /// Whether its first text will be its name.
    pub(super) is_named_by_text: bool,
    pub(super) rights: Rights,
}

impl LocalMembers {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { rooms: RoomRefs::new(loop_count), by_key: HashMap::new() }
    }

    pub(super) fn add(&mut self, key: ConnKey, new_member: NewMember<'_>) {
        let NewMember { room, name, format, is_named_by_text, rights } = new_member;
        let room = self.rooms.acquire(room);
        let (is_open, join_state) = (false, JoinState::Accepted);
        let member =
            LocalMember { room, name, format, is_named_by_text, rights, is_open, join_state };
        self.by_key.insert(key, member);
    }

    /// The connection is open from now on.
    pub(super) fn open(&mut self, key: ConnKey) {
        if let Some(member) = self.by_key.get_mut(&key) {
            member.is_open = true;
            self.rooms.open(&member.room);
        }
    }

    /// The rooms of the members.
    pub(super) fn rooms(&self) -> &RoomRefs {
        &self.rooms
    }

    pub(super) fn get(&self, key: ConnKey) -> Option<&LocalMember> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut LocalMember> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: ConnKey) -> Option<LocalMember> {
        let member = self.by_key.remove(&key)?;
        self.rooms.release(&member.room, member.is_open);
        self.by_key.shrink_if_sparse(ENTRIES_KEPT);
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_member_takes_at_most_40_bytes() {
        assert!(size_of::<(ConnKey, LocalMember)>() <= 40);
    }
}
