//! The small grammars of configured text: tokens, request paths, names and URLs.

use std::net::IpAddr;

use crate::http::Authority;

/// Whether `text` is a token (RFC 9110 section 5.6.2), as a subprotocol has to be.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether `text` says what clients are told apart by.
pub(super) fn is_hash_key(text: &str) -> bool {
    let name = text.strip_prefix("cookie:").or_else(|| text.strip_prefix("header:"));
    text == "address" || text == "user" || name.is_some_and(is_token)
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

/// Whether `text` is a name of the DNS (RFC 1123 section 2.1) or an IP address, as a certificate can be
/// for, without a wildcard.
pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of a name is no number (RFC 3696 section 2).
    let ends_in_number = text.ends_with(|last: char| last.is_ascii_digit());
    let is_name = text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label) && !ends_in_number;
    is_name || text.parse::<IpAddr>().is_ok()
}

/// Whether `text` is a URL of `https` without user information and fragment.
pub(super) fn is_https_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_visible = rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    is_visible && Authority::parse(authority.as_bytes()).is_some()
}

/// RFC 1035 section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;
/// The longest name as text (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// `pchar` without escapes (RFC 3986 section 3.3), and the separator.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
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
    fn domains() {
        for domain in
            ["localhost", "a.example", "xn--bcher-kva.example", "3.example", "192.0.2.1", "::1"]
        {
            assert!(is_domain(domain), "{domain}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for other in [
            "",
            ".",
            "a.",
            "*.a.example",
            "a_b.example",
            "-a",
            "a b",
            "a:80",
            "[::1]",
            "1.2.3",
            &long,
        ] {
            assert!(!is_domain(other), "{other}");
        }
    }

    #[test]
    fn https_urls() {
        for url in
            ["https://a", "https://a.example:14000/dir?x=y", "https://[::1]/", "https://127.0.0.1"]
        {
            assert!(is_https_url(url), "{url}");
        }
        for other in [
            "",
            "http://a/",
            "https://",
            "https:///a",
            "https://u@a/",
            "https://a/#b",
            "https://a b",
        ] {
            assert!(!is_https_url(other), "{other}");
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
}
