//! For which names certificates are got, from whom, and where they are kept.

use std::path::PathBuf;

/// For which names certificates are got, from whom, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The names and IP addresses of the certificate, not empty.
    pub domains: Vec<String>,
    /// An e-mail address that the authority may write to.
    pub contact: Option<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// PEM file with the authorities that the directory's own certificate must come from; `None` for
    /// those of the system.
    pub directory_ca: Option<PathBuf>,
    /// The folder for the account.
    pub cache_dir: PathBuf,
    /// The file for the certificate and its key, in that folder.
    pub certificate_file: PathBuf,
    /// Days before its end from which a certificate is renewed.
    pub renew_days: u64,
}

impl AcmeSettings {
    /// The contact as a URL (RFC 8555 §7.1.2).
    pub(super) fn contact_url(&self) -> Option<String> {
        let contact = self.contact.as_deref()?;
        Some(if contact.contains(':') { contact.to_owned() } else { format!("mailto:{contact}") })
    }
}
