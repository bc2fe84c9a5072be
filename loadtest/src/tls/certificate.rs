//! The certificate of the servers that are started here: made anew for each run, in a directory that
//! vanishes with it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::error::TlsSetupError;

/// A key on P-256 and a certificate for 127.0.0.1, ::1 and localhost that it signs itself, in PEM
/// files.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    directory: TempDir,
    certificate: CertificateDer<'static>,
}

impl ServerCertificate {
    pub(crate) fn make() -> Result<Self, TlsSetupError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names = ["127.0.0.1", "::1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "loadtest");
        let certificate = params.self_signed(&key)?;
        let directory = tempfile::Builder::new().prefix("loadtest-tls-").tempdir()?;
        fs::write(directory.path().join(CERTIFICATE), certificate.pem())?;
        fs::write(directory.path().join(KEY), key.serialize_pem())?;
        Ok(Self { directory, certificate: certificate.der().clone() })
    }

    /// The PEM file of the certificate.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.directory.path().join(CERTIFICATE)
    }

    /// The PEM file of its key.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.directory.path().join(KEY)
    }

    /// A directory for further files of the servers, as long as the certificate is there.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
