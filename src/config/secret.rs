//! Secrets: text that no log, terminal or bug report shows, and the three ways to give it.

use std::fmt;

use toml::Value;

use super::rule::Rule;
use super::setting::{Broken, Hidden, Setting};
use super::surroundings::Surroundings;

/// What is shown in place of a secret. No secret may be this: a printed configuration that is
/// used as a file would accept it from any client that guesses it.
pub(super) const MASK: &str = "***";

/// A text that is never shown, and where it came from. Displays and debugs as `***`; a file holds
/// the name of its source, or `***` where it held the text itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    source: Source,
}

/// How a file gives a secret.
#[derive(Clone, PartialEq, Eq)]
enum Source {
    /// By itself.
    Text,
    /// By the path of a file that holds it, under the key with `_file`.
    File(String),
    /// By the name of an environment variable, as `"${NAME}"`.
    Variable(String),
}

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: Source::Text }
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.text
    }

    fn read_text(text: &str, around: &Surroundings) -> Result<Self, Broken> {
        let Some(name) = variable(text) else {
            if text.split("${").skip(1).any(|rest| rest.contains('}')) {
                return Err(Broken::rule(WHOLE_VARIABLE));
            }
            return Ok(Self::new(text));
        };
        match around.variable(name) {
            Some(value) => Ok(Self { text: value, source: Source::Variable(name.to_owned()) }),
            None => Err(Broken::rule("must name an environment variable that is set")),
        }
    }

    fn check_text(&self, rule: Rule) -> Result<(), Broken> {
        rule.check_text(&self.text).map_err(Broken::rule)
    }
}

impl Setting for Secret {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        Self::read_text(value.as_str().ok_or_else(Broken::default)?, around)
    }

    fn read_file(path: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let path = path.as_str().ok_or_else(|| Broken::rule(FILE))?;
        match around.read(path) {
            Ok(text) => Ok(Self { text, source: Source::File(path.to_owned()) }),
            Err(error) => Err(Broken::rule(format!("{FILE}: {error}"))),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(match &self.source {
            Source::Text => MASK.to_owned(),
            Source::File(path) => path.clone(),
            Source::Variable(name) => format!("${{{name}}}"),
        }))
    }

    fn file(&self) -> Option<String> {
        match &self.source {
            Source::File(path) => Some(path.clone()),
            Source::Text | Source::Variable(_) => None,
        }
    }

    fn hidden(&self) -> Option<Hidden> {
        Some(Hidden::of(std::iter::once(self.text.as_str())))
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        if self.text == MASK {
            return Err(Broken::rule(PRINTED));
        }
        self.check_text(rule)
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        crate::config::arbitrary::secret()
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

/// Secrets of which any is accepted, the newest first, so that a new one can be introduced before
/// the old one is withdrawn. A file holds one or a list; a file named by the key with `_file` holds
/// one on each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    secrets: Vec<Secret>,
    file: Option<String>,
}

impl Secrets {
    /// Keeps these texts from being shown; there must be one at least.
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        Self { secrets: texts.into_iter().map(Secret::new).collect(), file: None }
    }

    /// Each secret.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter()
    }
}

impl Setting for Secrets {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let Some(items) = value.as_array() else {
            return Ok(Self { secrets: vec![Secret::read(value, around)?], file: None });
        };
        let read =
            |(position, item)| Secret::read(item, around).map_err(|broken| broken.at(position));
        let secrets = items.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { secrets, file: None })
    }

    fn read_file(path: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let whole = Secret::read_file(path, around)?;
        let secrets = whole.text.lines().map(Secret::new).collect();
        Ok(Self { secrets, file: whole.file() })
    }

    fn write(&self) -> Option<Value> {
        let written: Vec<Value> = self.secrets.iter().filter_map(Setting::write).collect();
        Some(match <[Value; 1]>::try_from(written) {
            Ok([one]) => one,
            Err(several) => Value::Array(several),
        })
    }

    fn file(&self) -> Option<String> {
        self.file.clone()
    }

    fn hidden(&self) -> Option<Hidden> {
        Some(Hidden::of(self.secrets.iter().map(Secret::expose)))
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        if self.secrets.is_empty() {
            return Err(Broken::rule("must hold at least one secret"));
        }
        let is_list = self.secrets.len() > 1 && self.file.is_none();
        for (position, secret) in self.secrets.iter().enumerate() {
            let checked = secret.check(rule);
            checked.map_err(|broken| if is_list { broken.at(position) } else { broken })?;
        }
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        proptest::collection::vec(Secret::arbitrary(rule), 1..3)
            .prop_map(|secrets| {
                let secrets = secrets.into_iter().filter(|own| own.file().is_none()).collect();
                Self { secrets, file: None }
            })
            .prop_filter("one at least", |own| !own.secrets.is_empty())
            .boxed()
    }
}

/// The URL of a server, perhaps with a password. Displays and debugs with `***` in place of the
/// password; a file holds the same, or the name of its source.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(Secret);

impl ServerUrl {
    /// Keeps the password of `url` from being shown.
    pub fn new(url: impl Into<String>) -> Self {
        Self(Secret::new(url))
    }

    /// The URL with its password.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Setting for ServerUrl {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        Secret::read(value, around).map(Self)
    }

    fn read_file(path: &Value, around: &Surroundings) -> Result<Self, Broken> {
        Secret::read_file(path, around).map(Self)
    }

    fn write(&self) -> Option<Value> {
        match self.0.source {
            Source::Text => Some(Value::from(without_password(&self.0.text))),
            Source::File(_) | Source::Variable(_) => self.0.write(),
        }
    }

    fn file(&self) -> Option<String> {
        self.0.file()
    }

    fn hidden(&self) -> Option<Hidden> {
        self.0.hidden()
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        self.0.check_text(rule)?;
        if self.0.text.contains(MASK) {
            return Err(Broken::rule(PRINTED));
        }
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        crate::config::arbitrary::server_url(rule)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0.text))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_password(&self.0.text), f)
    }
}

/// The name of the environment variable that stands in `text` as `${NAME}`, with nothing else.
pub(super) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let is_name = !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(name)
}

/// `text` with [`MASK`] for the password and for the query, if it is a URL that has them.
///
/// The password may hold what should have been escaped: everything from the first colon after the
/// scheme to the last `@` is hidden.
pub(super) fn without_password(text: &str) -> String {
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

const FILE: &str = "must be the path of a file that can be read";
const PRINTED: &str = "must not be what --check prints in its place";
const WHOLE_VARIABLE: &str = "must be \"${NAME}\" and nothing else where it names an environment \
                              variable";

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
    fn a_secret_is_not_shown() {
        let secret = Secret::new("pw");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "pw");
    }

    #[test]
    fn secrets_may_be_one_or_a_list_or_the_lines_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "new\r\nold\n").unwrap();
        let path = Value::from(file.path().to_str().unwrap());
        let around = Surroundings::new("", |name| Some(format!("value of {name}")));
        let rule = Rule::Secret { bytes_min: 1, bytes_max: 256 };
        let exposed = |secrets: &Secrets| -> Vec<String> {
            secrets.iter().map(|secret| secret.expose().to_owned()).collect()
        };

        let one = Secrets::read(&Value::from("new"), &around).unwrap();
        assert_eq!(exposed(&one), ["new"]);
        assert_eq!(one.write(), Some(Value::from(MASK)));
        let list = Secrets::read(&Value::from(vec!["${NEW}", "old"]), &around).unwrap();
        assert_eq!(exposed(&list), ["value of NEW", "old"]);
        assert_eq!(list.write(), Some(Value::from(vec!["${NEW}", MASK])));
        assert_eq!(format!("{list:?}").matches("old").count(), 0);
        let lines = Secrets::read_file(&path, &around).unwrap();
        assert_eq!(exposed(&lines), ["new", "old"]);
        assert_eq!(lines.file().as_deref(), path.as_str());
        for secrets in [&one, &list, &lines] {
            assert_eq!(secrets.check(rule), Ok(()));
        }

        let none = Secrets::read(&Value::from(Vec::<String>::new()), &around).unwrap();
        assert_eq!(none.check(rule), Err(Broken::rule("must hold at least one secret")));
        let printed = Secrets::read(&Value::from(vec!["new", MASK]), &around).unwrap();
        assert_eq!(printed.check(rule), Err(Broken::rule(PRINTED).at(1)));
        std::fs::write(file.path(), "new\n\nold\n").unwrap();
        let blank = Secrets::read_file(&path, &around).unwrap();
        assert_eq!(blank.check(rule), Err(Broken::rule(rule.to_string())));
    }
}
