//! What the gateways of a room say to each other: one JSON object each.

use serde::{Deserialize, Serialize};

use crate::key::ConnKey;
use crate::services::Peer;
use crate::services::name::is_name;

/// One thing that a gateway says to those that have the room. `node` is its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Entry {
    /// A member has sent a message.
    Say { node: u64, key: MemberKey, name: Box<str>, text: Box<str> },
    /// An operator says something to the room.
    Notice { node: u64, text: Box<str> },
    /// A member has come, or taken a name.
    Joined { node: u64, member: Listed },
    /// A member has gone.
    Left { node: u64, key: MemberKey },
    /// All members of a gateway, in parts that follow each other. With `asks` the others are to say theirs.
    Here { node: u64, is_first: bool, is_last: bool, asks: bool, members: Vec<Listed> },
}

/// A member, as other gateways know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) key: MemberKey,
    pub(super) name: Option<Box<str>>,
    /// When it took its name, in milliseconds of the date, and above that of the login that it has replaced.
    pub(super) since: u64,
}

/// A connection of a gateway: loop, place and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct MemberKey(u16, u32, u32);

impl MemberKey {
    pub(super) fn of(peer: Peer) -> Self {
        Self(peer.loop_index, peer.key.index, peer.key.generation)
    }

    /// The connection, if it is one of this gateway.
    pub(super) fn peer(self) -> Peer {
        let Self(loop_index, index, generation) = self;
        Peer { loop_index, key: ConnKey { index, generation } }
    }
}

impl Entry {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Numbers and texts, which can be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The entry that was written so; `None` if it is of another version or says what cannot be.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(bytes).ok()?;
        let is_valid = match &entry {
            Self::Say { name, .. } => is_name(name),
            Self::Joined { member, .. } => member.name.as_deref().is_none_or(is_name),
            Self::Here { members, .. } => {
                members.iter().all(|own| own.name.as_deref().is_none_or(is_name))
            }
            Self::Left { .. } | Self::Notice { .. } => true,
        };
        is_valid.then_some(entry)
    }
}

/// An entry written again by the gateway that has read it; `None` if it is none.
#[cfg(feature = "sim")]
#[must_use]
pub fn rewrite_room_entry(bytes: &[u8]) -> Option<Vec<u8>> {
    Entry::parse(bytes).map(|entry| entry.to_bytes())
}
