//! The certificate that a client has shown in its TLS handshake, and proved to have.

use std::borrow::Cow;
use std::sync::Arc;

use crate::certificates::common_name_of;
use crate::effects::{Checked, Identity, IdentityCheck, IdentityOutcome, Inquiry, Presented};
use crate::http::Rejection;

/// Identities of certificates.
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    name: Arc<str>,
    user: CertificateName,
}

/// What of a certificate names the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of its subject, of which there must be one.
    CommonName,
    /// The whole subject, as in RFC 4514.
    Subject,
}

impl CertificateIdentity {
    /// The `[[identity]]` called `name`, whose users are named by this part of their certificates.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, user: CertificateName) -> Self {
        Self { name: name.into(), user }
    }
}

impl IdentityCheck for CertificateIdentity {
    fn check(&self, presented: &Presented<'_>, _: &mut Inquiry<'_>) -> Checked {
        let Some(subject) = presented.subject() else { return Checked::Absent };
        let user = match self.user {
            CertificateName::CommonName => common_name_of(subject).map(Cow::Owned),
            CertificateName::Subject => Some(Cow::Borrowed(subject)),
        };
        let identity = user.and_then(|user| Identity::new(&self.name, &user).ok());
        Checked::Now(match identity {
            Some(identity) => IdentityOutcome::Admitted(Box::new(identity)),
            None => IdentityOutcome::Refused(Rejection::forbidden(
                "the client's certificate names no user, or more than one",
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{IdentitySender, Peer};
    use crate::key::ConnKey;
    use crate::timer::WallTime;

    #[test]
    fn a_certificate_names_its_user() {
        let outcome = |user, subject| {
            let presented = Presented {
                request: None,
                paths: &[],
                address: None,
                is_from_trusted_proxy: false,
                subject,
                wall_now: WallTime(0),
            };
            let peer = Peer { loop_index: 0, key: ConnKey { index: 0, generation: 1 } };
            let sender = IdentitySender::new(Arc::new(|_, _| {}));
            let mut inquiry = Inquiry { peer, sender: &sender, work: 0 };
            match CertificateIdentity::new("devices", user).check(&presented, &mut inquiry) {
                Checked::Absent => "absent".to_owned(),
                Checked::Now(IdentityOutcome::Admitted(own)) => own.user().to_string(),
                Checked::Now(_) | Checked::Later => "refused".to_owned(),
            }
        };
        let (common, whole) = (CertificateName::CommonName, CertificateName::Subject);
        assert_eq!(outcome(common, None), "absent");
        assert_eq!(outcome(common, Some(r"CN=device\, 7,O=Example")), "device, 7");
        assert_eq!(outcome(whole, Some("CN=a,O=b")), "CN=a,O=b");
        assert_eq!(outcome(common, Some("O=Example")), "refused");
        assert_eq!(outcome(common, Some("CN=a,CN=b")), "refused");
        assert_eq!(outcome(common, Some(r"CN=a\0ab")), "refused");
    }
}
