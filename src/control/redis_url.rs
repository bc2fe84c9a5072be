//! Where a Redis is, with a password that no log ever sees.

use std::fmt;

/// An URL of a Redis: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or
/// `unix:///PATH[?db=DATABASE&user=USER&pass=PASSWORD]`. When it is shown, only host and port or
/// the path are.
#[derive(Clone)]
pub struct RedisUrl {
    client: redis::Client,
}

/// Why a text is no URL of a Redis. The text is not part of it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// It is not of the form of [`RedisUrl`].
    #[error("must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH")]
    Form,
    /// It asks for TLS.
    #[error("must not be rediss://: connections to Redis are made without TLS")]
    Tls,
}

impl RedisUrl {
    /// Understands an URL. Nothing is connected or resolved.
    ///
    /// # Errors
    /// [`RedisUrlError`] if it is none, or needs TLS.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        if ["rediss:", "valkeys:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(RedisUrlError::Tls);
        }
        let client = redis::Client::open(text).map_err(|_| RedisUrlError::Form)?;
        let info = client.get_connection_info().clone();
        // Saves a round trip, and older servers an unknown command.
        let own_settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = redis::Client::open(info.set_redis_settings(own_settings))
            .map_err(|_| RedisUrlError::Form)?;
        Ok(Self { client })
    }

    /// The client that connects to it.
    pub(super) fn client(&self) -> &redis::Client {
        &self.client
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.client.get_connection_info().addr())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_is_shown() {
        for (text, shown) in [
            ("redis://192.0.2.1", "192.0.2.1:6379"),
            ("redis://:secret@localhost:7000/3", "localhost:7000"),
            ("redis://somebody:secret@localhost", "localhost:6379"),
            ("unix:///run/redis.sock?user=somebody&pass=secret", "/run/redis.sock"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in [
            "",
            "localhost:6379",
            "http://:secret@localhost",
            "redis://:secret@",
            "redis://:secret@localhost/three",
            "redis://:secret@localhost/?protocol=secret",
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert_eq!(error, RedisUrlError::Form, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(RedisUrl::parse("rediss://localhost").unwrap_err(), RedisUrlError::Tls);
    }
}
