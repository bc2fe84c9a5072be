//! Headers that the command line adds to the handshake.

use std::str::FromStr;

use thiserror::Error;
use tungstenite::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

/// A header given as `Name: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHeader {
    name: HeaderName,
    value: HeaderValue,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The colon is missing.
    #[error("must be written as `Name: value`")]
    Form,
    /// The name is not a token (RFC 9110 §5.6.2).
    #[error("the name must be letters, digits and -")]
    Name,
    /// The value has characters that no value may have (RFC 9110 §5.5).
    #[error("the value must not hold control characters")]
    Value,
    /// The handshake sets the header itself, or must not have it.
    #[error("the handshake itself decides about this header")]
    Reserved,
}

impl ExtraHeader {
    /// Adds the header to a request. A `Host` replaces the one from the URL, since a request has
    /// only one.
    pub(super) fn apply_to(&self, headers: &mut HeaderMap) {
        if self.name == HOST {
            headers.insert(&self.name, self.value.clone());
        } else {
            headers.append(&self.name, self.value.clone());
        }
    }
}

impl FromStr for ExtraHeader {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::Form)?;
        let name = HeaderName::from_str(name).map_err(|_| HeaderError::Name)?;
        // `trim` would also remove line feeds, which must be refused.
        let value = HeaderValue::from_str(value.trim_matches([' ', '\t']))
            .map_err(|_| HeaderError::Value)?;
        if is_reserved(&name) {
            return Err(HeaderError::Reserved);
        }
        Ok(Self { name, value })
    }
}

/// Of the `Sec-WebSocket-*` headers only the subprotocols may be chosen.
fn is_reserved(name: &HeaderName) -> bool {
    let is_of_handshake = name.as_str().starts_with("sec-websocket-");
    (is_of_handshake && name != "sec-websocket-protocol")
        || [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("from.the.url"));
        for line in lines {
            line.parse::<ExtraHeader>().unwrap().apply_to(&mut headers);
        }
        headers
    }

    fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
        headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }

    #[test]
    fn headers_are_added_in_order() {
        let headers = applied(&["X-A: 1", "x-a:2", "Authorization:  Basic a:b ", "X-Empty:"]);
        assert_eq!(values(&headers, "x-a"), [b"1", b"2"]);
        assert_eq!(values(&headers, "authorization"), [b"Basic a:b"]);
        assert_eq!(values(&headers, "x-empty"), [b""]);
        assert_eq!(values(&headers, "host"), [b"from.the.url"]);
    }

    #[test]
    fn a_host_replaces_the_one_of_the_url() {
        assert_eq!(values(&applied(&["Host: other.example"]), "host"), [b"other.example"]);
    }

    #[test]
    fn values_may_be_utf8() {
        assert_eq!(values(&applied(&["X-Name: 张三"]), "x-name"), ["张三".as_bytes()]);
    }

    #[test]
    fn invalid_headers_are_refused_with_the_reason() {
        for (text, error) in [
            ("Origin", HeaderError::Form),
            ("", HeaderError::Form),
            (": value", HeaderError::Name),
            ("Two Words: value", HeaderError::Name),
            ("Origin : value", HeaderError::Name),
            ("X: a\r\nY: b", HeaderError::Value),
            ("X: a\n", HeaderError::Value),
            ("X: \u{1b}[2J", HeaderError::Value),
            ("Connection: close", HeaderError::Reserved),
            ("upgrade: h2c", HeaderError::Reserved),
            ("Content-Length: 5", HeaderError::Reserved),
            ("Sec-WebSocket-Key: abc", HeaderError::Reserved),
            ("sec-websocket-extensions: permessage-deflate", HeaderError::Reserved),
        ] {
            assert_eq!(text.parse::<ExtraHeader>(), Err(error), "{text:?}");
        }
        assert!("Sec-WebSocket-Protocol: v1, v2".parse::<ExtraHeader>().is_ok());
    }
}
