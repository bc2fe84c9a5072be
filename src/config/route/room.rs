//! How a room works: names, lines, and which members receive them.

use crate::config::declare::keys;
use crate::config::rule::Rule;
use crate::config::word::{one_of, words};
use crate::services::room::{Logins, Newlines};

keys! {
    /// The options that only a room takes.
    "route." pub struct RoomOptions {
        /// Where a member's name comes from.
        pub name: NameKind {
            default: NameKind::Query,
            rule: one_of::<NameKind>(),
            reload: true,
            reached: "A request without a usable name is refused with 400.",
        }
        /// The room of a member that asks for none.
        pub room: String {
            default: "lobby".to_owned(),
            rule: Rule::Name,
            reload: true,
        }
        /// How a message looks to clients without a subprotocol.
        pub line: String {
            default: "named".to_owned(),
            rule: Rule::Line,
            reload: true,
        }
        /// Whether a sender receives its own messages.
        pub hears_itself: bool {
            default: true,
            rule: Rule::Boolean,
            reload: true,
        }
        /// What becomes of line breaks inside a message.
        pub newlines: Newlines {
            default: Newlines::Keep,
            rule: one_of::<Newlines>(),
            reload: true,
        }
        /// How many connections may have one name in a room.
        pub logins: Logins {
            default: Logins::Many,
            rule: one_of::<Logins>(),
            reload: true,
            reached: "The earlier connection is closed with code 4001.",
        }
        /// Whether lines that wait for one connection are sent as one message.
        pub join_lines: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// The identities whose members receive messages.
        pub read: Option<Vec<String>> {
            default: None,
            shown: "everyone",
            rule: Rule::Identities,
            reload: true,
        }
        /// The identities whose members may send messages.
        pub write: Option<Vec<String>> {
            default: None,
            shown: "everyone",
            rule: Rule::Identities,
            reload: true,
            reached: "With the subprotocol of events an `error` is the answer; others are closed with code 1008.",
        }
        /// The identities whose members are told who is in the room.
        pub see_members: Option<Vec<String>> {
            default: None,
            shown: "everyone",
            rule: Rule::Identities,
            reload: true,
        }
    }
}

impl RoomOptions {
    /// Whether the path holds a member's name and the token that proves it.
    pub fn asks_for_tokens(&self) -> bool {
        self.name == NameKind::Token
    }
}

/// Where a member's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// The client's address.
    Address,
    /// The first text message that is not empty.
    First,
    /// The user of the identity that the client has proven.
    Identity,
    /// The segment `:name` of the path.
    Path,
    /// The query parameter `user`.
    #[default]
    Query,
    /// The segment `:name` of the path, proven by the segment `:token`.
    Token,
}

words! {
    NameKind:
    "address" = Address,
    "first" = First,
    "identity" = Identity,
    "path" = Path,
    "query" = Query,
    "token" = Token,
}

words! { Newlines: "keep" = Keep, "space" = Space }
words! { Logins: "many" = Many, "one" = One }
