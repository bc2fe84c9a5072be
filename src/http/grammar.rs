//! Character classes of header fields (RFC 9110 §5.5 and §5.6).

use memchr::memchr;

/// Whether `bytes` is a `token` (RFC 9110 §5.6.2): at least one token character, nothing else.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may be part of a `token`: a letter, a digit or one of ``!#$%&'*+-.^_`|~``.
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN_BYTE[usize::from(byte)]
}

/// By look-up: comparing each byte of a name with all of these ranges takes three times as long.
static IS_TOKEN_BYTE: [bool; 256] = {
    let mut is_token_byte = [false; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        is_token_byte[byte as usize] = matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z'
                | b'^'..=b'z' | b'|' | b'~'
        );
        byte += 1;
    }
    is_token_byte
};

/// Whether `bytes` may be a field value (RFC 9110 §5.5): visible characters, spaces, tabs and
/// octets from 0x80 on; no control characters.
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit the compiler can use vector instructions.
    bytes
        .iter()
        .fold(true, |valid, &byte| valid & ((byte >= b' ' && byte != DELETE) || byte == b'\t'))
}

/// Whether all of `bytes` are visible ASCII characters.
pub(super) fn is_visible_ascii(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |valid, byte| valid & byte.is_ascii_graphic())
}

/// Removes optional whitespace (`OWS`, RFC 9110 §5.6.3) from the start.
///
/// `trim_ascii_start` would also remove line feeds, which must be refused and not hidden.
pub(super) fn trim_whitespace_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Removes optional whitespace (`OWS`, RFC 9110 §5.6.3) from both ends.
pub(super) fn trim_whitespace(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_whitespace_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The parts before and after the first `separator`, or `None` if there is none.
pub(super) fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(separator, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_rfc_9110_section_5_6_2() {
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token_byte(byte), listed, "{byte:#04x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn field_value_bytes_are_those_of_rfc_9110_section_5_5() {
        for byte in 0..=u8::MAX {
            let listed = byte == b' ' || byte == b'\t' || byte.is_ascii_graphic() || byte >= 0x80;
            assert_eq!(is_field_value(&[byte]), listed, "{byte:#04x}");
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn only_spaces_and_tabs_are_whitespace() {
        assert_eq!(trim_whitespace(b" \t a b\t "), b"a b");
        assert_eq!(trim_whitespace(b" \t "), b"");
        assert_eq!(trim_whitespace(b"\x0ca\r"), b"\x0ca\r");
    }

    #[test]
    fn split_once_splits_at_the_first_separator() {
        assert_eq!(split_once(b"a=b=c", b'='), Some((&b"a"[..], &b"b=c"[..])));
        assert_eq!(split_once(b"=", b'='), Some((&b""[..], &b""[..])));
        assert_eq!(split_once(b"abc", b'='), None);
    }
}
