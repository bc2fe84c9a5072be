//! What the value of a key must be, and how that is said.

use std::fmt;

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
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `"*"` or a list of origins.
    Origins,
    /// The path of a request.
    Path,
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
    }
}
