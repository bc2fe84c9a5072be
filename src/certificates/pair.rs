//! A certificate of the server with its key, from PEM.

use core::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::CertificateError;
use crate::timer::WallTime;

/// A certificate of the server with its key, and what it says of itself.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// What signs handshakes.
    pub(super) key: Arc<CertifiedKey>,
    names: Names,
    valid_from: WallTime,
    expires: WallTime,
}

/// What a certificate is for: its subject alternative names (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names in lower case; the first label may be `*`.
    pub dns: Vec<String>,
    /// Addresses. No client asks for one by SNI, so they choose no certificate.
    pub addresses: Vec<IpAddr>,
}

impl ServerCertificate {
    /// Reads the chain, the certificate of the server first, and its key, both in PEM, and checks that
    /// they belong together.
    ///
    /// # Errors
    /// What is wrong with either. [`CertificateError::Key`] and [`CertificateError::OtherKey`] are
    /// about the key.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = certificates(chain)?;
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let facts = Facts::of(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(CertificateError::OtherKey);
            }
            Err(error) => return Err(CertificateError::Chain(error.to_string())),
        }
        let Facts { names, valid_from, expires } = facts;
        Ok(Self { key: Arc::new(key), names, valid_from, expires })
    }

    /// The names that it is for.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn valid_from(&self) -> WallTime {
        self.valid_from
    }

    /// When it ceases to be valid.
    #[must_use]
    pub fn expires(&self) -> WallTime {
        self.expires
    }
}

impl std::fmt::Display for Names {
    /// All names, separated by commas.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = self.dns.iter().cloned().chain(addresses).collect();
        if all.is_empty() { f.write_str("no name") } else { f.write_str(&all.join(", ")) }
    }
}

/// When a certificate ceases to be valid; `None` if it cannot be read. A session that is resumed is not
/// verified again: the certificate of its client may have expired meanwhile.
#[must_use]
pub fn expiry_of(certificate: &CertificateDer<'_>) -> Option<WallTime> {
    Facts::of(certificate).ok().map(|facts| facts.expires)
}

/// The certificates of a PEM file, of which other sections are skipped.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| CertificateError::Chain(error.to_string()))?;
    if read.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(read) }
}

/// What a certificate says of itself.
#[derive(Debug)]
struct Facts {
    names: Names,
    valid_from: WallTime,
    expires: WallTime,
}

impl Facts {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let refuse = |error: &dyn std::fmt::Display| CertificateError::Chain(error.to_string());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| refuse(&error))?;
        let mut names = Names::default();
        let extension = parsed.subject_alternative_name().map_err(|error| refuse(&error))?;
        for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) if is_dns_name(name) => {
                    names.dns.push(name.to_ascii_lowercase());
                }
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                // Neither SNI nor the host of a URL can be any of these.
                GeneralName::DNSName(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::Invalid(..)
                | GeneralName::OtherName(..)
                | GeneralName::RFC822Name(_)
                | GeneralName::RegisteredID(_)
                | GeneralName::URI(_)
                | GeneralName::X400Address(_) => {}
            }
        }
        let validity = parsed.validity();
        Ok(Self {
            names,
            valid_from: wall_time(validity.not_before.timestamp()),
            expires: wall_time(validity.not_after.timestamp()),
        })
    }
}

/// Whether a name can be asked for, and shown in a line of the log.
fn is_dns_name(name: &str) -> bool {
    let is_ordinary =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
    (1..=DNS_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_ordinary)
}

/// RFC 5280: 4 bytes are an IPv4 address, 16 an IPv6 address.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// A date before 1970 is as past as any.
fn wall_time(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// The longest name as text (RFC 1035 section 2.3.4).
const DNS_NAME_BYTES_MAX: usize = 253;
