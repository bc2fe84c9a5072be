//! Percent-encoded text, decoded exactly once (RFC 3986 §2.1).

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use thiserror::Error;

/// A part of a request target as it was sent: a path segment, or a name or value of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'b> {
    raw: &'b [u8],
    plus: Plus,
}

impl<'b> Encoded<'b> {
    /// A path segment, in which `+` is a plus sign.
    pub(super) fn segment(raw: &'b [u8]) -> Self {
        Self { raw, plus: Plus::Literal }
    }

    /// A name or value of a query, in which `+` is a space.
    pub(super) fn query_part(raw: &'b [u8]) -> Self {
        Self { raw, plus: Plus::Space }
    }

    /// The bytes as they were sent, with their escapes.
    pub fn raw(self) -> &'b [u8] {
        self.raw
    }

    /// Decodes the text. Allocates only if there is something to decode.
    ///
    /// # Errors
    /// [`DecodeError`] if an escape is malformed or the result is not UTF-8.
    pub fn decode(self) -> Result<Cow<'b, str>, DecodeError> {
        if self.is_plain() {
            let text = str::from_utf8(self.raw).map_err(|_| DecodeError::NotUtf8)?;
            return Ok(Cow::Borrowed(text));
        }
        let bytes = self.decoded_bytes().collect::<Result<Vec<u8>, DecodeError>>()?;
        let text = String::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Cow::Owned(text))
    }

    /// Whether this decodes to `text`. Never allocates; malformed text matches nothing.
    pub fn matches(self, text: &str) -> bool {
        if self.is_plain() {
            return self.raw == text.as_bytes();
        }
        let mut expected = text.bytes();
        self.decoded_bytes().all(|byte| byte.ok().is_some_and(|byte| expected.next() == Some(byte)))
            && expected.next().is_none()
    }

    /// Whether decoding it gives no slash, no backslash and no control character, at which another
    /// reader could end the segment.
    pub(super) fn is_one_for_all(self) -> bool {
        self.decoded_bytes().all(|byte| {
            byte.is_ok_and(|byte| !matches!(byte, b'/' | b'\\') && !byte.is_ascii_control())
        })
    }

    /// Whether it decodes to `.` or `..`, up to a `;`: some readers take what is behind that for
    /// parameters of the segment (RFC 3986 §3.3).
    pub(super) fn is_dots(self) -> bool {
        let mut dots = 0;
        for byte in self.decoded_bytes().map_while(Result::ok).take_while(|byte| *byte != b';') {
            if byte != b'.' || dots == 2 {
                return false;
            }
            dots += 1;
        }
        dots > 0
    }

    fn decoded_bytes(self) -> DecodedBytes<'b> {
        DecodedBytes { rest: self.raw, plus: self.plus }
    }

    fn is_plain(self) -> bool {
        match self.plus {
            Plus::Literal => memchr(b'%', self.raw).is_none(),
            Plus::Space => memchr2(b'%', b'+', self.raw).is_none(),
        }
    }
}

/// Why percent-encoded text cannot be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A `%` without two hexadecimal digits after it (RFC 3986 §2.1).
    #[error("`%` must be followed by two hexadecimal digits (RFC 3986 section 2.1)")]
    BadEscape,
    /// The decoded bytes are not UTF-8 (RFC 3986 §2.5).
    #[error("percent-encoded text must be UTF-8 (RFC 3986 section 2.5)")]
    NotUtf8,
}

/// Whether every `%` in `raw` is followed by two hexadecimal digits.
pub(super) fn escapes_are_well_formed(raw: &[u8]) -> bool {
    memchr(b'%', raw).is_none() || Encoded::segment(raw).decoded_bytes().all(|byte| byte.is_ok())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plus {
    Literal,
    Space,
}

/// The decoded bytes. The iterator ends after an error.
struct DecodedBytes<'b> {
    rest: &'b [u8],
    plus: Plus,
}

impl Iterator for DecodedBytes<'_> {
    type Item = Result<u8, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        match (first, self.plus) {
            (b'%', _) => Some(self.next_escape()),
            (b'+', Plus::Space) => Some(Ok(b' ')),
            _ => Some(Ok(first)),
        }
    }
}

impl DecodedBytes<'_> {
    fn next_escape(&mut self) -> Result<u8, DecodeError> {
        let escape = self.rest.split_first_chunk::<2>().and_then(|(&[high, low], rest)| {
            self.rest = rest;
            Some((hexadecimal_digit(high)? << 4) | hexadecimal_digit(low)?)
        });
        if escape.is_none() {
            self.rest = &[];
        }
        escape.ok_or(DecodeError::BadEscape)
    }
}

fn hexadecimal_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin: text in, text out, one allocation per step.
    fn decode_naively(raw: &str, plus_is_space: bool) -> Result<String, DecodeError> {
        let raw = if plus_is_space { raw.replace('+', " ") } else { raw.to_owned() };
        let mut parts = raw.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let digits = part.get(..2).ok_or(DecodeError::BadEscape)?;
            if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(DecodeError::BadEscape);
            }
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        String::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
    }

    proptest! {
        #[test]
        fn decodes_like_the_naive_twin(
            raw in "([a-c+]|%[0-9a-fA-F]{2}|%[eE]5%[bB][cC]%[aA]0|%g?){0,12}",
        ) {
            let segment = Encoded::segment(raw.as_bytes());
            let query_part = Encoded::query_part(raw.as_bytes());
            let expected = decode_naively(&raw, false);
            prop_assert_eq!(
                escapes_are_well_formed(raw.as_bytes()),
                expected != Err(DecodeError::BadEscape)
            );
            prop_assert_eq!(segment.decode().map(Cow::into_owned), expected);
            prop_assert_eq!(
                query_part.decode().map(Cow::into_owned),
                decode_naively(&raw, true)
            );
        }

        #[test]
        fn matches_exactly_the_decoded_text(
            raw in "([ab]|%6[12]|\\+){0,6}",
            other in "[ab+ ]{0,6}",
        ) {
            for encoded in [Encoded::segment(raw.as_bytes()), Encoded::query_part(raw.as_bytes())] {
                let decoded = encoded.decode().unwrap();
                prop_assert!(encoded.matches(&decoded));
                prop_assert_eq!(encoded.matches(&other), decoded == other);
            }
        }

        #[test]
        fn any_text_survives_being_escaped(text in any::<String>()) {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let decoded = Encoded::segment(escaped.as_bytes()).decode();
            prop_assert_eq!(decoded.as_deref(), Ok(text.as_str()));
        }
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(Encoded::segment(b"a+b").decode(), Ok(Cow::Borrowed("a+b"))));
        assert!(matches!(Encoded::query_part(b"ab").decode(), Ok(Cow::Borrowed("ab"))));
    }

    #[test]
    fn decodes_once_only() {
        assert_eq!(Encoded::segment(b"%252F").decode().unwrap(), "%2F");
    }

    #[test]
    fn names_what_is_wrong() {
        for raw in ["%", "%2", "%2g", "%g2", "a%", "%%20", "%+1", "%\u{00e9}"] {
            let decoded = Encoded::segment(raw.as_bytes()).decode();
            assert_eq!(decoded, Err(DecodeError::BadEscape), "{raw}");
        }
        for raw in ["%ff", "%e5%bc", "a%C0%80", "%ed%a0%80"] {
            let decoded = Encoded::segment(raw.as_bytes()).decode();
            assert_eq!(decoded, Err(DecodeError::NotUtf8), "{raw}");
        }
    }
}
