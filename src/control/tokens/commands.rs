//! What is asked of Redis about tokens.

use redis::RedisError;
use redis::aio::MultiplexedConnection;

/// The token kept at a key; none if there is no such key, or something else than a text is there.
pub(super) async fn stored(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<Option<Vec<u8>>, RedisError> {
    match redis::cmd("GET").arg(key).query_async(connection).await {
        // Whoever logs in chooses the name, and so the key: it may be one of another application.
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        result => result,
    }
}

/// Deletes the key if `token` is what it holds; whether it did. Of several at the same time, one
/// does.
pub(super) async fn take(
    connection: &mut MultiplexedConnection,
    key: &str,
    token: &str,
) -> Result<bool, RedisError> {
    redis::cmd("EVAL").arg(TAKE).arg(1).arg(key).arg(token).query_async(connection).await
}

/// Whether a connection will do: it answers, and allows what is going to be asked. `key` is one
/// that no name has.
pub(super) async fn check(
    connection: &mut MultiplexedConnection,
    key: &str,
    is_taking: bool,
) -> Result<(), RedisError> {
    stored(connection, key).await?;
    if is_taking {
        take(connection, key, NO_TOKEN).await?;
    }
    Ok(())
}

/// `pcall` makes something else than a text one more thing that the token is not equal to.
const TAKE: &str = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then \
     return redis.call('DEL', KEYS[1]) end return 0";
/// A text that nobody would keep as a token.
const NO_TOKEN: &str = "\0";
