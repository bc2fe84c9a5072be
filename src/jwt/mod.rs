//! JSON Web Tokens that prove an identity (RFC 7519), as functions of bytes: keys come from others, and
//! so does the time.
//!
//! [`Verifier::verify`] takes a token, a [`KeySet`] and a date, and gives [`Claims`]. A key verifies
//! tokens of exactly one algorithm, which the configuration or the key set names and never the token, so
//! neither `none` nor a public key that is used as a secret gets anywhere (RFC 8725). Keys that a token
//! brings along or points to (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
//!
//! | file | what it is |
//! |---|---|
//! | `algorithm` | the algorithms, and the kind of key that each needs |
//! | `key` | a key that is bound to an algorithm, from a secret, PEM or a JWK |
//! | `key_set`, `jwk_set` | keys by their IDs, and how they come from a JWK set |
//! | `token` | a token taken apart |
//! | `claims` | what claims must say, and what they say of a user |
//! | `shared_secret` | tokens that two parties sign for each other |
//! | `verifier` | all of it together |

mod algorithm;
mod claims;
mod error;
mod jwk_set;
mod key;
mod key_set;
mod shared_secret;
mod token;
mod verifier;

pub use algorithm::Algorithm;
pub use claims::{ClaimRules, Claims, Naming, numeric_date};
pub use error::TokenError;
pub use jwk_set::{JwkSet, NotAJwkSet};
pub use key::{Key, KeyError};
pub use key_set::KeySet;
pub use shared_secret::SharedSecret;
pub use verifier::{Verified, Verifier};
