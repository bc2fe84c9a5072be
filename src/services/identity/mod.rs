//! The kinds of identity that need no other server: tokens that the configuration holds, names that a
//! client or a proxy states, and certificates. Tokens in Redis are one of them as well, with what looks
//! them up given from outside.

mod certificate;
mod stated;
mod tokens;

pub use certificate::{CertificateIdentity, CertificateName};
pub use stated::{StatedIdentity, StatedIn};
#[cfg(feature = "redis")]
pub(crate) use tokens::is_same_secret;
pub use tokens::{TokenIdentity, TokenIn, Tokens};

use crate::effects::{IdentityCheck, IdentityOutcome};
use crate::http::Rejection;

/// An identity that nobody has, as where what checks it is missing.
#[derive(Clone, Copy, Debug)]
pub struct NoIdentity;

impl IdentityCheck for NoIdentity {
    fn check(
        &self,
        _: &crate::effects::Presented<'_>,
        _: &mut crate::effects::Inquiry<'_>,
    ) -> crate::effects::Checked {
        let rejection = Rejection::forbidden("nobody is let in here");
        crate::effects::Checked::Now(IdentityOutcome::Refused(rejection))
    }
}

/// 400, where a credential is there and cannot be read, for a reason that shows nothing of it.
fn unreadable(reason: impl Into<String>) -> IdentityOutcome {
    IdentityOutcome::Refused(Rejection::bad_request(reason.into()))
}
