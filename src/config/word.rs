//! The words that keys accept, each for one value of a type.

use super::rule::Rule;

/// A type of which every value has a word in a file.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every word with its value.
    const WORDS: &'static [(&'static str, Self)];
    /// The words alone.
    const NAMES: &'static [&'static str];

    /// The word for this value.
    fn name(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }
}

/// The rule of a key with these words.
pub(super) const fn one_of<T: Word>() -> Rule {
    Rule::OneOf(T::NAMES)
}

/// Declares the words of an enum: `words! { Order: "sender" = Sender, "room" = Topic }`, in the
/// order in which messages list them.
macro_rules! words {
    ($type:ty: $($word:literal = $variant:ident),+ $(,)?) => {
        impl $crate::config::word::Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
            const NAMES: &'static [&'static str] = &[$($word),+];
        }
    };
}

pub(super) use words;
