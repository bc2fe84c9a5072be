//! The settings of a room route: where names come from, how lines look, who receives them.

use serde::{Deserialize, Serialize};

use super::LineFormat;
use crate::services::{Identity, Order, Rights};

/// How the rooms of one route work.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// Where a connection's name comes from.
    pub name: NameSource,
    /// The room of a connection that names none with `?room=` or in its path.
    pub default_room: String,
    /// Which segment of the request's path, counted from 0, names a room. A path that has it takes
    /// no `?room=`.
    pub room_segment: Option<usize>,
    /// The line that a message becomes for clients without the chat subprotocol.
    pub line: LineFormat,
    /// Whether a sender receives its own messages.
    pub hears_itself: bool,
    /// What happens to line breaks inside a message.
    pub newlines: Newlines,
    /// How many connections may have one name in a room.
    pub logins: Logins,
    /// In which order members see messages.
    pub order: Order,
    /// Whether lines that wait for one connection are sent as one message.
    pub joins_lines: bool,
    /// What members may do by the identity that they have proven.
    pub rights: IdentityRights,
}

/// Which identities have a right on a route, by the names of their `[[identity]]`; `None` where everyone has
/// it, those without an identity as well. What an identity itself grants bounds it further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityRights {
    /// Whose members receive messages.
    pub read: Option<Vec<String>>,
    /// Whose members' messages are published.
    pub write: Option<Vec<String>>,
    /// Whose members are told who is in the room.
    pub see_members: Option<Vec<String>>,
    /// Whether members may lack the last right, by this or by what their identity grants. A room without such
    /// members publishes less.
    pub may_hide_members: bool,
}

impl IdentityRights {
    /// What a connection with this identity may do in a room; `None` if it may not enter.
    pub(super) fn of(&self, identity: Option<&Identity>, room: &str) -> Option<Rights> {
        let granted = identity.map_or(Some(Rights::ALL), |own| own.rights_in(room))?;
        let lists = [
            (Rights::READ, &self.read),
            (Rights::WRITE, &self.write),
            (Rights::SEE_MEMBERS, &self.see_members),
        ];
        let is_listed = |names: &[String]| {
            identity.is_some_and(|own| names.iter().any(|name| **name == **own.name()))
        };
        let own = lists.into_iter().filter(|(_, names)| names.as_deref().is_none_or(is_listed));
        Some(own.fold(Rights::NONE, |rights, (right, _)| rights.and(right)).within(granted))
    }
}

/// Where a connection's name comes from. Indices count the segments of the request's path from 0.
#[derive(Clone, Debug)]
pub enum NameSource {
    /// The client's address is its name.
    Address,
    /// The client's first text message that is not blank.
    FirstText,
    /// A segment of the path.
    Path {
        /// Which segment.
        segment: usize,
    },
    /// The query parameter `user`.
    Query,
    /// The user of the connection's [identity](crate::services::Identity). A connection without one has no
    /// name: it may read, and not write.
    Identity {
        /// The segment of the path that states the name as well. What could not be one is refused before
        /// its credential is checked.
        segment: Option<usize>,
    },
}

/// What happens to line breaks inside a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newlines {
    /// They stay.
    #[default]
    Keep,
    /// Each becomes a space, and the message is trimmed; an empty one is dropped.
    Space,
}

/// How many connections may have one name in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logins {
    /// Any number.
    #[default]
    Many,
    /// One: a later login replaces an earlier one, which is closed with 4001.
    One,
}

impl Default for RoomSettings {
    /// Names from the query, lines as `NAME: MESSAGE` to everyone, in one order.
    fn default() -> Self {
        Self {
            name: NameSource::Query,
            default_room: "lobby".to_owned(),
            room_segment: None,
            line: LineFormat::default(),
            hears_itself: true,
            newlines: Newlines::Keep,
            logins: Logins::Many,
            order: Order::Topic,
            joins_lines: false,
            rights: IdentityRights::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::RoomGrants;

    #[test]
    fn a_right_needs_the_route_and_the_identity() {
        let rights = IdentityRights {
            write: Some(vec!["staff".to_owned()]),
            see_members: Some(Vec::new()),
            ..IdentityRights::default()
        };
        let of = |name: &str| Identity::new(&name.into(), "ann").unwrap();
        let writes = Rights::READ.and(Rights::WRITE);
        assert_eq!(rights.of(None, "lobby"), Some(Rights::READ));
        assert_eq!(rights.of(Some(&of("guests")), "lobby"), Some(Rights::READ));
        assert_eq!(rights.of(Some(&of("staff")), "lobby"), Some(writes));
        let lobby = RoomGrants::new([("lobby", Some(Rights::WRITE))]).unwrap();
        let ann = of("staff").in_rooms(lobby);
        assert_eq!(rights.of(Some(&ann), "lobby"), Some(Rights::WRITE));
        assert_eq!(rights.of(Some(&ann), "other"), None);
        assert_eq!(IdentityRights::default().of(None, "any"), Some(Rights::ALL));
    }
}
