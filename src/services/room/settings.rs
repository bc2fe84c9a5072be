//! What a room route is told: where names come from, how lines look, who hears them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LineFormat;
use crate::services::{Order, TokenLookup};

/// How the rooms of one route work.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// Where a connection's name comes from.
    pub name: NameSource,
    /// The room of those who ask for none with `?room=` or in their path.
    pub default_room: String,
    /// Which segment of the request's path, counted from 0, names a room. A path that has it takes
    /// no `?room=`.
    pub room_segment: Option<usize>,
    /// How a message looks to clients without a subprotocol.
    pub line: LineFormat,
    /// Whether a sender receives its own messages.
    pub hears_itself: bool,
    /// What becomes of line breaks inside a message.
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
    /// It has none: its address serves.
    Address,
    /// Its first text message that is not empty.
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
        /// Who knows the tokens.
        tokens: Tokens,
    },
}

/// Who knows the tokens of names.
#[derive(Clone)]
pub enum Tokens {
    /// The configuration: a token by name.
    Configured(Arc<HashMap<String, String>>),
    /// Somebody who must be asked.
    Looked(Arc<dyn TokenLookup>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            // The tokens themselves must not get into a log.
            Self::Configured(_) => "Configured",
            Self::Looked(_) => "Looked",
        })
    }
}

/// What becomes of line breaks inside a message.
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
        }
    }
}
