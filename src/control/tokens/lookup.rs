//! One token look-up.

use std::sync::Arc;

use tokio::time::timeout;

use super::checked_connection::{AskError, CheckedConnection};
use super::redis_connection::{RedisConnection, Unavailable};
use super::settings::RedisSettings;
use crate::services::TokenVerdict;
use crate::services::identity::is_same_secret;

/// What all look-ups share.
#[derive(Debug)]
pub(super) struct Lookup {
    redis: RedisConnection,
    settings: RedisSettings,
}

impl Lookup {
    pub(super) fn new(redis: RedisConnection, settings: RedisSettings) -> Self {
        Self { redis, settings }
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        self.redis.is_connected()
    }

    /// Checks whether `token` is the token of `name`. Takes at most `deadline_ms`.
    pub(super) async fn verdict(self: Arc<Self>, name: &str, token: &str) -> TokenVerdict {
        // The end of this time says nothing about the connection: part of it, or all, was spent
        // waiting for one.
        match timeout(self.settings.deadline(), self.is_right(name, token)).await {
            Ok(Ok(true)) => TokenVerdict::Right,
            Ok(Ok(false)) => TokenVerdict::Wrong,
            Ok(Err(Unavailable)) | Err(_) => TokenVerdict::Unavailable,
        }
    }

    async fn is_right(&self, name: &str, token: &str) -> Result<bool, Unavailable> {
        let key = format!("{}{name}", self.settings.token_prefix);
        let (connection, stored) = self.stored(&key).await?;
        let is_equal = stored.is_some_and(|stored| is_same_secret(&stored, token.as_bytes()));
        if !is_equal || !self.settings.one_time {
            return Ok(is_equal);
        }
        // No second attempt: without an answer the token may have been taken already.
        connection.take(&key, token).await.map_err(|error| self.fail(connection.number(), &error))
    }

    /// The token stored at `key`, and the connection on which it was read.
    async fn stored(&self, key: &str) -> Result<(CheckedConnection, Option<Vec<u8>>), Unavailable> {
        let mut lost = 0;
        loop {
            let connection = self.redis.connection(lost).await?;
            match connection.stored(key).await {
                Ok(stored) => return Ok((connection, stored)),
                // Redis was restarted, or it closed an idle connection. Either shows only on the
                // next use, so one retry on a new connection is harmless.
                Err(error) if lost == 0 && error.is_connection_dropped() => {
                    lost = connection.number();
                    self.redis.reports().closed(lost);
                }
                Err(error) => return Err(self.fail(connection.number(), &error)),
            }
        }
    }

    fn fail(&self, number: u64, error: &AskError) -> Unavailable {
        self.redis.reports().failed(number, error);
        Unavailable
    }
}
