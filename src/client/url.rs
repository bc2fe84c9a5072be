//! The URL of the server, and the user that it names (RFC 6455 §3, RFC 3986).

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use tungstenite::http::Uri;

use crate::http::Authority;

/// A WebSocket URL: in ASCII, with a path, without a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    scheme: Scheme,
    authority: String,
    path_and_query: String,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ws`: over plain TCP.
    Plain,
    /// `wss`: over TLS.
    Secure,
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// The URL does not begin with `ws://` or `wss://`.
    #[error("must begin with ws:// or wss://")]
    Scheme,
    /// A control character.
    #[error("must not hold control characters")]
    Control,
    /// A fragment, which RFC 6455 §3 forbids.
    #[error("must not hold a `#`: WebSocket URLs have no fragment (write %23 for the character)")]
    Fragment,
    /// User information: other users of the machine could read a password on the command line.
    #[error("must not hold a user before the host: use --user or --header")]
    UserInformation,
    /// No host, or a host with characters outside ASCII, which would have to be converted.
    #[error("must name a host, in ASCII, and nothing but a port after it")]
    Host,
    /// Not a URI.
    #[error("is not a URI")]
    NotUri,
    /// Both the URL and `--user` name a user.
    #[error("names a user already, and so does --user")]
    TwoUsers,
}

impl ServerUrl {
    /// The URL with `user=NAME` added to its query.
    ///
    /// # Errors
    /// [`UrlError::TwoUsers`] if the query names a user already.
    pub fn with_user(&self, name: &str) -> Result<Self, UrlError> {
        let query = self.path_and_query.split_once('?').map(|(_, query)| query);
        let mut names = query.unwrap_or_default().split('&').map(|pair| pair.split('=').next());
        if names.any(|name| name == Some("user")) {
            return Err(UrlError::TwoUsers);
        }
        let separator = match query {
            None => "?",
            Some(query) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        let name = utf8_percent_encode(name, OUTSIDE_VALUE);
        let path_and_query = format!("{}{separator}user={name}", self.path_and_query);
        Ok(Self { path_and_query, ..self.clone() })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host to resolve, without the brackets of an IPv6 address, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let default_port = match self.scheme {
            Scheme::Plain => 80,
            Scheme::Secure => 443,
        };
        let Some(authority) = Authority::parse(self.authority.as_bytes()) else {
            return (&self.authority, default_port);
        };
        let host = authority.host();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        (literal.unwrap_or(host), authority.port().unwrap_or(default_port))
    }

    /// The URL in the type from which requests are made.
    ///
    /// # Errors
    /// [`UrlError::NotUri`] if that type refuses it.
    pub fn uri(&self) -> Result<Uri, UrlError> {
        self.to_string().parse().map_err(|_| UrlError::NotUri)
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains(char::is_control) {
            return Err(UrlError::Control);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => Scheme::Plain,
            _ if scheme.eq_ignore_ascii_case("wss") => Scheme::Secure,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(authority_bytes);
        if authority.contains('@') {
            return Err(UrlError::UserInformation);
        }
        Authority::parse(authority.as_bytes()).ok_or(UrlError::Host)?;
        let slash = if path_and_query.starts_with('/') { "" } else { "/" };
        let path_and_query =
            format!("{slash}{}", utf8_percent_encode(path_and_query, OUTSIDE_PATH));
        let url = Self { scheme, authority: authority.to_owned(), path_and_query };
        url.uri().map(|_| url)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Plain => "ws",
            Scheme::Secure => "wss",
        };
        write!(formatter, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

/// The characters that browsers escape in paths and queries. `%` is not among them, so escapes
/// stay.
const OUTSIDE_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// All but the unreserved characters (RFC 3986 §2.3), so that nothing in a value acts as syntax.
const OUTSIDE_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn a_url_becomes_host_port_and_target() {
        for (text, host, port, url) in [
            ("ws://127.0.0.1:8080/chat", "127.0.0.1", 8080, "ws://127.0.0.1:8080/chat"),
            ("WS://example.com", "example.com", 80, "ws://example.com/"),
            ("ws://example.com:/a", "example.com", 80, "ws://example.com:/a"),
            ("wss://example.com/a?b=c", "example.com", 443, "wss://example.com/a?b=c"),
            ("ws://[::1]:9000?a", "::1", 9000, "ws://[::1]:9000/?a"),
            ("ws://h/%2F?a=%20", "h", 80, "ws://h/%2F?a=%20"),
            ("ws://h/a b/张?\"|", "h", 80, "ws://h/a%20b/%E5%BC%A0?%22%7C"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.host_and_port(), (host, port), "{text}");
            assert_eq!(parsed.to_string(), url);
            let uri = parsed.uri().unwrap();
            assert!(url.ends_with(uri.path_and_query().unwrap().as_str()), "{uri}");
        }
    }

    #[test]
    fn invalid_urls_are_refused_with_the_reason() {
        for (text, error) in [
            ("", UrlError::Scheme),
            ("localhost:8080/chat", UrlError::Scheme),
            ("http://localhost", UrlError::Scheme),
            ("ws://h/\r\nX: y", UrlError::Control),
            ("ws://h/a#b", UrlError::Fragment),
            ("ws://me:secret@h/", UrlError::UserInformation),
            ("ws://", UrlError::Host),
            ("ws:///chat", UrlError::Host),
            ("ws://:80/", UrlError::Host),
            ("ws://h:99999/", UrlError::Host),
            ("ws://h:+80/", UrlError::Host),
            ("ws://bücher.example/", UrlError::Host),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_user_is_added_to_the_query() {
        for (text, name, url) in [
            ("ws://h/chat", "ann", "ws://h/chat?user=ann"),
            ("ws://h/chat?", "ann", "ws://h/chat?user=ann"),
            ("ws://h/chat?a=b", "ann", "ws://h/chat?a=b&user=ann"),
            ("ws://h/chat?a=b&", "ann", "ws://h/chat?a=b&user=ann"),
            ("ws://h/chat?users=b", "ann", "ws://h/chat?users=b&user=ann"),
            ("ws://h", "张三", "ws://h/?user=%E5%BC%A0%E4%B8%89"),
            ("ws://h", "a b+c&d=e#f%/?~\u{1b}", "ws://h/?user=a%20b%2Bc%26d%3De%23f%25%2F%3F~%1B"),
        ] {
            let url_with_user = parse(text).unwrap().with_user(name).unwrap();
            assert_eq!(url_with_user.to_string(), url);
            assert!(url_with_user.uri().is_ok());
        }
    }

    #[test]
    fn a_second_user_is_refused() {
        for text in ["ws://h/?user=bob", "ws://h/?a=b&user=", "ws://h/?user"] {
            assert_eq!(parse(text).unwrap().with_user("ann"), Err(UrlError::TwoUsers), "{text}");
        }
    }
}
