//! Text that is not for the eyes of whoever reads a log, a terminal or a bug report.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use toml::Value;

use super::keys;

/// What is shown in place of a secret. No secret may be this: a printed configuration that is
/// used as a file would let in whoever guesses it.
pub(super) const MASK: &str = "***";

/// A text that is never shown. Displays, debugs and serialises as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// The URL of a server, perhaps with a password. Displays, debugs and serialises with `***` in
/// place of the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Keeps the password of `url` from being shown.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_password(&self.0), f)
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&without_password(&self.0))
    }
}

/// `value` as a message may show it; `key` may have array positions, as in `route[1].path`. Where a
/// secret is expected, a misspelt key and a value of the wrong type may be the secret too.
pub(super) fn shown(key: &str, value: &Value) -> Value {
    let name = without_positions(key);
    let is_known = keys::find(&name).is_some();
    let is_secret = match name.split('.').next() {
        Some("token") => name != "token.name",
        Some("redis") => !is_known || (name == "redis.url" && !may_be_shown(value)),
        _ => !is_known && SECRET_WORDS.iter().any(|word| name.contains(word)),
    };
    match value.as_str() {
        _ if is_secret => Value::from(MASK),
        Some(text) => Value::from(without_password(text)),
        None => value.clone(),
    }
}

fn without_positions(key: &str) -> String {
    let pieces = key.split(']').map(|piece| piece.split('[').next().unwrap_or_default());
    pieces.collect()
}

/// Whether this is a URL in which a password would be found, or something without one.
fn may_be_shown(url: &Value) -> bool {
    url.as_str().is_some_and(|text| !text.contains('@') || text.contains("://"))
}

/// `text` with [`MASK`] for the password and for the query, if it is a URL that has them.
///
/// The password may hold what should have been escaped: everything from the first colon after the
/// scheme to the last `@` is hidden.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (user, server) = match rest.rsplit_once('@') {
        Some((login, server)) => match login.split_once(':') {
            Some((user, _)) => (format!("{user}:{MASK}@"), server),
            None => (format!("{login}@"), server),
        },
        None => (String::new(), rest),
    };
    match server.split_once('?') {
        Some((server, _)) => format!("{scheme}://{user}{server}?{MASK}"),
        None => format!("{scheme}://{user}{server}"),
    }
}

/// What is part of the name of a key that was meant for a secret.
const SECRET_WORDS: &[&str] = &["pass", "secret", "token"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_in_any_url() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:pw@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
            ("redis://user:p/w@x:y@host", "redis://user:***@host"),
            ("rediss://user@host", "rediss://user@host"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("unix:///run/redis.sock?pass=pw", "unix:///run/redis.sock?***"),
            ("pw", "pw"),
        ] {
            assert_eq!(without_password(url), shown);
            assert_eq!(ServerUrl::new(url).to_string(), shown);
            assert_eq!(format!("{:?}", ServerUrl::new(url)), format!("\"{shown}\""));
        }
    }

    #[test]
    fn values_are_shown_unless_they_may_be_secrets() {
        for (key, is_shown) in [
            ("token[0].name", true),
            ("token[0].token", false),
            ("token[0].tokne", false),
            ("token", false),
            ("redis.token_prefix", true),
            ("redis.password", false),
            ("redis", false),
            ("route[1].path", true),
            ("route[1].tokens", true),
            ("route[1].token", false),
            ("secret", false),
            ("a]b[c]", true),
        ] {
            let value = Value::from("text");
            let expected = if is_shown { &value } else { &Value::from(MASK) };
            assert_eq!(&shown(key, &value), expected, "{key}");
        }
        assert_eq!(shown("redis.url", &Value::from(":pw@host")), Value::from(MASK));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("pw");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "pw");
    }
}
