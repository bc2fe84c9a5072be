//! The small grammars of configured text: tokens, request paths and origins.

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
}
