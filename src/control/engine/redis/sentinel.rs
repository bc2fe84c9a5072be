//! The master that Sentinels name.

use redis::Value;

use super::connection::Connection;
use super::failure::Failure;
use super::reply::address;
use crate::control::redis_url::{RedisLogin, RedisUrl};

/// Asks one Sentinel for the master with this name. It is the one of before for as long as the Sentinels have not
/// agreed, so what is found there has to be checked.
pub(super) async fn master(
    sentinel: &RedisUrl,
    name: &str,
    login: Option<&RedisLogin>,
) -> Result<RedisUrl, Failure> {
    let own = sentinel.login();
    // A Sentinel has no databases, and often not the users of its servers either.
    let to_sentinel = RedisLogin::new(own.user(), own.password(), 0);
    let mut connection = match Connection::open(sentinel, &to_sentinel).await {
        Err(Failure::Server(error)) if error.code() == "WRONGPASS" => {
            Connection::open(sentinel, &RedisLogin::new(None, None, 0)).await?
        }
        opened => opened?,
    };
    let question: [&[u8]; 3] = [b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()];
    let answer = connection.ask(&question).await?;
    if answer == Value::Nil {
        return Err(Failure::NoServer(format!("{sentinel} knows no master {name}")));
    }
    let (host, port) = address(answer)?;
    Ok(sentinel.at(&host, port, login.unwrap_or(&own)))
}
