//! Settings of token look-ups.

use std::time::Duration;

use crate::control::redis_url::RedisUrl;

/// How tokens are looked up.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// The prefix of the name in a key.
    pub token_prefix: String,
    /// How long a connection may be without an answer that it owes, in milliseconds, before it is
    /// replaced; and how long an attempt to connect may take.
    pub lookup_ms: u64,
    /// The longest time of a look-up in milliseconds, all waiting included. It should end before the
    /// handshake does, whose client gets no answer afterwards.
    pub deadline_ms: u64,
    /// The most look-ups that may wait or be under way.
    pub lookups_max: usize,
    /// Whether a right token is deleted, so that it admits only one login.
    pub one_time: bool,
}

impl RedisSettings {
    /// The default settings for this server.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            token_prefix: "ChatroomToken".to_owned(),
            lookup_ms: 2000,
            deadline_ms: 4500,
            lookups_max: 1024,
            one_time: false,
        }
    }

    pub(super) fn lookup(&self) -> Duration {
        Duration::from_millis(self.lookup_ms)
    }

    pub(super) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
