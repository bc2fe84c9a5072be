//! Who may log in to a room that asks for tokens, and where else that is asked.

use serde::{Deserialize, Serialize};

use super::secret::{Secret, ServerUrl};

/// The login token of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is. Required.
    pub name: String,
    /// What has to be shown. Required.
    pub token: Secret,
}

/// The Redis server that knows the tokens of routes with `tokens = "redis"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redis {
    /// Where it is. Default `redis://127.0.0.1:6379`.
    pub url: ServerUrl,
    /// What stands before a name in the key of its token. Default `ChatroomToken`.
    pub token_prefix: String,
    /// How long a look-up may take. Default 2000.
    pub lookup_ms: u64,
    /// Look-ups under way at once. Default 1024.
    pub lookups_max: usize,
    /// Whether a token is deleted as soon as it has let somebody in. Default false.
    pub one_time: bool,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: ServerUrl::new("redis://127.0.0.1:6379"),
            token_prefix: "ChatroomToken".to_owned(),
            lookup_ms: 2000,
            lookups_max: 1024,
            one_time: false,
        }
    }
}
