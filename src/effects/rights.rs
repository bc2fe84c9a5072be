//! What a user may do, in which rooms.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// What a member of a room may do: a set of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// It receives messages.
    pub const READ: Self = Self(1);
    /// Its messages are published.
    pub const WRITE: Self = Self(1 << 1);
    /// It is told who is in the room, and who enters and leaves.
    pub const SEE_MEMBERS: Self = Self(1 << 2);
    /// Every right.
    pub const ALL: Self = Self(Self::READ.0 | Self::WRITE.0 | Self::SEE_MEMBERS.0);

    /// The right that a word stands for: `read`, `write` or `see_members`.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::READ),
            "write" => Some(Self::WRITE),
            "see_members" => Some(Self::SEE_MEMBERS),
            _ => None,
        }
    }

    /// Whether all of these rights are in it.
    #[must_use]
    pub fn allows(self, rights: Self) -> bool {
        self.0 & rights.0 == rights.0
    }

    /// The rights of both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights that are in both.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Default for Rights {
    /// Who is let in and not held back may do everything.
    fn default() -> Self {
        Self::ALL
    }
}

/// The rooms that a user may enter, each with its rights there. A name that ends in `*` stands for all
/// rooms whose name begins so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomGrants(Box<[RoomGrant]>);

/// One room, or all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RoomGrant {
    room: Box<str>,
    /// `None` for the rights that the identity has everywhere.
    rights: Option<Rights>,
}

/// Rooms that cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidGrant {
    /// More than [`ROOM_GRANTS_MAX`].
    #[error("more than {ROOM_GRANTS_MAX} rooms")]
    TooMany,
    /// Longer than any room's name.
    #[error("a room of more than {ROOM_PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// A right that there is not.
    #[error("a right other than read, write and see_members")]
    UnknownRight,
}

impl RoomGrants {
    /// Grants of rooms, each with the rights there, or `None` for those that the identity has everywhere.
    ///
    /// # Errors
    /// [`InvalidGrant`] beyond one of the limits.
    pub fn new<'r>(
        grants: impl IntoIterator<Item = (&'r str, Option<Rights>)>,
    ) -> Result<Self, InvalidGrant> {
        let mut own = Vec::new();
        for (room, rights) in grants {
            if own.len() == ROOM_GRANTS_MAX {
                return Err(InvalidGrant::TooMany);
            }
            if room.len() > ROOM_PATTERN_BYTES_MAX {
                return Err(InvalidGrant::TooLong);
            }
            own.push(RoomGrant { room: room.into(), rights });
        }
        Ok(Self(own.into()))
    }

    /// What a user with these `rights` everywhere may do in `room`; `None` if it may not enter. The grant
    /// that says most about the name decides: the room's own, or else the longest beginning.
    #[must_use]
    pub fn rights_in(&self, room: &str, rights: Rights) -> Option<Rights> {
        let matching = self.0.iter().filter(|grant| grant.covers(room));
        let best = matching.max_by_key(|grant| (!grant.is_pattern(), grant.room.len()))?;
        Some(best.rights.unwrap_or(rights))
    }

    /// Bytes on the heap.
    pub(crate) fn held_bytes(&self) -> usize {
        let names: usize = self.0.iter().map(|grant| grant.room.len()).sum();
        self.0.len() * size_of::<RoomGrant>() + names
    }
}

impl RoomGrant {
    fn is_pattern(&self) -> bool {
        self.room.ends_with('*')
    }

    fn covers(&self, room: &str) -> bool {
        match self.room.strip_suffix('*') {
            Some(beginning) => room.starts_with(beginning),
            None => *self.room == *room,
        }
    }
}

/// A list of words, as in `["read", "write"]`.
impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Rights;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of rights: read, write, see_members")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Rights, A::Error> {
                let mut rights = Rights::NONE;
                while let Some(word) = words.next_element::<std::borrow::Cow<'de, str>>()? {
                    let right = Rights::of_word(&word);
                    rights = rights
                        .and(right.ok_or_else(|| A::Error::custom(InvalidGrant::UnknownRight))?);
                }
                Ok(rights)
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

/// A list of rooms, as in `["lobby", "team-*"]`, or a table of rooms and rights, as in
/// `{"lobby": ["read"]}`.
impl<'de> Deserialize<'de> for RoomGrants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rooms;
        impl<'de> Visitor<'de> for Rooms {
            type Value = RoomGrants;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of rooms, or a table of rooms and their rights")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rooms: A) -> Result<RoomGrants, A::Error> {
                let mut grants: Vec<(String, Option<Rights>)> = Vec::new();
                // One more than are taken, so that the limit is found; a list may be longer than memory.
                while grants.len() <= ROOM_GRANTS_MAX
                    && let Some(room) = rooms.next_element()?
                {
                    grants.push((room, None));
                }
                grants_of(&grants)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut rooms: A) -> Result<RoomGrants, A::Error> {
                let mut grants: Vec<(String, Option<Rights>)> = Vec::new();
                while grants.len() <= ROOM_GRANTS_MAX
                    && let Some((room, rights)) = rooms.next_entry()?
                {
                    grants.push((room, Some(rights)));
                }
                grants_of(&grants)
            }
        }
        deserializer.deserialize_any(Rooms)
    }
}

fn grants_of<E: serde::de::Error>(grants: &[(String, Option<Rights>)]) -> Result<RoomGrants, E> {
    RoomGrants::new(grants.iter().map(|(room, rights)| (room.as_str(), *rights))).map_err(E::custom)
}

/// The most rooms that one identity names.
pub const ROOM_GRANTS_MAX: usize = 64;
/// The longest name of a room, with a `*` behind it.
pub const ROOM_PATTERN_BYTES_MAX: usize = 65;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grant_that_says_most_about_a_room_decides() {
        let grants = RoomGrants::new([
            ("team-*", Some(Rights::READ)),
            ("team-a*", None),
            ("team-a", Some(Rights::NONE)),
        ])
        .unwrap();
        let everywhere = Rights::READ.and(Rights::WRITE);
        for (room, rights) in [
            ("team-a", Some(Rights::NONE)),
            ("team-ab", Some(everywhere)),
            ("team-b", Some(Rights::READ)),
            ("team", None),
            ("", None),
        ] {
            assert_eq!(grants.rights_in(room, everywhere), rights, "{room}");
        }
    }

    #[test]
    fn grants_are_read_from_lists_and_from_tables() {
        let read = |json: &str| serde_json::from_str::<RoomGrants>(json);
        let list = read(r#"["lobby", "a*"]"#).unwrap();
        assert_eq!(list.rights_in("ab", Rights::READ), Some(Rights::READ));
        assert_eq!(list.rights_in("b", Rights::READ), None);
        let table = read(r#"{"lobby": ["see_members", "read"], "*": []}"#).unwrap();
        let seen = Rights::READ.and(Rights::SEE_MEMBERS);
        assert_eq!(table.rights_in("lobby", Rights::ALL), Some(seen));
        assert_eq!(table.rights_in("other", Rights::ALL), Some(Rights::NONE));
        let many = serde_json::to_string(&vec!["a"; ROOM_GRANTS_MAX + 1]).unwrap();
        let long = format!("[\"{}\"]", "a".repeat(ROOM_PATTERN_BYTES_MAX + 1));
        for json in ["1", "null", "[1]", r#"{"a": "read"}"#, r#"{"a": ["fly"]}"#, &many, &long] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    proptest! {
        /// What is granted never grows by a grant that says less about the room.
        #[test]
        fn a_room_of_its_own_name_is_decided_by_it(name in "[a-c]{0,4}", patterns in prop::collection::vec("[a-c]{0,4}[*]", 0..5)) {
            let own = [(name.as_str(), Some(Rights::READ))];
            let others = patterns.iter().map(|pattern| (pattern.as_str(), Some(Rights::ALL)));
            let grants = RoomGrants::new(others.chain(own)).unwrap();
            prop_assert_eq!(grants.rights_in(&name, Rights::ALL), Some(Rights::READ));
        }
    }
}
