//! What handshakes with servers go by: whose certificates are taken, and which one is shown.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::error::CertificateError;
use super::pair::{ServerCertificate, certificates};

/// Whose certificates are taken from servers.
#[derive(Clone, Debug)]
pub enum ServerAuthorities {
    /// Those that come from one of these.
    Of(Arc<RootCertStore>),
    /// Any: the connection is private, and its other end may be anyone.
    Anyone,
}

impl ServerAuthorities {
    /// The authorities in a PEM file, and no others.
    ///
    /// # Errors
    /// If there is none, or one that cannot be an authority.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            let added = roots.add(certificate);
            added.map_err(|error| CertificateError::Authority(error.to_string()))?;
        }
        Ok(Self::Of(Arc::new(roots)))
    }

    /// Those of these certificates that the library understands; `None` if it is none of them.
    #[must_use]
    pub fn from_system(certificates: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        (!roots.is_empty()).then(|| Self::Of(Arc::new(roots)))
    }
}

/// What handshakes with servers go by, where they speak HTTP/1.1. `own` is the certificate that is shown to
/// a server which asks for one.
///
/// # Errors
/// [`CertificateError::Setup`] if the library refuses it.
pub fn servers_config(
    authorities: ServerAuthorities,
    own: Option<&ServerCertificate>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, CertificateError> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificateError::Setup(error.to_string()))?;
    let builder = match authorities {
        ServerAuthorities::Of(roots) => builder.with_root_certificates(roots),
        ServerAuthorities::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(algorithms))),
    };
    let mut config = match own {
        Some(own) => {
            let shown = SingleCertAndKey::from(own.key.as_ref().clone());
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(config)
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    /// That the server has the key is verified by one of these.
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The name of HTTP/1.1 in ALPN (RFC 7301 section 6).
const HTTP: &[u8] = b"http/1.1";
