//! The small grammars of configured text: tokens, request paths and origins.

use std::net::Ipv6Addr;

/// Whether `text` is a token (RFC 9110 section 5.6.2), as a subprotocol has to be.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether `text` is an absolute path (RFC 9112 section 3.2.1) as a client can send it. Query and
/// fragment are refused because a route is compared with the path alone.
pub(super) fn is_path(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('/').map(str::as_bytes) else { return false };
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..] if is_path_byte(*byte) => rest,
            _ => return false,
        };
    }
}

/// `pchar` without escapes (RFC 3986 section 3.3), and the separator.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// Whether `text` is an origin exactly as browsers serialise it (RFC 6454 section 6.2): an entry
/// in any other form would silently never match.
pub(super) fn is_origin(text: &str) -> bool {
    if text == "null" {
        return true;
    }
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    // A colon inside the brackets of an IPv6 address does not introduce a port.
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    is_scheme(scheme) && is_host(host) && port.is_none_or(|port| is_explicit_port(scheme, port))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
    }
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
}

/// A port that a browser would write: no leading zero, and not the default of its scheme.
fn is_explicit_port(scheme: &str, port: &str) -> bool {
    let default = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => 0,
    };
    port.parse::<u16>()
        .is_ok_and(|number| number != 0 && number != default && number.to_string() == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for token in ["chat", "v1.json", "a", "!#$%&'*+-.^_`|~09AZ"] {
            assert!(is_token(token), "{token}");
        }
        for other in ["", "a b", "a,b", "a/b", "\"a\"", "ä", "a\n"] {
            assert!(!is_token(other), "{other}");
        }
    }

    #[test]
    fn paths() {
        for path in ["/", "/echo", "/a/b.c", "//", "/%2fx", "/a;b=c@d:e"] {
            assert!(is_path(path), "{path}");
        }
        for other in ["", "echo", "/a?b", "/a#b", "/a b", "/%", "/%2", "/%zz", "/ä", "/\n", "/\\"]
        {
            assert!(!is_path(other), "{other}");
        }
    }

    #[test]
    fn origins() {
        for origin in [
            "null",
            "https://a.example",
            "http://a.example:8080",
            "http://127.0.0.1:1",
            "http://[::1]",
            "http://[2001:db8::1]:65535",
            "chrome-extension://abcdef",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "",
            "*",
            "a.example",
            "://a.example",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://A.example",
            "HTTPS://a.example",
            "https://a.example:443",
            "http://a.example:80",
            "http://a.example:",
            "http://a.example:0",
            "http://a.example:080",
            "http://a.example:65536",
            "http://a.example:+1",
            "http://user@a.example",
            "http://[::1",
            "http://[::1]x",
            "http://[0:0::1]",
            "http://::1",
            "http://bücher.example",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
