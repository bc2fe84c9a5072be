//! One look-up, from the question to the verdict.

use std::sync::Arc;

use redis::RedisError;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::redis_connection::{CheckedConnection, Gone, RedisConnection};
use super::{RedisSettings, commands};
use crate::services::TokenVerdict;

/// What look-ups need.
#[derive(Debug)]
pub(super) struct Lookup {
    redis: RedisConnection,
    settings: RedisSettings,
}

impl Lookup {
    pub(super) fn new(redis: RedisConnection, settings: RedisSettings) -> Self {
        Self { redis, settings }
    }

    /// Whether `token` is the one of `name`, within `lookup_ms`.
    pub(super) async fn verdict(self: Arc<Self>, name: &str, token: &str) -> TokenVerdict {
        let mut asked_on = None;
        match timeout(self.settings.lookup(), self.is_right(name, token, &mut asked_on)).await {
            Ok(Ok(true)) => TokenVerdict::Right,
            Ok(Ok(false)) => TokenVerdict::Wrong,
            Ok(Err(Gone)) => TokenVerdict::Unavailable,
            Err(_) => {
                if let Some(number) = asked_on {
                    self.redis.failed(number, &self.settings.late());
                }
                TokenVerdict::Unavailable
            }
        }
    }

    async fn is_right(
        &self,
        name: &str,
        token: &str,
        asked_on: &mut Option<u64>,
    ) -> Result<bool, Gone> {
        let key = format!("{}{name}", self.settings.token_prefix);
        let (mut connection, stored) = self.stored(&key, asked_on).await?;
        // As long for every wrong token of the right length: how long it takes tells nothing.
        let is_equal = stored.is_some_and(|stored| stored.ct_eq(token.as_bytes()).into());
        if !is_equal || !self.settings.one_time {
            return Ok(is_equal);
        }
        // Not tried again: it may have been taken although no answer came.
        commands::take(&mut connection.redis, &key, token)
            .await
            .map_err(|error| self.fail(connection.number, &error))
    }

    /// The token kept at `key`, and the connection that told it.
    async fn stored(
        &self,
        key: &str,
        asked_on: &mut Option<u64>,
    ) -> Result<(CheckedConnection, Option<Vec<u8>>), Gone> {
        let mut lost = 0;
        loop {
            let mut connection = self.redis.connection(lost).await?;
            *asked_on = Some(connection.number);
            match commands::stored(&mut connection.redis, key).await {
                Ok(stored) => return Ok((connection, stored)),
                // Redis was started again, or closed what lay idle, which shows only now.
                Err(error) if lost == 0 && error.is_connection_dropped() => {
                    lost = connection.number;
                    self.redis.closed(lost);
                }
                Err(error) => return Err(self.fail(connection.number, &error)),
            }
        }
    }

    fn fail(&self, number: u64, error: &RedisError) -> Gone {
        self.redis.failed(number, error);
        Gone
    }
}
