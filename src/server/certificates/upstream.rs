//! TLS to the servers of an upstream, from the files that the configuration names.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::time_provider::DefaultTimeProvider;

use super::files::{CertificateFileError, Digest, read};
use crate::certificates::{
    CertificateError, ServerAuthorities, ServerCertificate, provider, servers_config,
};
use crate::config::{FilePath, UpstreamOptions};
use crate::upstream::{UpstreamTls, tls_name};

/// TLS of an upstream, and what it was made of.
#[derive(Clone, Debug)]
pub struct LoadedUpstreamTls {
    tls: UpstreamTls,
    digest: Digest,
}

/// Why there can be no TLS to the servers of an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] CertificateFileError),
    /// The system has no authorities.
    #[error("{0}: is required, as this system has no authorities of its own")]
    NoSystem(String),
}

impl LoadedUpstreamTls {
    /// TLS of the upstream with this position in the configuration, if it has any. It is the same as
    /// `before` if nothing of it has changed, so that sessions with its servers are resumed.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn load(
        index: usize,
        options: &UpstreamOptions,
        before: Option<&Self>,
    ) -> Result<Option<Self>, UpstreamTlsError> {
        if !options.tls {
            return Ok(None);
        }
        let key = |name: &str| format!("upstream[{index}].{name}");
        let mut digest = Context::new(&SHA256);
        let mut note = |bytes: &[u8]| {
            digest.update(&bytes.len().to_be_bytes());
            digest.update(bytes);
        };
        note(options.tls_name.as_deref().unwrap_or_default().as_bytes());
        let authorities = match &options.tls_ca {
            _ if !options.tls_verify => ServerAuthorities::Anyone,
            Some(file) => {
                let pem = read(file, &key("tls_ca"))?;
                note(&pem);
                ServerAuthorities::from_pem(&pem)
                    .map_err(|error| CertificateFileError::content(key("tls_ca"), file, error))?
            }
            None => {
                let found = rustls_native_certs::load_native_certs().certs;
                found.iter().for_each(|own| note(own));
                let authorities = ServerAuthorities::from_system(found);
                authorities.ok_or_else(|| UpstreamTlsError::NoSystem(key("tls_ca")))?
            }
        };
        note(&[u8::from(options.tls_verify)]);
        let own = match (&options.tls_certificate, &options.tls_key) {
            (Some(certificate), Some(private_key)) => {
                let keys = [key("tls_certificate"), key("tls_key")];
                Some(load_own([certificate, private_key], keys, &mut note)?)
            }
            // Loading the configuration has refused the one without the other.
            (Some(_) | None, _) => None,
        };
        let digest: Digest = digest.finish().as_ref().try_into().unwrap_or_default();
        if let Some(before) = before.filter(|before| before.digest == digest) {
            return Ok(Some(before.clone()));
        }
        let clock = Arc::new(DefaultTimeProvider);
        let config = servers_config(authorities, own.as_ref(), provider(), clock);
        let config = config.map_err(|error| {
            let file = options.tls_ca.clone().unwrap_or_else(|| FilePath::new("".as_ref()));
            CertificateFileError::content(key("tls_ca"), &file, error)
        })?;
        let name = options.tls_name.as_deref().and_then(tls_name);
        Ok(Some(Self { tls: UpstreamTls::new(Arc::new(config), name), digest }))
    }

    /// How connections to the servers speak TLS.
    #[must_use]
    pub fn tls(&self) -> &UpstreamTls {
        &self.tls
    }
}

/// The certificate that is shown to servers, with its key.
fn load_own(
    [certificate, private_key]: [&FilePath; 2],
    [certificate_name, key_name]: [String; 2],
    note: &mut impl FnMut(&[u8]),
) -> Result<ServerCertificate, CertificateFileError> {
    let chain = read(certificate, &certificate_name)?;
    let secret = read(private_key, &key_name)?;
    note(&chain);
    note(&secret);
    ServerCertificate::from_pem(&chain, &secret, &provider()).map_err(|error| {
        let is_of_key = matches!(error, CertificateError::Key(_) | CertificateError::OtherKey);
        let (name, file) =
            if is_of_key { (key_name, private_key) } else { (certificate_name, certificate) };
        CertificateFileError::content(name, file, error)
    })
}
