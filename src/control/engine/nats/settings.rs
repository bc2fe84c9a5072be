//! How NATS is reached, and what is kept there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use async_nats::ServerAddr;
use thiserror::Error;

use crate::channels::remote::Retention;

/// What the adapter is told.
#[derive(Clone, Debug)]
pub struct NatsEngineSettings {
    /// Servers of one cluster. They are tried in this order.
    pub servers: Vec<NatsUrl>,
    /// Who the gateway is.
    pub login: NatsLogin,
    /// Authorities, as PEM, that servers with `tls://` must have their certificates from. `None` for those of
    /// the system.
    pub ca_file: Option<PathBuf>,
    /// What the subjects and the streams of these gateways begin with.
    pub prefix: SubjectPrefix,
    /// Of this gateway among all with this prefix.
    pub node: u64,
    /// Servers that keep each stream.
    pub replicas: u8,
    /// Where streams are kept.
    pub storage: NatsStorage,
    /// Streams that each namespace is spread over, 1 to [`PARTITIONS_MAX`].
    pub partitions: u16,
    /// How long an answer may take. A server that takes longer is not reached.
    pub request_timeout: Duration,
    /// Channels that have a subscription of their own. The others share one for each of 256 parts of their
    /// namespace, of which everything is heard.
    pub own_subscriptions_max: usize,
    /// The namespaces of which something is kept.
    pub namespaces: BTreeMap<String, Retention>,
}

impl NatsEngineSettings {
    /// Settings with which nothing is kept.
    #[must_use]
    pub fn new(servers: Vec<NatsUrl>, node: u64) -> Self {
        Self {
            servers,
            login: NatsLogin::None,
            ca_file: None,
            prefix: SubjectPrefix::default(),
            node,
            replicas: 1,
            storage: NatsStorage::File,
            partitions: 1,
            request_timeout: Duration::from_secs(5),
            own_subscriptions_max: 256,
            namespaces: BTreeMap::new(),
        }
    }
}

/// The URL of a server: `nats://HOST[:PORT]`, or `tls://HOST[:PORT]`. It has no user: see [`NatsLogin`].
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl {
    address: ServerAddr,
}

/// Why a text is not the URL of a NATS server. The error does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NatsUrlError {
    /// The text does not have the form of [`NatsUrl`].
    #[error("must be nats://HOST[:PORT] or tls://HOST[:PORT]")]
    Form,
    /// The URL has a user.
    #[error("must be without a user: the login has keys of its own")]
    User,
}

impl NatsUrl {
    /// Parses a URL. It connects to nothing and resolves no name.
    ///
    /// # Errors
    /// [`NatsUrlError`] if the text is none.
    pub fn parse(text: &str) -> Result<Self, NatsUrlError> {
        let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
        let rest = rest.ok_or(NatsUrlError::Form)?;
        if rest.contains('@') {
            return Err(NatsUrlError::User);
        }
        if rest.is_empty() || rest.contains(['/', '?', '#']) {
            return Err(NatsUrlError::Form);
        }
        let address = ServerAddr::from_str(text).map_err(|_| NatsUrlError::Form)?;
        Ok(Self { address })
    }

    pub(super) fn address(&self) -> ServerAddr {
        self.address.clone()
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.address.host(), self.address.port())
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NatsUrl({self})")
    }
}

/// Who the gateway is for the server. `Debug` shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// It is not asked.
    #[default]
    None,
    /// Who has this token.
    Token(String),
    /// A user.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// The user of a file with a JWT and a seed, as `nsc` writes it. It is read again for each connection.
    CredentialsFile(PathBuf),
}

impl fmt::Debug for NatsLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Token(_) => formatter.write_str("Token(…)"),
            Self::Password { user, .. } => write!(formatter, "Password({user:?}, …)"),
            Self::CredentialsFile(path) => write!(formatter, "CredentialsFile({path:?})"),
        }
    }
}

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatsStorage {
    /// In files: it outlives the server.
    #[default]
    File,
    /// In memory: it outlives a server only if others have it too.
    Memory,
}

/// What subjects and streams begin with: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPrefix(Box<str>);

/// A text cannot be a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must have 1 to {PREFIX_BYTES_MAX} letters, digits, \"-\" and \"_\"")]
pub struct InvalidPrefix;

impl SubjectPrefix {
    /// The prefix with this text.
    ///
    /// # Errors
    /// [`InvalidPrefix`] if it has other characters, or is empty or too long.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_valid);
        if fits { Ok(Self(text.into())) } else { Err(InvalidPrefix) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SubjectPrefix {
    fn default() -> Self {
        Self("tg".into())
    }
}

/// Streams of one namespace.
pub const PARTITIONS_MAX: u16 = 256;
/// Bytes of a prefix.
pub const PREFIX_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_as_host_and_port_and_have_no_user() {
        for (text, shown) in [
            ("nats://192.0.2.1", Ok("192.0.2.1:4222")),
            ("tls://nats.example:7000", Ok("nats.example:7000")),
            ("nats://alice:secret@localhost", Err(NatsUrlError::User)),
            ("nats.example", Err(NatsUrlError::Form)),
            ("nats://", Err(NatsUrlError::Form)),
            ("nats://a/b", Err(NatsUrlError::Form)),
            ("ws://localhost", Err(NatsUrlError::Form)),
        ] {
            let url = NatsUrl::parse(text);
            assert_eq!(url.map(|url| url.to_string()), shown.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let password = NatsLogin::Password { user: "alice".into(), password: "hidden".into() };
        let mut settings = NatsEngineSettings::new(Vec::new(), 1);
        for login in [password, NatsLogin::Token("hidden".into())] {
            settings.login = login;
            assert!(!format!("{settings:?}").contains("hidden"));
        }
    }

    #[test]
    fn a_prefix_is_one_token() {
        let is_valid = |text: &str| SubjectPrefix::parse(text).is_ok();
        assert!(is_valid("tg") && is_valid("A-1_b") && is_valid(&"a".repeat(64)));
        for text in ["", "a.b", "a b", "*", ">", "ä", &"a".repeat(65)] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
