//! Names of members and rooms.

use std::borrow::Cow;
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    DefaultIgnorableCodePoint, Emoji, EmojiModifier, ExtendedPictographic, GeneralCategory,
};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData};
use thiserror::Error;

/// Longest name of a member or a room, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(in crate::services) enum NameError {
    #[error("it must not hold control characters or invisible characters")]
    Character,
    #[error("it must not be empty")]
    Empty,
    #[error("it must show something, not only marks and spaces")]
    Invisible,
    #[error("it must not be longer than {NAME_BYTES_MAX} bytes of UTF-8")]
    TooLong,
}

/// Brings a text into the form in which names are compared and shown, and checks it.
///
/// Texts that look the same become the same name or none: canonically equivalent texts get one form
/// (NFC, UAX #15), white space becomes single spaces, and what only joins or styles emoji is
/// dropped. Any other character that shows nothing is refused.
pub(in crate::services) fn check_name(text: &str) -> Result<Arc<str>, NameError> {
    let text = text.trim();
    if text.len() > UNNORMALIZED_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let plain = without_emoji_joints(text);
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&plain);
    if composed.contains(is_hidden) {
        return Err(NameError::Character);
    }
    let name = with_single_spaces(&composed);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.chars().all(|character| character == ' ' || is_mark(character)) {
        return Err(NameError::Invisible);
    }
    Ok(name.into())
}

/// Whether a text is a name as it stands.
pub(crate) fn is_name(text: &str) -> bool {
    check_name(text).is_ok_and(|name| *name == *text)
}

/// Drops variation selectors behind emoji, which choose between a coloured and a plain picture, and
/// joiners between two of them. Whether a joined sequence is one picture or several depends on the
/// font of the reader, so as names a sequence and its parts are the same.
fn without_emoji_joints(text: &str) -> Cow<'_, str> {
    if !text.contains([JOINER, TEXT_STYLE, EMOJI_STYLE]) {
        return Cow::Borrowed(text);
    }
    let emoji = CodePointSetData::new::<Emoji>();
    let picture = CodePointSetData::new::<ExtendedPictographic>();
    let modifier = CodePointSetData::new::<EmojiModifier>();
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let before = kept.chars().next_back().unwrap_or(' ');
        let is_dropped = match character {
            TEXT_STYLE | EMOJI_STYLE => emoji.contains(before),
            JOINER => {
                let joins = characters.peek().is_some_and(|next| picture.contains(*next));
                joins && (picture.contains(before) || modifier.contains(before))
            }
            _ => false,
        };
        if !is_dropped {
            kept.push(character);
        }
    }
    Cow::Owned(kept)
}

/// Makes each run of white space one space, and drops it at both ends: all of it looks alike, and
/// pages show a run as one.
fn with_single_spaces(text: &str) -> String {
    let mut single = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !single.is_empty() {
            single.push(' ');
        }
        single.push_str(word);
    }
    single
}

/// Whether a character shows nothing of its own: by the property `Default_Ignorable_Code_Point`
/// (joiners, fillers, selectors, tags, controls of direction), as a format character or separator
/// of lines, or as the one blank among the symbols.
fn is_hidden(character: char) -> bool {
    let is_format = matches!(
        GENERAL_CATEGORIES.get(character),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::Surrogate
    );
    is_format
        || character == BRAILLE_BLANK
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Whether a character only changes the one before it.
fn is_mark(character: char) -> bool {
    matches!(
        GENERAL_CATEGORIES.get(character),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

const GENERAL_CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> =
    CodePointMapData::<GeneralCategory>::new();
/// Longest text that is normalised at all; composing makes text at most a few times shorter.
const UNNORMALIZED_BYTES_MAX: usize = 8 * NAME_BYTES_MAX;
const JOINER: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const BRAILLE_BLANK: char = '\u{2800}';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        for blank in ["\u{301}", "\u{301} \u{20dd}"] {
            assert_eq!(check_name(blank), Err(NameError::Invisible), "{blank:?}");
        }
        assert_eq!(check_name(&"x".repeat(1 << 20)), Err(NameError::TooLong));
        let long = "é".repeat(33);
        assert_eq!(check_name(&long), Err(NameError::TooLong));
        for invisible in
            ["a\nb", "a\0b", "\u{1b}[31mbob", "b\u{200d}ob", "bob\u{202e}", "\u{feff}b"]
        {
            assert_eq!(check_name(invisible), Err(NameError::Character), "{invisible:?}");
        }
        for code in [
            0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x180b, 0x180f, 0x200b, 0x200e, 0x2028,
            0x2060, 0x2064, 0x2800, 0x3164, 0xfe00, 0xfe0f, 0xffa0, 0xfff0, 0xfff9, 0x1_bca0,
            0x1_d173, 0xe_0001, 0xe_0041, 0xe_0100, 0xe_0fff,
        ] {
            let character = char::from_u32(code).unwrap();
            let name = format!("bo{character}b");
            assert_eq!(check_name(&name), Err(NameError::Character), "{code:x}");
            assert!(check_name(&character.to_string()).is_err(), "{code:x}");
        }
    }

    #[test]
    fn texts_that_look_the_same_become_the_same_name() {
        for (text, name) in [
            ("Zoe\u{308}", "Zo\u{eb}"),
            ("\u{212b}ngstro\u{308}m", "\u{c5}ngstr\u{f6}m"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("a\u{a0}b", "a b"),
            ("a \u{2003} \u{3000}b", "a b"),
            ("bob \u{2764}\u{fe0f}", "bob \u{2764}"),
            ("1\u{fe0f}\u{20e3}", "1\u{20e3}"),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{1f4bb}"),
            (
                "\u{1f469}\u{1f3fd}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f468}",
                "\u{1f469}\u{1f3fd}\u{2764}\u{1f468}",
            ),
            ("\u{1f1e9}\u{1f1ea}", "\u{1f1e9}\u{1f1ea}"),
        ] {
            assert_eq!(check_name(text).as_deref(), Ok(name), "{text:?}");
            assert_eq!(is_name(text), text == name, "{text:?}");
        }
        for misplaced in
            ["\u{1f469}\u{200d}", "\u{200d}\u{1f469}", "\u{1f469}\u{200d}b", "b\u{fe0f}"]
        {
            assert_eq!(check_name(misplaced), Err(NameError::Character), "{misplaced:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_stays_what_it_is(
            text in "(\\PC|[a-z \u{300}-\u{36f}]|\u{200d}|\u{fe0f}|\u{1f469}|\u{2764}|\u{3164}){0,12}",
        ) {
            if let Ok(name) = check_name(&text) {
                prop_assert!(is_name(&name), "{:?}", name);
                prop_assert!(!name.contains("  ") && name.len() <= NAME_BYTES_MAX);
                prop_assert!(!name.chars().any(is_hidden));
            }
        }

        #[test]
        fn hidden_characters_make_no_second_name(
            code in prop::sample::select(vec!['\u{ad}', '\u{34f}', '\u{200c}', '\u{200d}', '\u{2062}', '\u{3164}', '\u{fe0e}', '\u{e0020}']),
            name in "[a-z]{1,5}", at in 0..5_usize,
        ) {
            let (before, after) = name.split_at(at.min(name.len()));
            let text = format!("{before}{code}{after}");
            prop_assert!(check_name(&text).is_err());
        }
    }
}
