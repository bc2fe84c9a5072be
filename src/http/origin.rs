//! The rule of a route on the `Origin` of web pages (RFC 6455 §10.2).

use memchr::memmem;

use super::authority::{Authority, default_port};

/// The pages that may open a WebSocket on a route, by the origin that browsers send (RFC 6454).
///
/// The rule protects users of browsers: other sites cannot act in their name. It does not exclude
/// other clients, which may send any `Origin`. Requests without one are allowed by every rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginRule {
    /// Any origin, `null` included.
    Any,
    /// Only these origins, each written `scheme://host[:port]` (or `null`).
    List(Vec<String>),
    /// Only pages from the host and port to which the request goes.
    #[default]
    SameHost,
}

impl OriginRule {
    /// Whether a page of `origin`, the value of `Origin`, may open a WebSocket with a request to
    /// `host` (see [`RequestHead::host`](super::RequestHead::host)).
    ///
    /// Hosts compare in any letter case. A missing port is the default port of the origin's scheme,
    /// because a gateway behind a proxy cannot see whether the client used TLS.
    pub fn permits(&self, origin: &[u8], host: Option<Authority<'_>>) -> bool {
        match self {
            Self::Any => true,
            Self::List(origins) => {
                origins.iter().any(|permitted| is_same_origin(permitted.as_bytes(), origin))
            }
            Self::SameHost => {
                let origin = WebOrigin::parse(origin);
                origin.zip(host).is_some_and(|(origin, host)| origin.is_of_host(&host))
            }
        }
    }
}

/// Origins that are not `scheme://host[:port]`, such as `null` or `file://`, are compared as text.
fn is_same_origin(left: &[u8], right: &[u8]) -> bool {
    match (WebOrigin::parse(left), WebOrigin::parse(right)) {
        (Some(left), Some(right)) => {
            left.scheme.eq_ignore_ascii_case(right.scheme) && left.is_of_host(&right.authority)
        }
        _ => left.eq_ignore_ascii_case(right),
    }
}

/// Whether the value of an `Origin` header can be listed in the configuration: `null`, a scheme with a
/// host and perhaps a port, or a scheme alone such as `file://`, which some embedded browsers send.
#[must_use]
pub fn is_origin(text: &[u8]) -> bool {
    let is_bare_scheme = text.strip_suffix(b"://").is_some_and(is_scheme);
    text.eq_ignore_ascii_case(b"null")
        || is_bare_scheme
        || WebOrigin::parse(text).is_some_and(|origin| is_scheme(origin.scheme))
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )` (RFC 3986 §3.1).
fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// An origin that names a host (RFC 6454 §6.2).
struct WebOrigin<'b> {
    scheme: &'b [u8],
    authority: Authority<'b>,
}

impl<'b> WebOrigin<'b> {
    fn parse(text: &'b [u8]) -> Option<Self> {
        let (scheme, rest) = text.split_at_checked(memmem::find(text, b"://")?)?;
        let authority = Authority::parse(rest.strip_prefix(b"://")?)?;
        (!scheme.is_empty()).then_some(Self { scheme, authority })
    }

    fn is_of_host(&self, host: &Authority<'_>) -> bool {
        let default_port = default_port(self.scheme);
        self.authority.has_same_host(host)
            && self.authority.port().or(default_port) == host.port().or(default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same_host(origin: &str, host: &str) -> bool {
        OriginRule::SameHost.permits(origin.as_bytes(), Authority::parse(host.as_bytes()))
    }

    fn is_listed(origin: &str, list: &[&str]) -> bool {
        let list = list.iter().map(|&origin| origin.to_owned()).collect();
        OriginRule::List(list).permits(origin.as_bytes(), Authority::parse(b"example.com"))
    }

    #[test]
    fn same_host_compares_host_and_port() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("http://EXAMPLE.com", "example.COM"),
            ("http://example.com", "example.com:80"),
            ("http://example.com:80", "example.com"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("HTTPS://example.com:443", "example.com:"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("app://example.com", "example.com"),
        ] {
            assert!(is_same_host(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://example.com", "example.com:443"),
            ("https://example.com", "example.com:80"),
            ("http://example.com:8080", "example.com"),
            ("http://example.com", "example.com:8080"),
            ("http://example.com.evil.example", "example.com"),
            ("http://sub.example.com", "example.com"),
            ("http://evil.example", "example.com"),
            ("app://example.com", "example.com:80"),
        ] {
            assert!(!is_same_host(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn what_is_an_origin_can_be_listed_and_then_matches_itself() {
        for origin in [
            "null",
            "https://a.example",
            "https://A.example",
            "HTTPS://a.example:443",
            "http://a.example:80",
            "http://a.example:",
            "http://[::1]:8080",
            "http://[0:0::1]",
            "http://my_host",
            "https://a,b",
            "chrome-extension://abcdef",
            "moz-extension://6f9c-1",
            "capacitor://localhost",
            "app://.",
            "http://a.example:0",
            "file://",
            "tauri://localhost",
            "https://xn--bcher-kva.example.",
        ] {
            assert!(is_origin(origin.as_bytes()), "{origin}");
            assert!(is_listed(origin, &[origin]), "{origin}");
        }
        for other in [
            "",
            "*",
            "a.example",
            "://a.example",
            "://",
            "https://a.example/",
            "https://a.example/path",
            "http://a.example:65536",
            "http://a.example:+1",
            "http://user@a.example",
            "http://[::1",
            "http://[::1]x",
            "1a://b",
            "a b://c",
            "https://b\u{fc}cher.example",
            "https://a b",
            "https://a.example https://b.example",
            "https://a?b",
            "https://a#b",
        ] {
            assert!(!is_origin(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_names_no_host_is_not_of_the_same_host() {
        for origin in [
            "null",
            "",
            "example.com",
            "://example.com",
            "http://",
            "http://example.com/",
            "http://user@example.com",
            "http://example.com http://example.com",
        ] {
            assert!(!is_same_host(origin, "example.com"), "{origin}");
        }
        assert!(!OriginRule::SameHost.permits(b"http://example.com", None));
    }

    #[test]
    fn a_list_permits_its_origins_only() {
        let list = ["https://example.com", "http://localhost:3000", "null"];
        for origin in
            ["https://example.com", "https://Example.com:443", "http://localhost:3000", "null"]
        {
            assert!(is_listed(origin, &list), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:80",
            "https://sub.example.com",
            "http://localhost",
            "file://",
            "",
        ] {
            assert!(!is_listed(origin, &list), "{origin}");
        }
        assert!(is_listed("file://", &["FILE://"]));
        assert!(!is_listed("null", &[]));
    }

    #[test]
    fn any_permits_everything() {
        for origin in ["http://evil.example", "null", "", "\u{e9}"] {
            assert!(OriginRule::Any.permits(origin.as_bytes(), None));
        }
    }

    #[test]
    fn same_host_is_the_default() {
        assert_eq!(OriginRule::default(), OriginRule::SameHost);
    }
}
