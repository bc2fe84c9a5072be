//! The name of a channel, taken apart.

use thiserror::Error;

/// The longest name of a channel, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The name of a channel: `$` for a private one, then the namespace and `:`, then anything, then `#` and the
/// users that may enter. All parts but the middle are optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelName<'n> {
    whole: &'n str,
    namespace: &'n str,
    users: Option<&'n str>,
}

/// A text cannot be the name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidChannel {
    /// It has no byte.
    #[error("the name of a channel must not be empty")]
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    #[error("the name of a channel has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It has characters beyond ASCII, or control characters.
    #[error("the name of a channel must be printable ASCII")]
    NotAscii,
}

impl<'n> ChannelName<'n> {
    /// Takes a name apart.
    ///
    /// # Errors
    /// [`InvalidChannel`], the first that is wrong in the order of its variants.
    pub fn parse(whole: &'n str) -> Result<Self, InvalidChannel> {
        if whole.is_empty() {
            return Err(InvalidChannel::Empty);
        }
        if whole.len() > NAME_BYTES_MAX {
            return Err(InvalidChannel::TooLong);
        }
        if !whole.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidChannel::NotAscii);
        }
        let rest = whole.strip_prefix('$').unwrap_or(whole);
        let namespace = rest.split_once(':').map_or("", |(namespace, _)| namespace);
        let users = rest.rsplit_once('#').map(|(_, users)| users);
        Ok(Self { whole, namespace, users })
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &'n str {
        self.whole
    }

    /// The namespace that it names; empty for the default one.
    #[must_use]
    pub fn namespace(&self) -> &'n str {
        self.namespace
    }

    /// Whether only a token lets a client in.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.whole.starts_with('$')
    }

    /// Whether only some users may enter.
    #[must_use]
    pub fn is_user_limited(&self) -> bool {
        self.users.is_some()
    }

    /// Whether it is limited to users and this is one of them. A user without a name is none.
    #[must_use]
    pub fn admits(&self, user: &str) -> bool {
        let mut users = self.users.into_iter().flat_map(|users| users.split(','));
        !user.is_empty() && users.any(|own| own == user)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a client names, nothing panics, and the parts are parts of it.
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[$:#,a-c]{0,12}|\\PC{0,300}") {
            match ChannelName::parse(&text) {
                Ok(name) => {
                    prop_assert_eq!(name.as_str(), &*text);
                    prop_assert!(text.contains(name.namespace()));
                    prop_assert_eq!(name.is_user_limited(), text.contains('#'));
                    prop_assert!(!name.admits(""));
                }
                Err(InvalidChannel::Empty) => prop_assert!(text.is_empty()),
                Err(InvalidChannel::TooLong) => prop_assert!(text.len() > NAME_BYTES_MAX),
                Err(InvalidChannel::NotAscii) => {
                    prop_assert!(!text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                }
            }
        }
    }

    #[test]
    fn a_name_tells_its_namespace_and_its_users() {
        let parts = |text| {
            let name = ChannelName::parse(text).unwrap();
            (name.namespace(), name.is_private(), name.is_user_limited())
        };
        assert_eq!(parts("news"), ("", false, false));
        assert_eq!(parts("chat:index:1"), ("chat", false, false));
        assert_eq!(parts("$chat:index"), ("chat", true, false));
        assert_eq!(parts("$index"), ("", true, false));
        assert_eq!(parts("chat:room#42"), ("chat", false, true));
        let name = ChannelName::parse("dialog#42,43").unwrap();
        let admitted = ["42", "43", "4", "42,43", ""].map(|user| name.admits(user));
        assert_eq!(admitted, [true, true, false, false, false]);
        assert!(!ChannelName::parse("open").unwrap().admits("42"));
    }
}
