//! What can be wrong with a configuration, as messages of one line.

use std::io;

use toml::Value;

use super::key_path::{line_of, position};
use super::mask::shown;
use super::refusal::{Problem, Refusal, Refused};
use crate::display::debug_as_display;

/// Why a configuration is refused. Displays as one line that names the file and its line (or the
/// command line), the key, its value and the rule; the process then exits with status 2.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}")]
    Read {
        /// The file as it was named.
        file: String,
        /// The error of the operating system.
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
        /// The message of the parser.
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

debug_as_display!(ConfigError);

impl ConfigError {
    pub(super) fn read(file: &str, error: &io::Error) -> Self {
        Self::Read { file: one_line(file), reason: one_line(&error.to_string()) }
    }

    pub(super) fn syntax(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let (line, column) = position(text, span.start);
        let message = error.message().trim();
        // For a number beyond 64 bits the parser reports a wrong type, which would mislead.
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

impl Refusal {
    /// The error that names `file`, whose text gives the line. Without a text, `file` names another
    /// source, such as the command line.
    pub(crate) fn of(self, file: &str, text: Option<&str>) -> ConfigError {
        let Self { key, value, problem } = self;
        let line = text.and_then(|text| line_of(text, &key));
        let value = value.map(|value| match value {
            Refused::Number(number) => number.to_string(),
            Refused::Toml(value) => written(&key, &value),
        });
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
    let value = shown(key, value);
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

const VALUE_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

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
