//! Certificates that clients show in their TLS handshake.

use crate::config::declare::keys;
use crate::config::word::{one_of, words};
use crate::services::identity::CertificateName;

keys! {
    /// Certificates that clients show in their TLS handshake.
    "identity." pub struct CertificateOptions {
        /// What of a client's certificate is the user: of its subject the common name or the whole, or of its
        /// alternative names the DNS name, the mail address or the URI.
        pub certificate_user: CertificateName {
            default: CertificateName::CommonName,
            rule: one_of::<CertificateName>(),
            reload: true,
            reached: "A certificate with no such name, or with several, is refused with 403.",
        }
    }
}

words! {
    CertificateName:
    "common_name" = CommonName,
    "dns" = Dns,
    "email" = Email,
    "subject" = Subject,
    "uri" = Uri,
}
