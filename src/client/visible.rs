//! Makes control characters in received text visible, so that a terminal does not execute them.

use std::borrow::Cow;

/// Replaces control characters, except tab and line feed, by their Rust escapes such as `\u{1b}`.
/// Escape sequences, C1 controls included, can move the cursor, rename the window or insert input
/// on the user's behalf.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |character| character.is_control() && !matches!(character, '\t' | '\n'))
}

/// Replaces all control characters, so that the text stays one line.
pub(super) fn visible_line(text: &str) -> Cow<'_, str> {
    escape(text, char::is_control)
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
    fn line_breaks_in_a_line_are_escaped() {
        assert_eq!(visible_line("a\nb\tc"), "a\\nb\\tc");
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(text in any::<String>()) {
            prop_assert!(!visible_line(&text).contains(char::is_control));
            let rest = visible(&text).replace(['\t', '\n'], "");
            prop_assert!(!rest.contains(char::is_control));
        }
    }
}
