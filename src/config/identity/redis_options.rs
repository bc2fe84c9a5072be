//! A Redis server that holds a token for each name.

use crate::config::ServerUrl;
use crate::config::declare::keys;
use crate::config::rule::{Rule, integer};
use crate::config::timeouts::TIMEOUT;

keys! {
    /// A Redis server that holds a token for each name.
    "identity." pub struct RedisOptions {
        /// Where the server is; its password is never printed.
        pub url: ServerUrl {
            default: ServerUrl::new("redis://127.0.0.1:6379"),
            rule: Rule::RedisUrl,
            reload: true,
        }
        /// What stands before a name in the key of its token.
        pub token_prefix: String {
            default: "ChatroomToken".to_owned(),
            rule: Rule::Text { bytes_min: 0, bytes_max: 256 },
            reload: true,
        }
        /// For the answer to a look-up.
        pub lookup_ms: u64 {
            default: 2000,
            rule: TIMEOUT,
            reload: true,
            reached: "The request is refused with 500.",
        }
        /// Look-ups under way at once.
        pub lookups_max: usize {
            default: 1024,
            rule: integer(1, 65_536),
            reload: true,
            reached: "The request is refused with 503.",
        }
        /// Deletes a token as soon as it has let a client in.
        pub one_time: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
    }
}
