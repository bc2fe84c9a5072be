//! The kinds of identity that a loop judges by itself: tokens that the configuration holds, names that a
//! client or a proxy states, certificates, and signed tokens. Tokens in Redis are one of them as well,
//! with what looks them up given from outside, and so are keys of signed tokens that are published.

mod certificate;
mod jwt;
mod stated;
mod token_places;
mod tokens;

pub use certificate::{CertificateIdentity, CertificateName};
pub use jwt::{JwtIdentity, JwtJudge, JwtKeys, JwtVerdict, KeyRefresh, refused_token};
pub use stated::{StatedIdentity, StatedIn};
pub use token_places::TokenPlaces;
#[cfg(feature = "redis")]
pub(crate) use tokens::is_same_secret;
pub use tokens::{TokenIdentity, TokenIn, Tokens};

use crate::effects::{IdentityCheck, IdentityOutcome};
use crate::http::Rejection;

/// An identity that no client has, as where what checks it is missing.
#[derive(Clone, Copy, Debug)]
pub struct NoIdentity;

impl IdentityCheck for NoIdentity {
    fn check(
        &self,
        _: &crate::effects::Presented<'_>,
        _: &mut crate::effects::Inquiry<'_>,
    ) -> crate::effects::Checked {
        let rejection = Rejection::forbidden("no client is let in here");
        crate::effects::Checked::Now(IdentityOutcome::Refused(rejection))
    }
}

/// 400, where a credential is there and cannot be read, for a reason that shows nothing of it.
fn unreadable(reason: impl Into<String>) -> IdentityOutcome {
    IdentityOutcome::Refused(Rejection::bad_request(reason.into()))
}
