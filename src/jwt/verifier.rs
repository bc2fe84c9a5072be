//! The verification of a token: its signature, then its claims.

use super::claims::{ClaimRules, Claims, Naming};
use super::error::TokenError;
use super::key_set::KeySet;
use super::token::Token;
use crate::timer::WallTime;
use crate::work::prices;

/// What tokens of an identity must be like. It knows no keys and no clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// The longest token that is read, in bytes.
    pub token_bytes_max: usize,
    /// What is asked of claims.
    pub rules: ClaimRules,
}

/// What became of a token, and what that cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The claims of a token that is accepted.
    pub result: Result<Claims, TokenError>,
    /// Units of [`crate::work`].
    pub work: u64,
}

impl Verifier {
    /// Verifies a token at a time. No claim is read before a signature is right.
    #[must_use]
    pub fn verify(&self, keys: &KeySet, token: &str, now: WallTime) -> Verified {
        self.verify_naming(keys, token, now, Naming::Required)
    }

    /// As [`Verifier::verify`], for tokens that may have to name no user.
    #[must_use]
    pub fn verify_naming(
        &self,
        keys: &KeySet,
        token: &str,
        now: WallTime,
        naming: Naming,
    ) -> Verified {
        let mut work = prices::bytes(token.len().min(self.token_bytes_max)) + prices::JWT_HEADER;
        let result = self.verify_with(keys, token, (now, naming), &mut work);
        Verified { result, work }
    }

    fn verify_with(
        &self,
        keys: &KeySet,
        text: &str,
        (now, naming): (WallTime, Naming),
        work: &mut u64,
    ) -> Result<Claims, TokenError> {
        let token = Token::parse(text, self.token_bytes_max)?;
        let signature = token.signature()?;
        let mut tried = 0;
        for key in keys.candidates(token.algorithm, token.kid.as_deref()) {
            // A step of a loop has a longest time: of many keys without IDs only the first are tried.
            if tried > 0 && *work + key.price() > prices::STEP_MAX {
                break;
            }
            tried += 1;
            *work += key.price();
            if key.verifies(token.signed.as_bytes(), &signature) {
                return self.rules.check(&token.claims()?, now, naming);
            }
        }
        Err(if tried == 0 { TokenError::UnknownKey } else { TokenError::Signature })
    }
}
