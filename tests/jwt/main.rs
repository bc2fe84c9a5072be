//! Tokens: the vectors of the RFCs, attacks, tokens of another library, and properties.
//!
//! | module | what it tests |
//! |---|---|
//! | `vectors` | the examples of RFC 7515, RFC 7520 and RFC 8037, and Wycheproof's if they are there |
//! | `attacks` | what RFC 8725 warns of: `none`, keys of another kind, `crit`, and keys that tokens bring |
//! | `choice` | which key a token is verified by |
//! | `keys` | what is no key |
//! | `pyjwt` | tokens that PyJWT has made, of every algorithm |

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod signer;
#[path = "../support/skip.rs"]
mod skip;

mod attacks;
mod choice;
mod keys;
mod pyjwt;
mod vectors;
