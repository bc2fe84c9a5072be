//! Certificates that the gateway gets itself, by ACME (RFC 8555).

use super::declare::keys;
use super::file_path::FilePath;
use super::rule::{Rule, integer};

keys! {
    /// A certificate that the gateway gets and renews itself, by ACME (RFC 8555) with HTTP-01. It stands
    /// behind those of `[[certificate]]`.
    "acme." pub struct AcmeOptions {
        /// The names and IP addresses that the certificate is for. With none there is no such certificate.
        pub domains: Vec<String> {
            default: Vec::new(),
            rule: Rule::Domains,
            reload: true,
        }
        /// An e-mail address that the authority may write to.
        pub contact: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 3, bytes_max: 254 },
            needs: Self::is_on => "acme.domains is empty",
            reload: true,
        }
        /// The URL of the authority's directory. Naming it agrees to the authority's terms of service.
        pub directory: String {
            default: LETS_ENCRYPT.to_owned(),
            rule: Rule::HttpsUrl,
            needs: Self::is_on => "acme.domains is empty",
            reload: true,
        }
        /// PEM file with the authorities that the certificate of the directory must come from, in place
        /// of those of the system.
        pub directory_ca: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::is_on => "acme.domains is empty",
            reload: true,
        }
        /// The folder for the account and the certificate with their keys; it is made if there is none.
        pub cache_dir: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::Folder,
            needs: Self::is_on => "acme.domains is empty",
            reload: true,
        }
        /// Days before its end from which the certificate is renewed; one that lives for less than three
        /// times as long is renewed when a third of its life is left.
        pub renew_days: u64 {
            default: 30,
            rule: integer(1, 365),
            needs: Self::is_on => "acme.domains is empty",
            reload: true,
        }
    }
}

impl AcmeOptions {
    /// Whether there is such a certificate.
    pub fn is_on(&self) -> bool {
        !self.domains.is_empty()
    }

    /// The file that holds the certificate and its key once there is one.
    pub fn certificate_file(&self) -> Option<FilePath> {
        self.cache_dir.as_ref().filter(|_| self.is_on()).map(|own| own.join(CERTIFICATE_FILE))
    }
}

/// The word of `admin.ready_needs` for having a certificate.
pub const NEEDS_CERTIFICATE: &str = "certificate";
/// The file in the cache that holds the certificate, those between it and its authority, and its key.
pub const CERTIFICATE_FILE: &str = "certificate.pem";
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
