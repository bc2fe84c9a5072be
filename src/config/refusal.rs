//! What is wrong with a configuration, before it is known in which file.

use std::fmt;

use toml::Value;

/// Why a key is refused. [`ConfigError`](super::ConfigError) says it of a file, or of the command
/// line.
pub(crate) struct Refusal {
    /// With its array positions, such as `route[1].path`.
    pub(super) key: String,
    /// `None` where the key is missing, and where the message does not show the value.
    pub(super) value: Option<Refused>,
    pub(super) problem: Problem,
}

/// A value that is refused, as it was given.
pub(super) enum Refused {
    /// A number, which may be more than TOML can express.
    Number(u64),
    /// It may be a secret, so it goes into messages only through [`shown`](super::mask::shown).
    Toml(Value),
}

/// What is wrong with a key.
#[derive(Debug)]
pub(super) enum Problem {
    /// The value breaks this rule.
    Rule(String),
    /// The key has another name now.
    Renamed(&'static str),
    /// The key does not exist; with what to write instead.
    Unknown(String),
}

impl Refusal {
    /// `value` breaks `rule`.
    pub(crate) fn new(key: impl Into<String>, value: &Value, rule: impl Into<String>) -> Self {
        let value = Some(Refused::Toml(value.clone()));
        Self { key: key.into(), value, problem: Problem::Rule(rule.into()) }
    }

    /// `value`, which may be more than TOML can express, breaks `rule`.
    pub(super) fn number(key: impl Into<String>, value: u64, rule: impl Into<String>) -> Self {
        let value = Some(Refused::Number(value));
        Self { key: key.into(), value, problem: Problem::Rule(rule.into()) }
    }

    /// The key should be there and is not.
    pub(super) fn missing(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, problem: Problem::Rule(rule.into()) }
    }

    /// The key does not exist; `hint` says what to write instead, as the end of the sentence.
    pub(super) fn unknown(key: String, value: &Value, hint: String) -> Self {
        let is_table = match value.as_array() {
            Some(items) => items.iter().any(Value::is_table),
            None => value.is_table(),
        };
        let value = (!is_table).then(|| Refused::Toml(value.clone()));
        Self { key, value, problem: Problem::Unknown(hint) }
    }

    /// The key has another name now. Its value is not shown: it may have been a secret.
    pub(super) fn renamed(key: String, new: &'static str) -> Self {
        Self { key, value: None, problem: Problem::Renamed(new) }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the value, which may be a secret.
        let Self { key, value: _, problem } = self;
        f.debug_struct("Refusal")
            .field("key", key)
            .field("problem", problem)
            .finish_non_exhaustive()
    }
}
