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
        /// Without the answer that Redis owes, or for an attempt to connect.
        pub lookup_ms: u64 {
            default: 2000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection to Redis is replaced; requests that wait for it get 500.",
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

impl RedisOptions {
    /// The longest time of a look-up in milliseconds, with the wait for a connection: the client is to
    /// have its answer before its handshake is over.
    #[must_use]
    pub fn deadline_ms(&self, handshake_ms: u64) -> u64 {
        self.lookup_ms.max(handshake_ms - handshake_ms / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_ends_before_the_handshake() {
        let redis = |lookup_ms| RedisOptions { lookup_ms, ..RedisOptions::default() };
        assert_eq!(redis(2000).deadline_ms(5000), 4500);
        assert_eq!(redis(4999).deadline_ms(5000), 4999);
        assert_eq!(redis(10).deadline_ms(11), 10);
    }
}
