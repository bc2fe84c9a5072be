//! Whose certificates are taken from servers that are asked with TLS.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
#[cfg(feature = "http-backends")]
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

#[cfg(feature = "http-backends")]
use crate::upstream::ServerTls;

/// The authorities that certificates of a server must come from.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(super) config: Arc<ClientConfig>,
    /// The name that they must have, where it is not that of the URL.
    #[cfg(feature = "http-backends")]
    pub(super) name: Option<ServerName<'static>>,
}

/// Why there can be no TLS. Displays as the end of a sentence that names the file, or the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The file is not PEM, or has no certificate of an authority.
    #[error("holds no certificate of an authority in PEM")]
    NoAuthority,
    /// The system has no authorities.
    #[error("needs authorities, and this system has none: name a file of them with tls_ca")]
    NoSystem,
    /// The library of TLS refuses what was asked of it.
    #[error("cannot be asked with TLS: {0}")]
    Setup(String),
}

impl Trust {
    /// Trusts a server of an upstream as its settings say.
    #[cfg(feature = "http-backends")]
    pub(super) fn of_upstream(tls: ServerTls) -> Self {
        Self { config: tls.config, name: Some(tls.name) }
    }

    /// Trusts the authorities of a PEM file and no others.
    ///
    /// # Errors
    /// If it holds none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TrustError::NoAuthority)?;
            roots.add(certificate).map_err(|_| TrustError::NoAuthority)?;
        }
        if roots.is_empty() { Err(TrustError::NoAuthority) } else { Self::new(roots) }
    }

    /// Trusts the authorities of the system.
    ///
    /// # Errors
    /// If it has none.
    pub fn system() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Some of them may be of a kind that rustls does not know; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { Err(TrustError::NoSystem) } else { Self::new(roots) }
    }

    /// The same for a server that does not speak HTTP.
    #[cfg(feature = "redis")]
    pub(super) fn without_http(mut self) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols.clear();
        self
    }

    fn new(roots: RootCertStore) -> Result<Self, TrustError> {
        let setup = |error: &dyn ToString| TrustError::Setup(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| setup(&error))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(&error))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            #[cfg(feature = "http-backends")]
            name: None,
        })
    }
}
