//! How a room works: names, lines, and who hears them.

use serde::{Deserialize, Serialize};

use crate::services::room::{Logins, Newlines};

/// The keys that only a room takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomOptions {
    /// Where a member's name comes from. Default: the query parameter `user`.
    pub name: NameKind,
    /// The room of those who ask for none. Default `lobby`.
    pub room: String,
    /// How a message looks to clients without a subprotocol: a word or a template of
    /// [`LineFormat::parse`](crate::services::room::LineFormat::parse). Default `named`.
    pub line: String,
    /// Whether a sender receives its own messages. Default true.
    pub hears_itself: bool,
    /// What becomes of line breaks inside a message. Default: they stay.
    pub newlines: Newlines,
    /// How many connections may have one name in a room. Default: any number.
    pub logins: Logins,
    /// Whether lines that wait for one connection are sent as one message. Default false.
    pub join_lines: bool,
    /// Who knows the tokens, where `name` asks for them. Default: the configuration.
    pub tokens: TokenSource,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            name: NameKind::default(),
            room: "lobby".to_owned(),
            line: "named".to_owned(),
            hears_itself: true,
            newlines: Newlines::default(),
            logins: Logins::default(),
            join_lines: false,
            tokens: TokenSource::default(),
        }
    }
}

/// Where a member's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// Its address serves.
    Address,
    /// Its first text message that is not empty.
    First,
    /// The segment `:name` of the path.
    Path,
    /// The query parameter `user`.
    #[default]
    Query,
    /// The segment `:name` of the path, proven by the segment `:token`.
    Token,
}

impl NameKind {
    /// The word for it in a file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::First => "first",
            Self::Path => "path",
            Self::Query => "query",
            Self::Token => "token",
        }
    }
}

/// Who knows the tokens of a room's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The `[[token]]`s of the configuration.
    #[default]
    Config,
    /// The server of `[redis]`.
    Redis,
}
