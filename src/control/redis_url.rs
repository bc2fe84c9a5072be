//! The address of a Redis server, whose password never reaches a log.

use std::fmt;
use std::io;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};
use tokio::task::spawn_blocking;

use super::redis_stream::RedisStream;
use super::trust::Trust;

/// A Redis URL: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with `rediss` for TLS, or
/// `unix:///PATH[?db=DATABASE&user=USER&pass=PASSWORD]`. `Display` and `Debug` write only host and
/// port, or the path.
#[derive(Clone)]
pub struct RedisUrl {
    info: ConnectionInfo,
    /// Whether it asks for TLS.
    has_tls: bool,
    /// Whose certificates are taken; `None` for those that the system trusts.
    trust: Option<Trust>,
}

/// Why a text is not a Redis URL. The error does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// The text does not have the form of [`RedisUrl`].
    #[error("must be redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH")]
    Form,
    /// The URL asks for TLS without its use.
    #[error("must not end with #insecure: a server proves who it is")]
    Insecure,
}

impl RedisUrl {
    /// Parses a URL. It connects to nothing, resolves no name, and reads no file.
    ///
    /// # Errors
    /// [`RedisUrlError`] if the text is not a URL.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        // The crate's own TLS would take its cryptography from a variable of the process.
        let with_tls = [("rediss:", "redis:"), ("valkeys:", "valkey:")]
            .iter()
            .find_map(|(tls, plain)| Some(format!("{plain}{}", text.strip_prefix(tls)?)));
        if with_tls.is_some() && text.ends_with("#insecure") {
            return Err(RedisUrlError::Insecure);
        }
        let has_tls = with_tls.is_some();
        let info = with_tls.as_deref().unwrap_or(text).into_connection_info();
        let info = info.map_err(|_| RedisUrlError::Form)?;
        // Saves a round trip, and on servers before 7.2 an unknown command.
        let own_settings = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Self { info: info.set_redis_settings(own_settings), has_tls, trust: None })
    }

    /// The same, where only these authorities are trusted with the server's name.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust: Some(trust.without_http()), ..self }
    }

    /// The same, as this user, where one is named or has a password.
    #[must_use]
    pub fn with_user(self, user: Option<&str>, password: Option<&str>) -> Self {
        if user.is_none() && password.is_none() {
            return self;
        }
        let login = RedisLogin::new(user, password, self.login().database);
        Self { info: self.info.set_redis_settings(login.settings()), ..self }
    }

    /// The same for another server.
    pub(super) fn at(&self, host: &str, port: u16, login: &RedisLogin) -> Self {
        let info = self.info.clone().set_addr(ConnectionAddr::Tcp(host.to_owned(), port));
        Self { info: info.set_redis_settings(login.settings()), ..self.clone() }
    }

    /// The host; that of this machine for a socket of the file system.
    pub(super) fn host(&self) -> String {
        let address = self.info.addr();
        if let ConnectionAddr::Tcp(host, _) = address {
            host.clone()
        } else {
            "localhost".to_owned()
        }
    }

    /// Whom the server is told that the gateway is.
    pub(super) fn settings(&self) -> &RedisConnectionInfo {
        self.info.redis_settings()
    }

    /// Who the gateway is to this server.
    #[must_use]
    pub fn login(&self) -> RedisLogin {
        let own = self.settings();
        let text = |text: Option<&str>| text.map(Box::from);
        RedisLogin {
            user: text(own.username()),
            password: text(own.password()),
            database: own.db(),
        }
    }

    /// Connects, and says nothing yet.
    pub(super) async fn connect(&self) -> io::Result<RedisStream> {
        let address = self.info.addr();
        if let ConnectionAddr::Unix(path) = address {
            return RedisStream::unix(path).await;
        }
        let ConnectionAddr::Tcp(host, port) = address else {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        };
        if !self.has_tls {
            return RedisStream::tcp(host, *port).await;
        }
        let trust = match &self.trust {
            Some(trust) => trust.clone(),
            // Reads files.
            None => spawn_blocking(Trust::system).await?.map_err(io::Error::other)?.without_http(),
        };
        RedisStream::tls(host, *port, trust).await
    }
}

/// A user of Redis with a password. `Debug` shows only the user.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisLogin {
    user: Option<Box<str>>,
    password: Option<Box<str>>,
    database: i64,
}

impl RedisLogin {
    /// A user, if it is not the default one, a password, if there is one, and a database.
    #[must_use]
    pub fn new(user: Option<&str>, password: Option<&str>, database: i64) -> Self {
        Self { user: user.map(Box::from), password: password.map(Box::from), database }
    }

    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(user) = self.user() {
            settings = settings.set_username(user);
        }
        if let Some(password) = self.password() {
            settings = settings.set_password(password);
        }
        settings.set_skip_set_lib_name()
    }

    /// The user; `None` for the default one.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Its password.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The number of the database.
    pub(super) fn database(&self) -> i64 {
        self.database
    }
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisLogin({})", self.user().unwrap_or("default"))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.info.addr())
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
            ("redis://alice:secret@localhost", "localhost:6379"),
            ("unix:///run/redis.sock?user=alice&pass=secret", "/run/redis.sock"),
            ("rediss://alice:secret@localhost:7000", "localhost:7000"),
            ("valkeys://:secret@localhost", "localhost:6379"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
        }
    }

    #[test]
    fn a_user_may_be_named_beside_the_url() {
        let url = || RedisUrl::parse("redis://anna:old@localhost/3").unwrap();
        let login = url().with_user(Some("berta"), Some("new")).login();
        assert_eq!(login, RedisLogin::new(Some("berta"), Some("new"), 3));
        let login = url().with_user(None, Some("new")).login();
        assert_eq!(login, RedisLogin::new(None, Some("new"), 3));
        let login = url().with_user(None, None).login();
        assert_eq!(login, RedisLogin::new(Some("anna"), Some("old"), 3));
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
            "rediss://",
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert_eq!(error, RedisUrlError::Form, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
        let insecure = RedisUrl::parse("rediss://localhost#insecure").unwrap_err();
        assert_eq!(insecure, RedisUrlError::Insecure);
    }
}
