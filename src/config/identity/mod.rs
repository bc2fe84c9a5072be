//! How a client proves who it is: the `[[identity]]` tables, which routes name.

mod redis_options;
mod token;

use super::declare::{Keys as _, keys, one_of, words};
use super::error::Refusal;
use super::reader::TableReader;
use super::rule::Rule;

pub use redis_options::RedisOptions;
pub use token::Token;

/// One way to prove an identity. A route names those that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name by which routes refer to it.
    pub name: String,
    /// Where the proof is checked, and how.
    pub kind: IdentityKind,
}

/// Where the proof of an identity is checked, with the options of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// In Redis, which holds a token under a key with the name.
    Redis(RedisOptions),
    /// In the configuration, which holds names and their tokens.
    Tokens(Vec<Token>),
}

impl IdentityKind {
    /// The word for it in a file.
    pub fn word(&self) -> IdentityWord {
        match self {
            Self::Redis(_) => IdentityWord::Redis,
            Self::Tokens(_) => IdentityWord::Tokens,
        }
    }
}

impl Identity {
    pub(super) fn read(table: &TableReader<'_>) -> Result<Self, Refusal> {
        let IdentityKeys { name, kind } = IdentityKeys::read(table)?;
        let kind = match kind {
            IdentityWord::Redis => IdentityKind::Redis(RedisOptions::read(table)?),
            IdentityWord::Tokens => {
                let tokens = table.tables("tokens");
                IdentityKind::Tokens(tokens.iter().map(Token::read).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { name, kind })
    }

    /// The keys that every kind takes.
    pub(super) fn keys(&self) -> IdentityKeys {
        IdentityKeys { name: self.name.clone(), kind: self.kind.word() }
    }
}

keys! {
    /// The keys of every `[[identity]]`.
    "identity." pub(super) struct IdentityKeys {
        /// The name by which routes refer to it.
        pub(super) name: String {
            rule: Rule::Name,
            reload: true,
        }
        /// Where tokens are checked: against those in this file, or in Redis.
        pub(super) kind: IdentityWord {
            rule: one_of::<IdentityWord>(),
            reload: true,
        }
    }
}

/// The word for a kind of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityWord {
    /// [`IdentityKind::Redis`].
    Redis,
    /// [`IdentityKind::Tokens`].
    Tokens,
}

words! { IdentityWord: "redis" = Redis, "tokens" = Tokens }
