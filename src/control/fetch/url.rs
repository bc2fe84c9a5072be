//! The URL of a server that is asked over HTTP.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

/// `http://HOST[:PORT]/PATH`, `https://HOST[:PORT]/PATH`, or `http://unix:/SOCKET:/PATH` for a Unix
/// socket. `Display` and `Debug` leave out the path and the query, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    pub(super) server: Server,
    /// The value of `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Server {
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        port: u16,
        has_tls: bool,
    },
    Unix(PathBuf),
}

/// Why a text is not the URL of a server. The error does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or http://unix:/SOCKET:/PATH, without \
     a user"
)]
pub struct HttpUrlError;

impl HttpUrl {
    /// Parses a URL. It connects to nothing and resolves no name.
    ///
    /// # Errors
    /// [`HttpUrlError`] if the text is no such URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        if let Some(rest) = text.strip_prefix("http://unix:") {
            return Self::parse_unix(rest);
        }
        let uri: Uri = text.parse().map_err(|_| HttpUrlError)?;
        let has_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(HttpUrlError),
        };
        let authority = uri.authority().ok_or(HttpUrlError)?;
        let is_port_given = authority.as_str().ends_with(authority.host());
        if authority.as_str().contains('@') || (authority.port().is_none() && !is_port_given) {
            return Err(HttpUrlError);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.port_u16() == Some(0) {
            return Err(HttpUrlError);
        }
        let port = authority.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        Ok(Self {
            server: Server::Tcp { host: host.to_owned(), port, has_tls },
            authority: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    fn parse_unix(rest: &str) -> Result<Self, HttpUrlError> {
        let (socket, target) = rest.rsplit_once(":/").ok_or(HttpUrlError)?;
        let target = format!("/{target}");
        if !socket.starts_with('/') || target.parse::<Uri>().is_err() || target.contains('#') {
            return Err(HttpUrlError);
        }
        let server = Server::Unix(PathBuf::from(socket));
        Ok(Self { server, authority: "localhost".to_owned(), target })
    }

    /// Whether the server is reached with TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        matches!(self.server, Server::Tcp { has_tls: true, .. })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Tcp { has_tls, .. } => {
                write!(f, "http{}://{}", if *has_tls { "s" } else { "" }, self.authority)
            }
            Server::Unix(socket) => write!(f, "http://unix:{}", socket.display()),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_a_target() {
        let tcp = |host: &str, port, has_tls| Server::Tcp { host: host.to_owned(), port, has_tls };
        for (text, server, authority, target, shown) in [
            ("http://app", tcp("app", 80, false), "app", "/", "http://app"),
            (
                "https://app:8443/a?b=c",
                tcp("app", 8443, true),
                "app:8443",
                "/a?b=c",
                "https://app:8443",
            ),
            ("https://[::1]/keys", tcp("::1", 443, true), "[::1]", "/keys", "https://[::1]"),
            (
                "http://unix:/run/app.sock:/who?x",
                Server::Unix("/run/app.sock".into()),
                "localhost",
                "/who?x",
                "http://unix:/run/app.sock",
            ),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((&url.server, &*url.authority, &*url.target), (&server, authority, target));
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("HttpUrl({shown})"));
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for text in [
            "",
            "app",
            "/who",
            "ftp://app/",
            "http://",
            "http:///who",
            "http://user:pw@app/",
            "http://app:0/",
            "http://app:70000/",
            "http://app:/",
            "http://a b/",
            "http://unix:/run/app.sock",
            "http://unix:run/app.sock:/who",
            "https://unix:/run/app.sock:/who",
        ] {
            assert_eq!(HttpUrl::parse(text), Err(HttpUrlError), "{text}");
        }
    }
}
