//! The address of a Redis server, whose password never reaches a log.

use std::fmt;

/// A Redis URL: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or
/// `unix:///PATH[?db=DATABASE&user=USER&pass=PASSWORD]`. `Display` and `Debug` write only host and
/// port, or the path.
#[derive(Clone)]
pub struct RedisUrl {
    client: redis::Client,
}

/// Why a text is not a Redis URL. The error does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// The text does not have the form of [`RedisUrl`].
    #[error("must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH")]
    Form,
    /// The URL asks for TLS.
    #[error("must not be rediss://: connections to Redis are made without TLS")]
    Tls,
}

impl RedisUrl {
    /// Parses a URL. It connects to nothing and resolves no name.
    ///
    /// # Errors
    /// [`RedisUrlError`] if the text is not a URL, or needs TLS.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        if ["rediss:", "valkeys:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(RedisUrlError::Tls);
        }
        let client = redis::Client::open(text).map_err(|_| RedisUrlError::Form)?;
        let info = client.get_connection_info().clone();
        // Saves a round trip, and on servers before 7.2 an unknown command.
        let own_settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = redis::Client::open(info.set_redis_settings(own_settings))
            .map_err(|_| RedisUrlError::Form)?;
        Ok(Self { client })
    }

    /// The client that connects to this server.
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
    fn display_and_debug_show_no_password() {
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
    fn an_error_does_not_repeat_the_text() {
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
