//! What the store of certificates and its listeners are made from.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::KeyLog;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;

use super::clients::Authorities;
use super::error::CertificateError;
use super::options::{ClientCertificates, TlsVersion, UnknownSni};

/// What listeners with TLS have in common.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// What signs, verifies and exchanges keys: [`provider`](super::provider).
    pub provider: Arc<CryptoProvider>,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
    /// What becomes of clients that ask for an unknown name.
    pub unknown_sni: UnknownSni,
    /// What tells the date, by which tickets and the certificates of clients end.
    pub clock: Arc<dyn TimeProvider>,
    /// What writes the secrets of connections down, for debugging.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// What one listener asks of its clients, and speaks with them.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Whether clients speak HTTP, which is agreed by ALPN (RFC 7301).
    pub is_http: bool,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// Where their certificates must come from; given where they are asked for any.
    pub authorities: Option<ClientAuthorities>,
}

/// The authorities that certificates of clients must come from.
#[derive(Clone, Debug)]
pub struct ClientAuthorities {
    pub(super) authorities: Authorities,
    pub(super) digest: [u8; 32],
}

impl ClientAuthorities {
    /// Reads their certificates from PEM.
    ///
    /// # Errors
    /// If there is none, or one that cannot be an authority.
    pub fn from_pem(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, CertificateError> {
        let authorities = Authorities::from_pem(pem, provider)?;
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, pem).as_ref());
        Ok(Self { authorities, digest: own })
    }
}
