//! What the value of a key must be, and how that is said.

use std::fmt;

use crate::control::RedisUrlError;

#[cfg(doc)]
use crate::services::room::LineFormat;
use crate::services::room::{InvalidLineFormat, NAME_BYTES_MAX};

/// What the value of a key must be. Displays as the rule of an error message ("must be …").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An IP address and a port.
    Address,
    /// `true` or `false`.
    Boolean,
    /// A whole number from `min` to `max`, both included.
    Integer {
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// A word or template of [`LineFormat::parse`].
    Line,
    /// The name of a person or a room.
    Name,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `"*"` or a list of origins.
    Origins,
    /// The path of a request.
    Path,
    /// A list of paths.
    Paths,
    /// Where a Redis is.
    RedisUrl,
    /// Text without control characters.
    Text {
        /// The fewest bytes that are accepted.
        bytes_min: usize,
        /// The most bytes that are accepted.
        bytes_max: usize,
    },
    /// A list of RFC 9110 tokens, each once.
    Tokens,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => {
                f.write_str("must be an IP address and port such as \"127.0.0.1:8080\"")
            }
            Self::Boolean => f.write_str("must be true or false"),
            Self::Integer { min, max } => write!(f, "must be between {min} and {max}"),
            Self::Line => InvalidLineFormat.fmt(f),
            Self::Name => write!(
                f,
                "must be 1 to {NAME_BYTES_MAX} bytes of text that can be seen, without white space \
                 around it"
            ),
            Self::OneOf(words) => {
                f.write_str("must be one of ")?;
                for (index, word) in words.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}\"{word}\"")?;
                }
                Ok(())
            }
            Self::Origins => f.write_str(
                "must be \"*\" or a list of \"null\" and scheme://host[:port] as browsers write \
                 it: lower case, no path, no default port",
            ),
            Self::Path => f.write_str(
                "must start with / and be a URI path: no query, fragment, space or bad escape",
            ),
            Self::Paths => f.write_str("must be a list of paths"),
            Self::RedisUrl => RedisUrlError::Form.fmt(f),
            Self::Text { bytes_min, bytes_max } => {
                let range = match bytes_min {
                    0 => format!("at most {bytes_max}"),
                    _ => format!("{bytes_min} to {bytes_max}"),
                };
                write!(f, "must be text of {range} bytes without control characters")
            }
            Self::Tokens => {
                f.write_str("must be a list of RFC 9110 tokens (letters, digits, !#$%&'*+-.^_`|~)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_displays_as_the_end_of_a_sentence() {
        assert_eq!(Rule::Integer { min: 1, max: 9 }.to_string(), "must be between 1 and 9");
        assert_eq!(Rule::OneOf(&["a", "b"]).to_string(), "must be one of \"a\", \"b\"");
        let text = |bytes_min| Rule::Text { bytes_min, bytes_max: 9 }.to_string();
        assert_eq!(text(0), "must be text of at most 9 bytes without control characters");
        assert_eq!(text(1), "must be text of 1 to 9 bytes without control characters");
    }
}
