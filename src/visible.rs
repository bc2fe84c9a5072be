//! Makes control characters in received text visible, so that a terminal does not execute them.
//!
//! Escape sequences, C1 controls included, can move the cursor, rename the window or insert input
//! on the user's behalf. Controls of the text direction make a line look as if it said something
//! else.

use std::borrow::Cow;

/// Replaces control characters, except tab and line feed, by their Rust escapes such as `\u{1b}`.
#[cfg(feature = "client")]
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_unsafe(character) && !matches!(character, '\t' | '\n'))
}

/// Replaces all control characters, so that the text stays one line.
pub(crate) fn visible_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// Appends text to `output` with control characters other than tab replaced. What is not UTF-8 is
/// replaced too.
pub(crate) fn push_visible(text: &[u8], output: &mut Vec<u8>) {
    if !text.iter().fold(false, |found, &byte| found | may_be_unsafe(byte)) {
        return output.extend_from_slice(text);
    }
    for character in String::from_utf8_lossy(text).chars() {
        if is_unsafe(character) && character != '\t' {
            output.extend(character.escape_default().map(|escaped| escaped as u8));
        } else {
            output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Whether a terminal would act on the character: C0 and C1 controls and DEL, Unicode's line and
/// paragraph separator, and the twelve characters with the property `Bidi_Control` (UAX #9).
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// Whether the byte may begin the UTF-8 of an unsafe character. Text without such bytes, which is
/// most text, need not be looked at by character.
fn may_be_unsafe(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') | matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2)
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_without_controls_is_unchanged() {
        for text in ["", "hello", "张三: 你好\n\tzwei \\ Zeilen", "👩‍👩‍👧 שלום"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn controls_are_escaped() {
        assert_eq!(visible("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(visible("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(visible("over\rwritten\0\u{7f}"), "over\\rwritten\\u{0}\\u{7f}");
    }

    #[test]
    fn directions_are_escaped() {
        assert_eq!(visible("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
        assert_eq!(visible_line("\u{2028}\u{200f}\u{61c}"), "\\u{2028}\\u{200f}\\u{61c}");
    }

    #[test]
    fn bytes_that_may_be_unsafe_are_those_that_begin_unsafe_characters() {
        for character in ('\0'..=char::MAX).filter(|&character| is_unsafe(character)) {
            let first = character.to_string().as_bytes()[0];
            assert_eq!(may_be_unsafe(first), character != '\t', "{character:?}");
        }
        let mut output = b"before".to_vec();
        push_visible(b"caf\xe9\x1b", &mut output);
        assert_eq!(str::from_utf8(&output), Ok("beforecaf\u{fffd}\\u{1b}"));
    }

    #[test]
    fn line_breaks_in_a_line_are_escaped() {
        assert_eq!(visible_line("a\nb\tc"), "a\\nb\\tc");
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(
            text in "(\\PC|\u{1b}|\r|\n|\t|\u{9b}|[\u{2020}-\u{2070}]|\u{61c}|é|漢){0,20}",
        ) {
            prop_assert!(!visible_line(&text).contains(is_unsafe));
            let rest = visible(&text).replace(['\t', '\n'], "");
            prop_assert!(!rest.contains(is_unsafe));
            let mut output = Vec::new();
            push_visible(text.as_bytes(), &mut output);
            let expected = visible_line(&text).replace("\\t", "\t");
            prop_assert_eq!(String::from_utf8(output).unwrap(), expected);
        }
    }
}
