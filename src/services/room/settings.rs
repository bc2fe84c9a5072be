//! The settings of a room route: where names come from, how lines look, who receives them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::LineFormat;
use crate::services::{Order, TokenLookup};

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
    /// A segment of the path, together with a token that proves it.
    Token {
        /// Which segment is the name.
        name_segment: usize,
        /// Which segment is the token.
        token_segment: usize,
        /// Where the tokens are.
        tokens: Tokens,
    },
}

/// Where the tokens of names are.
#[derive(Clone)]
pub enum Tokens {
    /// In the configuration: a token by name.
    Configured(Arc<HashMap<String, String>>),
    /// In a store that answers later.
    Looked(Arc<dyn TokenLookup>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            // Tokens are secrets and must not reach a log.
            Self::Configured(_) => "Configured",
            Self::Looked(_) => "Looked",
        })
    }
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

/// Whether `given` is the configured token of `name`.
pub(super) fn is_token_right(tokens: &HashMap<String, String>, name: &str, given: &str) -> bool {
    // An unknown name costs a comparison as well, so that it does not answer faster than a known one.
    let own = tokens.get(name);
    let expected = own.map_or(given, String::as_str);
    is_same_secret(expected.as_bytes(), given.as_bytes()) && own.is_some()
}

/// Whether two secrets are equal. Their digests are compared, in constant time: the duration reveals
/// neither how many bytes match nor whether the lengths do, which a comparison of slices of different
/// length answers at once.
#[must_use]
pub(crate) fn is_same_secret(expected: &[u8], given: &[u8]) -> bool {
    bool::from(Sha256::digest(expected).as_slice().ct_eq(Sha256::digest(given).as_slice()))
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_any_length_are_compared() {
        assert!(is_same_secret(b"", b"") && is_same_secret(&[0xff; 100], &[0xff; 100]));
        for (expected, given) in
            [(&b"abc"[..], &b"abd"[..]), (b"abc", b"ab"), (b"", b"a"), (b"a", b"a\0")]
        {
            assert!(!is_same_secret(expected, given) && !is_same_secret(given, expected));
        }
    }

    #[test]
    fn only_the_whole_token_of_the_name_is_right() {
        let tokens = HashMap::from([("bob".to_owned(), "s3cret".to_owned())]);
        assert!(is_token_right(&tokens, "bob", "s3cret"));
        for (name, given) in [("bob", "s3cre"), ("bob", ""), ("bob", "S3cret"), ("Bob", "s3cret")] {
            assert!(!is_token_right(&tokens, name, given), "{name} {given}");
        }
    }
}
