//! The configuration of TLS for `wss`: whom the client trusts, and what is wrong with a certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, InvalidMessage, RootCertStore};
use thiserror::Error as ThisError;

use crate::certificates::AnyCertificate;

/// The certificates of servers that the client takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those that an authority of the system stands for.
    System,
    /// Those that an authority in this PEM file stands for.
    File(PathBuf),
    /// Any.
    Anything,
}

/// Why there can be no TLS.
#[derive(Debug, ThisError)]
pub(super) enum TlsSetupError {
    #[error("--ca {}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error(
        "this system has no certificates of authorities: name a file of them with --ca, or give \
         --insecure"
    )]
    NoRoots,
    #[error("a certificate cannot be for the host {0:?}")]
    Host(String),
    #[error("TLS cannot be set up: {0}")]
    Options(#[from] Error),
}

/// The beginning of a TLS session with `host`, a name or an IP address without brackets.
pub(super) fn session(host: &str, trust: &Trust) -> Result<ClientConnection, TlsSetupError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| TlsSetupError::Host(host.to_owned()))?;
    Ok(ClientConnection::new(Arc::new(config(trust)?), name)?)
}

fn config(trust: &Trust) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let roots = match trust {
        Trust::System => Some(system_roots()?),
        Trust::File(path) => Some(roots_in(path)?),
        Trust::Anything => None,
    };
    let mut config = match roots {
        Some(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
        None => {
            let verifier = AnyCertificate::new(provider.signature_verification_algorithms);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    }
    .with_no_client_auth();
    // The handshake of a WebSocket is one of HTTP/1.1 (RFC 6455 §4.1).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    // Some of them may be of a kind that rustls does not know; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsSetupError::NoRoots) } else { Ok(roots) }
}

fn roots_in(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let wrong = |why: String| TlsSetupError::File { path: path.to_owned(), why };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

/// What to say of an error of the handshake.
pub(super) fn explain(error: &Error) -> String {
    if matches!(error, Error::InvalidCertificate(_)) {
        format!(
            "the server's certificate is refused: {error} (--ca FILE trusts an authority of your \
             own, --insecure takes any certificate)"
        )
    } else if matches!(error, Error::InvalidMessage(InvalidMessage::InvalidContentType)) {
        // The first byte of an HTTP response is no type of a record (RFC 8446 §5.1).
        "the server does not answer with TLS: is this its port for ws://?".to_owned()
    } else {
        format!("TLS: {error}")
    }
}

/// Whether these bytes are the beginning of an alert of TLS, the answer to a request without it: a
/// record of that type, and the first byte of a version (RFC 8446 §5.1).
pub(super) fn is_alert(bytes: &[u8]) -> bool {
    bytes.starts_with(&[21, 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_needs_a_host_and_certificates() {
        assert!(session("example.com", &Trust::Anything).is_ok());
        assert!(session("::1", &Trust::Anything).is_ok());
        let error = session("not a host", &Trust::Anything).unwrap_err();
        assert_eq!(error.to_string(), "a certificate cannot be for the host \"not a host\"");
        let missing = Trust::File("/nowhere.pem".into());
        let error = session("example.com", &missing).unwrap_err().to_string();
        assert!(error.starts_with("--ca /nowhere.pem: No such file"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = Trust::File(file.path().to_owned());
        let error = session("example.com", &empty).unwrap_err().to_string();
        assert!(error.ends_with("holds no certificate in PEM"), "{error}");
    }

    #[test]
    fn only_an_alert_is_taken_for_one() {
        assert!(is_alert(&[21, 3, 3, 0, 2, 2, 40]));
        for bytes in [&b""[..], b"H", b"HTTP/1.1 400", &[21], &[22, 3, 3]] {
            assert!(!is_alert(bytes), "{bytes:?}");
        }
    }
}
