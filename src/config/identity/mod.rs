//! How a client proves who it is: the `[[identity]]` tables, which routes name.

mod callback;
mod certificate;
mod jwt;
mod place;
mod redis_options;
mod stated;
mod token;

use super::declare::{Entry, Keys as _, keys};
use super::reader::TableReader;
use super::refusal::Refusal;
use super::rule::Rule;
use super::word::{one_of, words};

pub use callback::{BackendOptions, CallbackOptions};
pub use certificate::CertificateOptions;
pub use jwt::{JwtOptions, TokenKey};
pub use place::{PlaceKind, TokenPlace};
pub use redis_options::RedisOptions;
pub use stated::{CookieOptions, HeaderOptions, QueryOptions};
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
    /// By a backend, which is asked over HTTP.
    Callback(Box<CallbackOptions>, BackendOptions),
    /// By the TLS handshake: a certificate names the user.
    Certificate(CertificateOptions),
    /// Nowhere: a cookie states the user.
    Cookie(CookieOptions),
    /// By a proxy in front, which states the user in a header.
    Header(HeaderOptions),
    /// By a signature: a token names the user.
    Jwt(Box<JwtOptions>, BackendOptions, Vec<TokenKey>),
    /// Nowhere: the query states the user.
    Query(QueryOptions),
    /// In Redis, which holds a token under a key with the name.
    Redis(TokenPlace, RedisOptions),
    /// In the configuration, which holds names and their tokens.
    Tokens(TokenPlace, Vec<Token>),
}

impl IdentityKind {
    /// The word for it in a file.
    pub fn word(&self) -> IdentityWord {
        match self {
            Self::Callback(..) => IdentityWord::Callback,
            Self::Certificate(_) => IdentityWord::Certificate,
            Self::Cookie(_) => IdentityWord::Cookie,
            Self::Header(_) => IdentityWord::Header,
            Self::Jwt(..) => IdentityWord::Jwt,
            Self::Query(_) => IdentityWord::Query,
            Self::Redis(..) => IdentityWord::Redis,
            Self::Tokens(..) => IdentityWord::Tokens,
        }
    }

    /// Every key of this kind alone, with its value.
    pub(super) fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Callback(own, backend) => {
                own.entries().into_iter().chain(backend.entries()).collect()
            }
            Self::Certificate(own) => own.entries(),
            Self::Cookie(own) => own.entries(),
            Self::Header(own) => own.entries(),
            Self::Jwt(own, backend, _) => {
                own.entries().into_iter().chain(backend.entries()).collect()
            }
            Self::Query(own) => own.entries(),
            Self::Redis(place, own) => place.entries().into_iter().chain(own.entries()).collect(),
            Self::Tokens(place, _) => place.entries(),
        }
    }

    /// Whether clients show it in segments of the path, which a route needs then.
    pub(super) fn is_in_path(&self) -> bool {
        match self {
            Self::Redis(place, _) | Self::Tokens(place, _) => place.place == PlaceKind::Path,
            Self::Callback(..)
            | Self::Certificate(_)
            | Self::Cookie(_)
            | Self::Header(_)
            | Self::Jwt(..)
            | Self::Query(_) => false,
        }
    }
}

impl Identity {
    pub(super) fn read(table: &TableReader<'_>) -> Result<Self, Refusal> {
        let IdentityKeys { name, kind } = IdentityKeys::read(table)?;
        let kind = match kind {
            IdentityWord::Callback => {
                let own = Box::new(CallbackOptions::read(table)?);
                IdentityKind::Callback(own, BackendOptions::read(table)?)
            }
            IdentityWord::Certificate => {
                IdentityKind::Certificate(CertificateOptions::read(table)?)
            }
            IdentityWord::Cookie => IdentityKind::Cookie(CookieOptions::read(table)?),
            IdentityWord::Header => IdentityKind::Header(HeaderOptions::read(table)?),
            IdentityWord::Jwt => {
                let keys = table.tables("keys");
                let keys = keys.iter().map(TokenKey::read).collect::<Result<_, _>>()?;
                let own = Box::new(JwtOptions::read(table)?);
                IdentityKind::Jwt(own, BackendOptions::read(table)?, keys)
            }
            IdentityWord::Query => IdentityKind::Query(QueryOptions::read(table)?),
            IdentityWord::Redis => {
                IdentityKind::Redis(TokenPlace::read(table)?, RedisOptions::read(table)?)
            }
            IdentityWord::Tokens => {
                let tokens = table.tables("tokens");
                let tokens = tokens.iter().map(Token::read).collect::<Result<_, _>>()?;
                IdentityKind::Tokens(TokenPlace::read(table)?, tokens)
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
        /// What proves who a client is: a token in this file or in Redis, a signed token, a certificate, or a
        /// backend that is asked; or where the user is stated, by a trusted proxy or by the client itself.
        pub(super) kind: IdentityWord {
            rule: one_of::<IdentityWord>(),
            reload: true,
        }
    }
}

/// The word for a kind of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityWord {
    /// [`IdentityKind::Callback`].
    Callback,
    /// [`IdentityKind::Certificate`].
    Certificate,
    /// [`IdentityKind::Cookie`].
    Cookie,
    /// [`IdentityKind::Header`].
    Header,
    /// [`IdentityKind::Jwt`].
    Jwt,
    /// [`IdentityKind::Query`].
    Query,
    /// [`IdentityKind::Redis`].
    Redis,
    /// [`IdentityKind::Tokens`].
    Tokens,
}

words! {
    IdentityWord:
    "callback" = Callback,
    "certificate" = Certificate,
    "cookie" = Cookie,
    "header" = Header,
    "jwt" = Jwt,
    "query" = Query,
    "redis" = Redis,
    "tokens" = Tokens,
}
