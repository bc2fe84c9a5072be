//! The host and port that a request or an origin names (RFC 9110 §7.2, RFC 3986 §3.2).

use std::fmt;

use super::percent::escapes_are_well_formed;

/// `host[:port]`: never empty, without user information.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authority<'b> {
    host: &'b str,
    port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Parses `uri-host [ ":" [ port ] ]`; `None` if `text` is anything else or names no host.
    pub(crate) fn parse(text: &'b [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        // An IPv6 literal has colons inside its brackets.
        let host_bytes = match text.strip_prefix('[') {
            Some(literal) => 1 + literal.find(']')? + 1,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at_checked(host_bytes)?;
        let port = match port.strip_prefix(':') {
            Some(digits) => parse_port(digits)?,
            None if port.is_empty() => None,
            None => return None,
        };
        is_host(host).then_some(Self { host, port })
    }

    /// Whether `text` is `host[:port]`.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        Authority::parse(text.as_bytes()).is_some()
    }

    /// The host as it was sent: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &'b str {
        self.host
    }

    /// The port, if one was named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same host, in any letter case (RFC 9110 §4.2.3).
    pub fn has_same_host(&self, other: &Authority<'_>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.host)?;
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Authority<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Authority({self})")
    }
}

/// The port of a URI that names none (RFC 9110 §4.2, RFC 6455 §3).
pub(super) fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"ws") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss") {
        Some(443)
    } else {
        None
    }
}

/// Parses `port = *DIGIT`; no digits mean the default port (RFC 3986 §3.2.3).
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    // `parse` alone would also accept a plus sign.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok().map(Some) } else { None }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|literal| literal.strip_suffix(']')) {
        Some(address) => is_ipv6_address(address),
        None => is_registered_name(host),
    }
}

/// Checks the characters only, because hosts are compared as text and never connected to.
fn is_ipv6_address(address: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    address.bytes().all(characters) && address.bytes().filter(|&byte| byte == b':').count() >= 2
}

/// `reg-name` (RFC 3986 §3.2.2), which includes IPv4 addresses.
fn is_registered_name(name: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    !name.is_empty() && name.bytes().all(characters) && escapes_are_well_formed(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|authority| (authority.host(), authority.port()))
    }

    #[test]
    fn reads_host_and_port() {
        assert_eq!(parts("example.com"), Some(("example.com", None)));
        assert_eq!(parts("example.com:8080"), Some(("example.com", Some(8080))));
        assert_eq!(parts("example.com:"), Some(("example.com", None)));
        assert_eq!(parts("127.0.0.1:0"), Some(("127.0.0.1", Some(0))));
        assert_eq!(parts("[::1]"), Some(("[::1]", None)));
        assert_eq!(parts("[2001:DB8::192.0.2.1]:443"), Some(("[2001:DB8::192.0.2.1]", Some(443))));
        assert_eq!(parts("_a~b!c%41"), Some(("_a~b!c%41", None)));
    }

    #[test]
    fn refuses_what_is_not_host_and_port() {
        let refused = [
            "",
            ":",
            ":80",
            "a b",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "user@a",
            "a/b",
            "a?b",
            "a#b",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[]",
            "[a]",
            "[fe80::1%25eth0]",
            "::1",
            "a%",
            "a%4g",
            "\u{e9}",
            "a\0",
            "a\\b",
            "a]",
            "[[::1]]",
            "a,b:1:",
        ];
        for text in refused {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }

    #[test]
    fn hosts_compare_without_case() {
        let upper = Authority::parse(b"EXAMPLE.com:1").unwrap();
        let lower = Authority::parse(b"example.COM").unwrap();
        assert!(upper.has_same_host(&lower));
        assert!(!upper.has_same_host(&Authority::parse(b"example.org").unwrap()));
    }

    #[test]
    fn default_ports_follow_the_scheme() {
        assert_eq!(default_port(b"HTTP"), Some(80));
        assert_eq!(default_port(b"ws"), Some(80));
        assert_eq!(default_port(b"https"), Some(443));
        assert_eq!(default_port(b"WSS"), Some(443));
        assert_eq!(default_port(b"ftp"), None);
    }

    proptest! {
        #[test]
        fn shows_what_it_read(
            host in "[a-z0-9.-]{1,20}|\\[[0-9a-f]{0,4}::[0-9a-f]{0,4}\\]",
            port: Option<u16>,
        ) {
            let text = match port {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            };
            let authority = Authority::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((authority.host(), authority.port()), (host.as_str(), port));
            prop_assert_eq!(authority.to_string(), text);
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Authority::parse(&text);
        }
    }
}
