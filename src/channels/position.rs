//! How far a stream of publications is.

use std::fmt;

/// Names one stream of publications among all that a channel ever has: a channel whose history was lost has
/// another epoch, so that its offsets are not mistaken for those of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

/// Bytes of an epoch as text.
pub const EPOCH_BYTES: usize = 8;

impl fmt::Display for Epoch {
    /// Eight hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl Epoch {
    /// The epoch with this text; `None` if no epoch has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_one = text.len() == EPOCH_BYTES && text.bytes().all(is_digit);
        is_one.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

/// The epoch that one names who says where it was in a stream. It takes no memory, however long its text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedEpoch {
    /// None is named.
    Any,
    /// This one.
    Of(Epoch),
    /// Something that is the text of no epoch.
    Unknown,
}

impl NamedEpoch {
    /// What a text stands for. An empty one names none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match Epoch::parse(text) {
            _ if text.is_empty() => Self::Any,
            Some(epoch) => Self::Of(epoch),
            None => Self::Unknown,
        }
    }

    /// Whether it is this one by name.
    #[must_use]
    pub fn names(self, epoch: Epoch) -> bool {
        self == Self::Of(epoch)
    }

    /// Whether it is this one, or any.
    #[must_use]
    pub fn admits(self, epoch: Epoch) -> bool {
        self == Self::Any || self.names(epoch)
    }
}

/// A place in a stream: behind the publication with this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The offset of the last publication, from 1; 0 before the first.
    pub offset: u64,
    /// The stream.
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_epoch_is_found_by_its_text_and_by_no_other(number: u32, text in "\\PC{0,10}") {
            let epoch = Epoch(number);
            prop_assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
            prop_assert_eq!(epoch.to_string().len(), EPOCH_BYTES);
            if let Some(found) = Epoch::parse(&text) {
                prop_assert_eq!(found.to_string(), text);
            }
        }

        #[test]
        fn a_text_names_its_epoch_or_none_or_any(number: u32, text in "\\PC{1,10}") {
            let epoch = Epoch(number);
            prop_assert_eq!(NamedEpoch::parse(&epoch.to_string()), NamedEpoch::Of(epoch));
            let named = NamedEpoch::parse(&text);
            let is_own = text == epoch.to_string();
            prop_assert_eq!((named.names(epoch), named.admits(epoch)), (is_own, is_own));
            let any = NamedEpoch::parse("");
            prop_assert_eq!((any.names(epoch), any.admits(epoch)), (false, true));
        }
    }
}
