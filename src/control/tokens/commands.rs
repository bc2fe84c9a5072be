//! The Redis commands about tokens.

use redis::RedisError;
use redis::aio::MultiplexedConnection;

/// The token stored at a key; `None` if there is no such key, or its value is not a string.
pub(super) async fn stored(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<Option<Vec<u8>>, RedisError> {
    match redis::cmd("GET").arg(key).query_async(connection).await {
        // The client chooses the name and so the key, which may belong to another application.
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        result => result,
    }
}

/// Deletes the key if its value is `token`; returns whether it did. Of several concurrent calls
/// only one succeeds, because Redis runs a script atomically.
pub(super) async fn take(
    connection: &mut MultiplexedConnection,
    key: &str,
    token: &str,
) -> Result<bool, RedisError> {
    redis::cmd("EVAL").arg(TAKE).arg(1).arg(key).arg(token).query_async(connection).await
}

/// `pcall` returns an error for a value that is not a string, and an error is not equal to the
/// token.
const TAKE: &str = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then \
     return redis.call('DEL', KEYS[1]) end return 0";
/// A text that is never stored as a token.
pub(super) const NO_TOKEN: &str = "\0";
