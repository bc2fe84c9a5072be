//! The rules of login tokens and of the server that is asked for them.

use toml::Value;

use super::super::error::Refusal;
use super::super::secret::MASK;
use super::super::{Config, Redis, Token, TokenSource};
use super::{check_text, first_repeated};
use crate::control::RedisUrl;

/// Checks the tokens of the configuration.
pub(super) fn check_tokens(tokens: &[Token]) -> Result<(), Refusal> {
    for (index, Token { name, token }) in tokens.iter().enumerate() {
        check_text("token.name", &format!("token[{index}].name"), name)?;
        let key = format!("token[{index}].token");
        check_text("token.token", &key, token.expose())?;
        if token.expose() == MASK {
            return Err(Refusal::new(key, &Value::from(MASK), PRINTED));
        }
    }
    let names = tokens.iter().map(|token| token.name.as_str()).enumerate();
    match first_repeated(names) {
        Some((index, name)) => Err(Refusal::new(
            format!("token[{index}].name"),
            &Value::from(name),
            "must not be the name of two tokens",
        )),
        None => Ok(()),
    }
}

/// Checks where tokens are looked up.
pub(super) fn check_redis(config: &Config) -> Result<(), Refusal> {
    let Redis { url, token_prefix, lookup_ms, lookups_max: _, one_time: _ } = &config.redis;
    let url_value = Value::from(url.expose());
    if let Err(error) = RedisUrl::parse(url.expose()) {
        return Err(Refusal::new("redis.url", &url_value, error.to_string()));
    }
    if url.expose().contains(MASK) {
        return Err(Refusal::new("redis.url", &url_value, PRINTED));
    }
    check_text("redis.token_prefix", "redis.token_prefix", token_prefix)?;
    // A client whose handshake is over hears of no answer.
    let handshake_ms = config.timeouts.handshake_ms;
    let is_asked = config.routes.iter().any(|route| route.room.tokens == TokenSource::Redis);
    if is_asked && *lookup_ms >= handshake_ms {
        let rule = format!("must be below timeouts.handshake_ms ({handshake_ms})");
        return Err(Refusal::number("redis.lookup_ms", *lookup_ms, rule));
    }
    Ok(())
}

/// The numbers of `[redis]`, under their names.
pub(super) fn redis_numbers(redis: &Redis) -> [(&'static str, u64); 2] {
    let Redis { url: _, token_prefix: _, lookup_ms, lookups_max, one_time: _ } = redis;
    [("redis.lookup_ms", *lookup_ms), ("redis.lookups_max", super::wide(*lookups_max))]
}

const PRINTED: &str = "must not be what --check prints in its place";
