//! Login tokens that stand in the configuration.

use std::collections::HashMap;

use subtle::ConstantTimeEq as _;

/// Whether `given` is the token of `name`. How long it takes says nothing of how much of the token
/// was right, and next to nothing of whether the name exists.
pub(super) fn is_right(tokens: &HashMap<String, String>, name: &str, given: &str) -> bool {
    let own = tokens.get(name);
    let expected = own.map_or(given, String::as_str);
    let is_equal = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
    is_equal && own.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_of_the_name_is_right() {
        let tokens = HashMap::from([("bob".to_owned(), "s3cret".to_owned())]);
        assert!(is_right(&tokens, "bob", "s3cret"));
        for (name, given) in [("bob", "s3cre"), ("bob", ""), ("bob", "S3cret"), ("Bob", "s3cret")] {
            assert!(!is_right(&tokens, name, given), "{name} {given}");
        }
    }
}
