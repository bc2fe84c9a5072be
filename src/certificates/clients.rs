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
    /// Shared with those that this one has replaced and that replace it: handshakes under way are
    /// verified by the authorities of the moment.
    current: Arc<ArcSwap<Authorities>>,
    /// What clients choose a certificate by (RFC 8446 section 4.2.4), which stays the same for the
    /// handshakes that go by this verifier; empty if they are too many to be sent each time.
    names: Vec<DistinguishedName>,
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

    /// Their names, or none if they are too many.
    fn names(&self) -> Vec<DistinguishedName> {
        let names = self.verifier.root_hint_subjects();
        let bytes: usize = names.iter().map(|name| name.as_ref().len()).sum();
        if bytes > NAMES_BYTES_MAX { Vec::new() } else { names.to_vec() }
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
        let names = authorities.names();
        Self {
            current: Arc::new(ArcSwap::from_pointee(authorities)),
            names,
            algorithms,
            is_required,
        }
    }

    /// One that verifies by these authorities, as this one does from now on.
    pub(super) fn replaced_by(&self, authorities: Authorities) -> Self {
        let Self { current, algorithms, is_required, .. } = self;
        let names = authorities.names();
        current.store(Arc::new(authorities));
        Self {
            current: Arc::clone(current),
            names,
            algorithms: *algorithms,
            is_required: *is_required,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
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

/// A client that is sent no names may send any certificate. These fit into one record, with what else
/// the server says.
const NAMES_BYTES_MAX: usize = 8 << 10;
