//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use thiserror::Error;

use super::grammar::{is_token_byte, trim_whitespace_start};

/// Checks the extensions that a client offers: `values` are the values of all its
/// `Sec-WebSocket-Extensions` lines. Whether an offer is acceptable is not looked at.
///
/// A server must fail a handshake whose value does not fit the grammar (RFC 6455 §9.1).
pub(super) fn check_extensions<'b>(
    mut values: impl Iterator<Item = &'b [u8]>,
) -> Result<(), MalformedExtensions> {
    if values.all(fits) { Ok(()) } else { Err(MalformedExtensions) }
}

/// The extensions that a client offers are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "Sec-WebSocket-Extensions must list extensions such as \
     `permessage-deflate; client_max_window_bits` (RFC 6455 section 9.1)"
)]
pub(super) struct MalformedExtensions;

/// Whether a line fits the grammar. Empty elements are skipped (RFC 9110 §5.6.1.2), also where
/// there is nothing else. A quoted string does not continue on the next line.
fn fits(line: &[u8]) -> bool {
    behind_list(line).is_some_and(<[u8]>::is_empty)
}

/// `extension-list = 1#extension`. As all functions here, it returns what follows.
fn behind_list(line: &[u8]) -> Option<&[u8]> {
    let mut rest = trim_whitespace_start(line);
    loop {
        if !matches!(rest, [] | [b',', ..]) {
            rest = trim_whitespace_start(behind_extension(rest)?);
        }
        let [b',', behind @ ..] = rest else { return Some(rest) };
        rest = trim_whitespace_start(behind);
    }
}

/// `extension = extension-token *( ";" extension-param )`
fn behind_extension(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = trim_whitespace_start(behind_token(bytes)?);
    while let [b';', behind @ ..] = rest {
        rest = trim_whitespace_start(behind_parameter(trim_whitespace_start(behind))?);
    }
    Some(rest)
}

/// `extension-param = token [ "=" ( token | quoted-string ) ]`
fn behind_parameter(bytes: &[u8]) -> Option<&[u8]> {
    let rest = trim_whitespace_start(behind_token(bytes)?);
    let [b'=', behind @ ..] = rest else { return Some(rest) };
    match trim_whitespace_start(behind) {
        [b'"', inner @ ..] => behind_quoted_token(inner),
        unquoted => behind_token(unquoted),
    }
}

fn behind_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len());
    if length == 0 { None } else { bytes.get(length..) }
}

/// The rest of a quoted string after its first quote. What it says must be a token (RFC 6455 §9.1).
fn behind_quoted_token(inner: &[u8]) -> Option<&[u8]> {
    let mut rest = inner;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => {
                let is_empty = behind.len() + 1 == inner.len();
                return if is_empty { None } else { Some(behind) };
            }
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] if is_token_byte(*byte) => behind,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn check(lines: &[&str]) -> Result<(), MalformedExtensions> {
        check_extensions(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn lists_of_extensions_fit() {
        for lines in [
            &[][..],
            &["permessage-deflate"],
            &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
            &["a;b=1\t; c = \"2\" ,, d"],
            &[", a ,", ""],
            &["", ",, ,", "\t"],
            &["", "a"],
            &["a; b=\"\\x\\y\"", "c"],
            &["mystery; server_max_window_bits=99; server_max_window_bits=99"],
        ] {
            assert_eq!(check(lines), Ok(()), "{lines:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_rfc_6455_section_9_1() {
        for line in [
            "a b",
            "=",
            ";",
            ";;",
            "x=",
            "=x",
            "a;",
            "a;;b",
            "a; b c",
            "a; b=",
            "a; b=;",
            "a; =1",
            "a; b=1=2",
            "a; b=1 2",
            "a; b=\"",
            "a; b=\"1",
            "a; b=\"1\\",
            "a; b=\"1\\\"",
            "a; b=\"\"",
            "a; b=\"1 2\"",
            "a; b=\"1,2\"",
            "a; b=\"\\ \"",
            "a; b=\"1\"2",
            "a; b=\"1\" c",
            "\"a\"",
            "a=1",
            "a; \"b\"",
            "a/b",
            "caf\u{e9}",
            "a; b=c\u{e9}",
            "a, b c",
            "a;, b",
            "(a)",
            "\\a",
        ] {
            assert_eq!(check(&[line]), Err(MalformedExtensions), "{line}");
            assert_eq!(check(&["a", line]), Err(MalformedExtensions), "{line}");
        }
        // The quote does not close on the next line.
        assert_eq!(check(&["a; b=\"c", "d\""]), Err(MalformedExtensions));
    }

    /// The naive twin: marks quoted strings first, then splits at separators.
    fn naively_fits(line: &str) -> bool {
        let mut plain = String::new();
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            if character != '"' {
                plain.push(character);
                continue;
            }
            let mut inner = String::new();
            loop {
                match characters.next() {
                    None => return false,
                    Some('"') => break,
                    Some('\\') => match characters.next() {
                        None => return false,
                        Some(escaped) => inner.push(escaped),
                    },
                    Some(other) => inner.push(other),
                }
            }
            let is_token = !inner.is_empty() && inner.bytes().all(is_token_byte);
            // `[` is no token character, so it stands for a quoted string.
            plain.push_str(if is_token { "[" } else { "]" });
        }
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        let mut elements = plain.split(',').map(|element| element.trim_matches([' ', '\t']));
        elements.all(|element| {
            let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
            let name_fits = parts.next().is_some_and(is_token);
            element.is_empty()
                || (name_fits
                    && parts.all(|part| match part.split_once('=') {
                        None => is_token(part),
                        Some((name, value)) => {
                            let value = value.trim_matches([' ', '\t']);
                            is_token(name.trim_matches([' ', '\t']))
                                && (is_token(value) || value == "[")
                        }
                    }))
        })
    }

    proptest! {
        #[test]
        fn lines_fit_as_by_the_naive_twin(
            parts in prop::collection::vec(
                select(vec!["a", "b1", " ", "\t", ",", ";", "; a", "=", "=\"a\"", "\"", "\\", "\u{e9}"]),
                0..12,
            ),
        ) {
            let line = parts.concat();
            prop_assert_eq!(fits(line.as_bytes()), naively_fits(&line), "{}", line);
        }

        #[test]
        fn any_bytes_are_taken(line: Vec<u8>) {
            let _ = fits(&line);
        }
    }
}
