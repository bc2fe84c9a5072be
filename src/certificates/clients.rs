//! Verifies the certificates of clients, by authorities that may be replaced at any time.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::error::CertificateError;
use super::pair::certificates;

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    current: ArcSwap<Authorities>,
    algorithms: WebPkiSupportedAlgorithms,
    is_required: bool,
}

/// The authorities that certificates must come from.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    /// Reads them from PEM.
    pub(super) fn from_pem(
        pem: &[u8],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            let added = roots.add(certificate);
            added.map_err(|error| CertificateError::Authority(error.to_string()))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = builder.build();
        let verifier = verifier.map_err(|error| CertificateError::Setup(error.to_string()))?;
        Ok(Self { verifier })
    }
}

impl ClientVerifier {
    /// Verifies by these authorities. A client that sends no certificate is refused if one
    /// `is_required`; one whose certificate does not verify is refused in any case.
    pub(super) fn new(
        authorities: Authorities,
        is_required: bool,
        provider: &CryptoProvider,
    ) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { current: ArcSwap::from_pointee(authorities), algorithms, is_required }
    }

    /// Verifies by these authorities from now on.
    pub(super) fn replace(&self, authorities: Authorities) {
        self.current.store(Arc::new(authorities));
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    /// No names of authorities: they would be borrowed from what may be replaced. RFC 8446 section
    /// 4.2.4 leaves them out where any certificate may be sent.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current.load().verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
