//! The keys of an identity, of which a token's header chooses.

use super::algorithm::Algorithm;
use super::key::Key;

/// Keys, some with an ID.
#[derive(Debug, Default)]
pub struct KeySet {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kid: Option<String>,
    key: Key,
}

impl KeySet {
    /// Adds a key. One without an ID is tried for tokens that ask for any.
    pub fn add(&mut self, kid: Option<String>, key: Key) {
        self.entries.push(Entry { kid, key });
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys that may have signed a token, in the order in which they were added: those of its
    /// algorithm, and of its key ID if it names one.
    pub(super) fn candidates<'s>(
        &'s self,
        algorithm: Algorithm,
        kid: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Key> {
        let fits = move |entry: &&Entry| {
            let is_asked_for = match (kid, &entry.kid) {
                (Some(asked), Some(own)) => asked == own,
                (None, _) | (_, None) => true,
            };
            entry.key.algorithm() == algorithm && is_asked_for
        };
        self.entries.iter().filter(fits).map(|entry| &entry.key)
    }
}
