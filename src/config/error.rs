//! What can be wrong with a configuration, always said in one line.

use std::io;

use toml::Value;

use super::{key_path, secret};

/// Why a configuration is refused. Displays as one line that names the file and its line (or the
/// command line), the key, its value and the rule; the process then exits with status 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}")]
    Read {
        /// The file as it was named.
        file: String,
        /// What the operating system said.
        reason: String,
    },
    /// A value breaks a rule.
    #[error("{}: {key}{}: {rule}", place(file, *line), assignment(value.as_deref()))]
    Refused {
        /// The file as it was named, or `command line`.
        file: String,
        /// The line of the value, or of the table where it should be, counted from 1; `None` where
        /// the file holds neither.
        line: Option<usize>,
        /// The key with its array positions, such as `route[1].path`.
        key: String,
        /// The value as it would be written in the file; `None` where the key is missing.
        value: Option<String>,
        /// The rule, as "must …".
        rule: String,
    },
    /// A key that has another name now.
    #[error("{}: {key}: renamed, write {new}", place(file, *line))]
    Renamed {
        /// The file as it was named.
        file: String,
        /// The line of the key, counted from 1.
        line: Option<usize>,
        /// The key with its array positions.
        key: String,
        /// What to write instead.
        new: &'static str,
    },
    /// The text is not TOML.
    #[error("{file}:{line}:{column}: {reason}")]
    Syntax {
        /// The file as it was named.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{}: {key}{}: unknown key{hint}", place(file, *line), assignment(value.as_deref()))]
    UnknownKey {
        /// The file as it was named.
        file: String,
        /// The line of the key, counted from 1.
        line: Option<usize>,
        /// The key with its array positions.
        key: String,
        /// The value as it was written; `None` for a whole table.
        value: Option<String>,
        /// What to write instead, as the end of the sentence.
        hint: String,
    },
}

impl ConfigError {
    pub(super) fn read(file: &str, error: &io::Error) -> Self {
        Self::Read { file: one_line(file), reason: one_line(&error.to_string()) }
    }

    pub(super) fn syntax(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let (line, column) = position(text, span.start);
        let message = error.message().trim();
        // Numbers beyond 64 bits are not a matter of syntax to the parser, and it says so oddly.
        let reason = if message.starts_with("invalid type: integer") {
            // Not shown: it may be a token without its quotes.
            "this number is beyond what any key accepts".to_owned()
        } else if message == "duplicate key" {
            format!("{message} {}", text.get(span).unwrap_or_default())
        } else {
            message.to_owned()
        };
        Self::Syntax { file: one_line(file), line, column, reason: one_line(&reason) }
    }
}

/// What is wrong, before it is known in which file.
#[derive(Debug)]
pub(crate) struct Refusal {
    key: String,
    value: Option<String>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
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
        let key = key.into();
        Self { value: Some(written(&key, value)), key, problem: Problem::Rule(rule.into()) }
    }

    /// `value`, which may be more than TOML can express, breaks `rule`.
    pub(super) fn number(key: impl Into<String>, value: u64, rule: impl Into<String>) -> Self {
        let value = Some(value.to_string());
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
        let value = (!is_table).then(|| written(&key, value));
        Self { key, value, problem: Problem::Unknown(hint) }
    }

    /// The key has another name now. Its value is not shown: it may have been a secret.
    pub(super) fn renamed(key: String, new: &'static str) -> Self {
        Self { key, value: None, problem: Problem::Renamed(new) }
    }

    /// The same, said of `file` with this text, or of what is no file.
    pub(crate) fn of(self, file: &str, text: Option<&str>) -> ConfigError {
        let Self { key, value, problem } = self;
        let line = text.and_then(|text| key_path::line_of(text, &key));
        let (file, key) = (one_line(file), one_line(&key));
        match problem {
            Problem::Rule(rule) => ConfigError::Refused { file, line, key, value, rule },
            Problem::Renamed(new) => ConfigError::Renamed { file, line, key, new },
            Problem::Unknown(hint) => ConfigError::UnknownKey { file, line, key, value, hint },
        }
    }
}

/// A file, with the line if it is known.
fn place(file: &str, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

fn assignment(value: Option<&str>) -> String {
    value.map(|value| format!(" = {value}")).unwrap_or_default()
}

/// A value as it would be written in the file, on one line, no longer than a reader needs, and
/// without secrets.
fn written(key: &str, value: &Value) -> String {
    let value = secret::shown(key, value);
    // TOML would write a string that holds line breaks over several lines.
    let text = if let Value::String(text) = &value {
        format!("\"{}\"", one_line(&text.replace('\\', "\\\\").replace('"', "\\\"")))
    } else {
        one_line(&value.to_string())
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The same text with its line breaks and other control characters escaped.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        // The separators U+2028 and U+2029 are not control characters, but viewers break at them.
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Line and column, counted from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

const VALUE_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("ab\ncd", 3), (2, 1));
        assert_eq!(position("ab\nöd", 5), (2, 2));
        assert_eq!(position("ab\n", 99), (2, 1));
    }

    #[test]
    fn values_stay_on_one_line_and_short() {
        assert_eq!(written("route.path", &Value::from("a\nb\u{2028}")), "\"a\\nb\\u{2028}\"");
        assert_eq!(written("route.path", &Value::from("a\\b\"c")), r#""a\\b\"c""#);
        let long = written("route.path", &Value::from("x".repeat(500)));
        assert_eq!(long.chars().count(), VALUE_CHARS_MAX + 1);
        let nested = written("route.path", &Value::from(vec!["a\nb", "c"]));
        assert!(!nested.contains('\n'), "{nested}");
    }

    #[test]
    fn an_error_is_one_line_even_if_its_parts_are_not() {
        let refusal = Refusal::new("a\nb", &Value::from("c\r\nd"), "must be better");
        assert_eq!(
            refusal.of("x\ny.toml", None).to_string(),
            "x\\ny.toml: a\\nb = \"c\\r\\nd\": must be better"
        );
    }
}
