//! The cookies of a request (RFC 6265 §4.2).

use thiserror::Error;

use super::grammar::{split_once, trim_whitespace};

/// A cookie is sent more than once, as with two paths or domains that both fit (RFC 6265 §4.2.2): the
/// order means nothing, so none of the values takes precedence.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a cookie is sent more than once")]
pub struct CookieError;

/// The value of the cookie called `name` in the `Cookie` lines `lines`, as it was sent, without the quotes
/// around it. Names are compared byte for byte.
pub(super) fn cookie_value<'b>(
    lines: impl Iterator<Item = &'b [u8]>,
    name: &str,
) -> Result<Option<&'b [u8]>, CookieError> {
    let mut found = None;
    for line in lines {
        for pair in line.split(|&byte| byte == b';') {
            let Some((own, value)) = split_once(pair, b'=') else { continue };
            if trim_whitespace(own) != name.as_bytes() {
                continue;
            }
            if found.is_some() {
                return Err(CookieError);
            }
            let value = trim_whitespace(value);
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            found = Some(quoted.unwrap_or(value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value<'b>(line: &'b [u8], name: &str) -> Result<Option<&'b [u8]>, CookieError> {
        cookie_value([line].into_iter(), name)
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let line = b"a=1; session=x=y==; A=2;b = 3 ; q=\"4\"; empty=; \"";
        for (name, expected) in [
            ("a", Some(&b"1"[..])),
            ("session", Some(b"x=y==")),
            ("A", Some(b"2")),
            ("b", Some(b"3")),
            ("q", Some(b"4")),
            ("empty", Some(b"")),
            ("sess", None),
            ("x", None),
        ] {
            assert_eq!(value(line, name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_cookie_that_is_sent_twice_has_no_value() {
        assert_eq!(value(b"a=1; a=1", "a"), Err(CookieError));
        let lines = [&b"a=1"[..], b"b=2; a=3"];
        assert_eq!(cookie_value(lines.into_iter(), "a"), Err(CookieError));
        assert_eq!(cookie_value(lines.into_iter(), "b"), Ok(Some(&b"2"[..])));
    }

    proptest! {
        /// What a client library would write is read back, among any others.
        #[test]
        fn cookies_are_read_as_they_are_written(
            pairs in prop::collection::btree_map("[a-z]{1,8}", "[!#-+\\--:<-\\[\\]-~]{0,8}", 1..8),
        ) {
            let line: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let line = line.join("; ");
            for (name, expected) in &pairs {
                prop_assert_eq!(value(line.as_bytes(), name), Ok(Some(expected.as_bytes())));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(line: Vec<u8>, name in "[a-z\"=; ]{0,3}") {
            let found = value(&line, &name);
            prop_assert!(!matches!(found, Ok(Some(value)) if value.len() > line.len()));
        }
    }
}
