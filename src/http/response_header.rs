//! Response headers from the configuration or services, checked so that they cannot inject lines.

use std::borrow::Cow;

use thiserror::Error;

use super::grammar::{is_field_value, is_token, trim_whitespace};

/// The value of a response header: one line without control characters (RFC 9110 §5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(Cow<'static, str>);

impl HeaderValue {
    /// The content type of bytes of no further kind.
    pub const BYTES: Self = Self(Cow::Borrowed("application/octet-stream"));
    /// The content type of JSON.
    pub const JSON: Self = Self(Cow::Borrowed("application/json"));
    /// The content type of an HTML page.
    pub const HTML: Self = Self(Cow::Borrowed("text/html; charset=utf-8"));
    /// A challenge for credentials that no scheme of HTTP names (RFC 9110 section 11.6.1), such as cookies.
    pub const CREDENTIAL: Self = Self(Cow::Borrowed("Credential realm=\"tidegate\""));
    /// The content type of plain text.
    pub const PLAIN_TEXT: Self = Self(Cow::Borrowed("text/plain; charset=utf-8"));

    /// Checks that `value` is a valid header value.
    ///
    /// # Errors
    /// [`InvalidHeader::Value`] if it has a control character such as CR, LF or NUL, or whitespace
    /// at an end, which the recipient would remove.
    pub fn new(value: impl Into<Cow<'static, str>>) -> Result<Self, InvalidHeader> {
        let value = value.into();
        let bytes = value.as_bytes();
        if is_field_value(bytes) && trim_whitespace(bytes) == bytes {
            Ok(Self(value))
        } else {
            Err(InvalidHeader::Value)
        }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A header that is added to a response, such as `Set-Cookie` or `Cache-Control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    name: Cow<'static, str>,
    value: HeaderValue,
}

impl ResponseHeader {
    /// Checks that `name` and `value` form a header that may be added to any response.
    ///
    /// # Errors
    /// [`InvalidHeader`] if the name is not a token, if the value is invalid (see
    /// [`HeaderValue::new`]), or if the gateway writes this header itself.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        let name = name.into();
        if !is_token(name.as_bytes()) {
            return Err(InvalidHeader::Name);
        }
        if RESERVED_NAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name)) {
            return Err(InvalidHeader::Reserved);
        }
        Ok(Self { name, value: HeaderValue::new(value)? })
    }

    /// The name as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    pub fn value(&self) -> &str {
        self.value.as_str()
    }
}

/// Why a response header is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The name is not a token (RFC 9110 §5.1).
    #[error("a header name must be a token: letters, digits and any of !#$%&'*+-.^_`|~")]
    Name,
    /// The gateway writes this header itself.
    #[error("this header is set by the gateway itself")]
    Reserved,
    /// The value has a control character, or whitespace at an end (RFC 9110 §5.5).
    #[error("a header value must be one line without control characters or outer whitespace")]
    Value,
}

/// The headers that delimit a response or manage the connection.
const RESERVED_NAMES: [&str; 8] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "Upgrade",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_cannot_inject_lines() {
        for value in ["a\r\nX: b", "a\n", "\ra", "a\0", "a\x7f", " a", "a\t"] {
            let header = ResponseHeader::new("X-A", value);
            assert_eq!(header, Err(InvalidHeader::Value), "{value:?}");
        }
        for name in ["", "X A", "X:", "X\r\n", "\u{e9}"] {
            assert_eq!(ResponseHeader::new(name, "a"), Err(InvalidHeader::Name), "{name:?}");
        }
    }

    #[test]
    fn framing_headers_are_reserved_in_any_case() {
        for name in RESERVED_NAMES {
            let name = name.to_ascii_lowercase();
            assert_eq!(ResponseHeader::new(name, "0"), Err(InvalidHeader::Reserved));
        }
    }

    #[test]
    fn ordinary_headers_pass() {
        let header = ResponseHeader::new("Set-Cookie", "user=a b; HttpOnly".to_owned()).unwrap();
        assert_eq!((header.name(), header.value()), ("Set-Cookie", "user=a b; HttpOnly"));
        assert!(ResponseHeader::new("X-Empty", "").is_ok());
        assert!(HeaderValue::new("é\ta").is_ok());
    }

    #[test]
    fn constants_are_valid() {
        let constants = [
            HeaderValue::BYTES,
            HeaderValue::CREDENTIAL,
            HeaderValue::HTML,
            HeaderValue::PLAIN_TEXT,
        ];
        for constant in constants {
            assert_eq!(HeaderValue::new(constant.as_str().to_owned()), Ok(constant));
        }
    }

    proptest! {
        #[test]
        fn no_accepted_header_spans_lines(name: String, value: String) {
            if let Ok(header) = ResponseHeader::new(name, value) {
                prop_assert!(!header.name().contains(['\r', '\n', ':']));
                prop_assert!(!header.value().contains(['\r', '\n', '\0']));
            }
        }
    }
}
