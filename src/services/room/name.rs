//! Names of members and rooms.

use std::sync::Arc;

use thiserror::Error;

/// Longest name of a member or a room, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum NameError {
    #[error("it must not hold control characters or invisible characters")]
    Character,
    #[error("it must not be empty")]
    Empty,
    #[error("it must not be longer than {NAME_BYTES_MAX} bytes of UTF-8")]
    TooLong,
}

/// Trims white space and checks the rest.
pub(super) fn check_name(text: &str) -> Result<Arc<str>, NameError> {
    let name = text.trim();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.chars().any(|character| character.is_control() || is_invisible(character)) {
        return Err(NameError::Character);
    }
    Ok(name.into())
}

/// Whether a text is a name without trimming.
pub(crate) fn is_name(text: &str) -> bool {
    check_name(text).is_ok_and(|name| *name == *text)
}

/// Whether a character has no glyph of its own (soft hyphen, joiners, bidirectional controls, line
/// separators, tags): with them two names could look the same, reverse the text around them, or
/// break the line that holds them.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_text_is_a_name() {
        for name in ["bob", "张三", "Zoë O'Neil", "🐙", "a: b", "null", &"x".repeat(64)] {
            assert_eq!(check_name(name).as_deref(), Ok(name));
        }
        assert_eq!(check_name(" \t bob\r\n").as_deref(), Ok("bob"));
        assert!(is_name("Zoë O'Neil"));
        assert!(!is_name("bob "));
    }

    #[test]
    fn empty_long_and_invisible_names_are_refused() {
        for empty in ["", " ", "\r\n\t", "\u{3000}"] {
            assert_eq!(check_name(empty), Err(NameError::Empty), "{empty:?}");
        }
        let long = "é".repeat(33);
        assert_eq!(check_name(&long), Err(NameError::TooLong));
        for invisible in
            ["a\nb", "a\0b", "\u{1b}[31mbob", "b\u{200d}ob", "bob\u{202e}", "\u{feff}b"]
        {
            assert_eq!(check_name(invisible), Err(NameError::Character), "{invisible:?}");
        }
    }
}
