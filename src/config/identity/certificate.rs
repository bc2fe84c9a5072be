//! Certificates that clients show in their TLS handshake.

use crate::config::declare::keys;
use crate::config::word::{one_of, words};
use crate::services::identity::CertificateName;

keys! {
    /// Certificates that clients show in their TLS handshake.
    "identity." pub struct CertificateOptions {
        /// What of a client's certificate is the user: the common name of its subject, or the whole subject.
        pub certificate_user: CertificateName {
            default: CertificateName::CommonName,
            rule: one_of::<CertificateName>(),
            reload: true,
            reached: "A certificate with no common name, or with several, is refused with 403.",
        }
    }
}

words! { CertificateName: "common_name" = CommonName, "subject" = Subject }
