//! Certificates for tests: authorities, and what they issue, made anew for each test.
//!
//! [`CertificateFolder`] holds what a gateway with TLS needs, as PEM files:
//!
//! | file | what it is |
//! |---|---|
//! | `ca.pem` | the authority that clients trust |
//! | `server.pem`, `server.key` | P-256, for `localhost`, `127.0.0.1` and `::1` |
//! | `client-ca.pem` | the authority of client certificates |
//! | `client.pem`, `client.key` | P-256, of the subject `CN=client` |

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// An authority that issues certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// An authority whose subject is `CN=name`.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, p256_key()).unwrap();
        Self { issuer }
    }

    /// Its own certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// A P-256 server certificate for these DNS names and IP addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        self.issue(&server_params(names), &PKCS_ECDSA_P256_SHA256)
    }

    /// As [`Authority::server`], with an Ed25519 key.
    pub(crate) fn server_ed25519(&self, names: &[&str]) -> Issued {
        self.issue(&server_params(names), &PKCS_ED25519)
    }

    /// As [`Authority::server`], valid until the beginning of this day.
    pub(crate) fn server_until(&self, names: &[&str], year: i32, month: u8, day: u8) -> Issued {
        let mut params = server_params(names);
        params.not_after = date_time_ymd(year, month, day);
        self.issue(&params, &PKCS_ECDSA_P256_SHA256)
    }

    /// A P-256 client certificate of the subject `CN=name`.
    pub(crate) fn client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, &PKCS_ECDSA_P256_SHA256)
    }

    /// A certificate with these parameters and a new key.
    pub(crate) fn issue(
        &self,
        params: &CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Issued {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The parameters of a server certificate for these DNS names and IP addresses.
pub(crate) fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    let subject = names.into_iter().next().unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A folder of PEM files, removed at the end of the test.
#[derive(Debug)]
pub(crate) struct CertificateFolder {
    folder: TempDir,
    pub(crate) authority: Authority,
    pub(crate) client_authority: Authority,
}

impl CertificateFolder {
    /// Makes the authorities, the certificates and the files that the module lists.
    pub(crate) fn new() -> Self {
        let own = Self {
            folder: TempDir::new().unwrap(),
            authority: Authority::new("tidegate test CA"),
            client_authority: Authority::new("tidegate test client CA"),
        };
        own.write("ca.pem", &own.authority.pem());
        own.write_pair("server", &own.authority.server(&["localhost", "127.0.0.1", "::1"]));
        own.write("client-ca.pem", &own.client_authority.pem());
        own.write_pair("client", &own.client_authority.client("client"));
        own
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, or replaces it in one step, as renewers do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.file(&format!(".{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn write_pair(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.certificate);
        self.write(&format!("{name}.key"), &issued.key);
    }

    /// The `[[certificate]]` table of the pair `NAME.pem` and `NAME.key`.
    pub(crate) fn table(&self, name: &str) -> String {
        let file = |ending: &str| self.file(&format!("{name}.{ending}")).display().to_string();
        let (certificate, key) = (file("pem"), file("key"));
        format!("[[certificate]]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }
}

fn p256_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}
