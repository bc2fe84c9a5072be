//! Which values messages may show: a secret may stand where a file expects none.

use toml::Value;

use super::rule::Rule;
use super::secret::{MASK, variable, without_password};
use super::sections;

/// `value` as a message may show it; `key` may have array positions, as in `route[1].path`. Where a
/// secret is expected, a misspelt key and a value of the wrong type may be the secret too.
pub(super) fn shown(key: &str, value: &Value) -> Value {
    let name = without_positions(key);
    let may_be_secret = match sections::find(&name).map(|key| key.rule) {
        Some(Rule::RedisUrl) => !may_be_shown(value),
        Some(rule) => rule.is_secret(),
        // The name of a file is shown, and what stands in it is not known here.
        None if sections::is_file_leaf(&name) => false,
        None => {
            SECRET_SECTIONS.contains(&name.split('.').next().unwrap_or_default())
                || SECRET_WORDS.iter().any(|word| name.contains(word))
        }
    };
    match value.as_str() {
        Some(text) if variable(text).is_some() => value.clone(),
        // The content of a key's file in place of its path.
        Some(text) if text.contains(PRIVATE_KEY) => Value::from(MASK),
        _ if may_be_secret => Value::from(MASK),
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

/// The tables in which a key that is not known may be a secret, two of them by their former names.
const SECRET_SECTIONS: &[&str] = &["identity", "redis", "token"];
/// What is part of the name of a key that was meant for a secret.
const SECRET_WORDS: &[&str] = &["pass", "secret", "token"];

/// The end of the first line of a private key in PEM (RFC 7468 section 10).
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_unless_they_may_be_secrets() {
        for (key, is_shown) in [
            ("identity[0].tokens[0].name", true),
            ("identity[0].tokens[0].token", false),
            ("identity[0].tokens[0].token_file", true),
            ("identity[0].tokens[0].tokne", false),
            ("identity[0].tokens", false),
            ("identity[0].token_prefix", true),
            ("identity[0].password", false),
            ("identity", false),
            ("token", false),
            ("redis", false),
            ("route[1].path", true),
            ("route[1].identity", true),
            ("route[1].token", false),
            ("secret", false),
            ("a]b[c]", true),
        ] {
            let value = Value::from("text");
            let expected = if is_shown { &value } else { &Value::from(MASK) };
            assert_eq!(&shown(key, &value), expected, "{key}");
        }
        let key = Value::from("-----BEGIN PRIVATE KEY-----\nMIGH\n");
        assert_eq!(shown("certificate[0].key", &key), Value::from(MASK));
        assert_eq!(shown("identity[0].url", &Value::from(":pw@host")), Value::from(MASK));
    }
}
