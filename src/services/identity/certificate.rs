//! The certificate that a client has shown in its TLS handshake, and proved to have.

use std::borrow::Cow;
use std::sync::Arc;

use crate::certificates::{AlternativeName, common_name_of, subject_in};
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
    /// The DNS name among its alternative names, of which there must be one.
    Dns,
    /// The mail address among its alternative names, of which there must be one.
    Email,
    /// The whole subject, as in RFC 4514.
    Subject,
    /// The URI among its alternative names, of which there must be one, such as a SPIFFE ID.
    Uri,
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
        let Some(names) = presented.certificate_names() else { return Checked::Absent };
        let only = |kind: AlternativeName| kind.only_in(names).map(Cow::Borrowed);
        let user = match self.user {
            CertificateName::CommonName => {
                subject_in(names).and_then(common_name_of).map(Cow::Owned)
            }
            CertificateName::Dns => only(AlternativeName::Dns),
            CertificateName::Email => only(AlternativeName::Email),
            CertificateName::Subject => subject_in(names).map(Cow::Borrowed),
            CertificateName::Uri => only(AlternativeName::Uri),
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
        let outcome = |user, certificate_names| {
            let presented = Presented {
                request: None,
                paths: &[],
                address: None,
                is_from_trusted_proxy: false,
                certificate_names,
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
        let names = Some("CN=a\ndns:b.example\nemail:c@d\nemail:e@f\nuri:spiffe://g");
        assert_eq!(outcome(CertificateName::Dns, names), "b.example");
        assert_eq!(outcome(CertificateName::Email, names), "refused", "there are two");
        assert_eq!(outcome(CertificateName::Uri, names), "spiffe://g");
        assert_eq!(outcome(CertificateName::Uri, Some("\nuri:spiffe://g")), "spiffe://g");
        assert_eq!(outcome(whole, Some("\nuri:spiffe://g")), "refused");
    }
}
