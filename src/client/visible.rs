//! Text of others made harmless: what a terminal would obey becomes visible.

use std::borrow::Cow;

/// The text with its control characters but tab and line feed as Rust would escape them, such as
/// `\u{1b}`. Escape sequences, the eight-bit ones too, can move the cursor, rename the window or
/// type on the user's behalf.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |character| character.is_control() && !matches!(character, '\t' | '\n'))
}

/// The same as one line: every control character is escaped.
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
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "hello", "张三: 你好\n\tzwei \\ Zeilen", "👩‍👩‍👧 שלום"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn controls_become_visible() {
        assert_eq!(visible("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(visible("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(visible("over\rwritten\0\u{7f}"), "over\\rwritten\\u{0}\\u{7f}");
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(visible_line("a\nb\tc"), "a\\nb\\tc");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>()) {
            prop_assert!(!visible_line(&text).contains(char::is_control));
            let rest = visible(&text).replace(['\t', '\n'], "");
            prop_assert!(!rest.contains(char::is_control));
        }
    }
}
