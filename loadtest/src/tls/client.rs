//! The configuration that all connections of a run share.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption as Store, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, NamedGroup, RootCertStore, SupportedProtocolVersion};

use super::arguments::{TlsArguments, TlsCipher, TlsGroup, TlsVersion};
use super::error::TlsSetupError;
use super::tickets::Tickets;
use super::verifier::AnyCertificate;

/// Whether later handshakes resume the sessions of earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resumption {
    /// Every handshake is a full one.
    #[default]
    Off,
    /// With the tickets of earlier connections, as far as there are some.
    On,
}

/// What the client agrees to. All that rustls with ring offers, as far as a value is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    pub(crate) version: Option<TlsVersion>,
    pub(crate) cipher: Option<TlsCipher>,
    pub(crate) group: Option<TlsGroup>,
    pub(crate) resumption: Resumption,
}

impl TlsOptions {
    /// The same for all servers of a comparison: TLS 1.3, AES-128-GCM and X25519.
    pub(crate) fn of_comparison(resumption: Resumption) -> Self {
        Self {
            version: Some(TlsVersion::Tls13),
            cipher: Some(TlsCipher::Aes128Gcm),
            group: Some(TlsGroup::X25519),
            resumption,
        }
    }
}

/// The server's name and the configuration. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
    pub(super) is_verified: bool,
}

impl TlsClient {
    /// The client that the command line asks for; `None` without `--tls`. `authority` is host and
    /// port as they were given: the certificate must be for the host.
    pub(crate) fn from_arguments(
        arguments: &TlsArguments,
        authority: &str,
        resumption: Resumption,
    ) -> Result<Option<Self>, TlsSetupError> {
        if !arguments.tls {
            return Ok(None);
        }
        let TlsArguments { ca, insecure, tls_version, tls_cipher, tls_group, .. } = arguments;
        let own = arguments.client_certificate.as_deref().zip(arguments.client_key.as_deref());
        let own = own.map(|(certificate, key)| ClientPair::read(certificate, key)).transpose()?;
        let options = TlsOptions {
            version: *tls_version,
            cipher: *tls_cipher,
            group: *tls_group,
            resumption,
        };
        let roots = match ca {
            _ if *insecure => None,
            Some(path) => Some(read_roots(path)?),
            None => Some(system_roots()?),
        };
        Self::new(host(authority), roots, own, options).map(Some)
    }

    /// A client of servers on 127.0.0.1 with this certificate.
    pub(crate) fn trusting(
        certificate: &CertificateDer<'static>,
        options: TlsOptions,
    ) -> Result<Self, TlsSetupError> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        Self::new("127.0.0.1", Some(roots), None, options)
    }

    /// Without roots, no certificate is verified.
    fn new(
        host: &str,
        roots: Option<RootCertStore>,
        own: Option<ClientPair>,
        options: TlsOptions,
    ) -> Result<Self, TlsSetupError> {
        let server_name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsSetupError::ServerName(host.to_owned()))?;
        let provider = Arc::new(provider(options));
        let is_verified = roots.is_some();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(options.version))?;
        let builder = match roots {
            Some(roots) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_webpki_verifier(verifier)
            }
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        let mut config = match own {
            Some(ClientPair { chain, key }) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        // WebSockets are an upgrade of HTTP/1.1 (RFC 6455 §4.1).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = match options.resumption {
            Resumption::Off => Store::disabled(),
            Resumption::On => Store::store(Arc::new(Tickets::default())),
        };
        Ok(Self { config: Arc::new(config), server_name, is_verified })
    }

    /// Whether the server's certificate is verified.
    pub(crate) fn is_verified(&self) -> bool {
        self.is_verified
    }
}

/// What clients show of themselves, to servers that ask for it.
struct ClientPair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientPair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsSetupError> {
        let wrong = |option, path: &Path, why: String| TlsSetupError::File {
            option,
            path: path.to_owned(),
            why,
        };
        let of_key = |why| wrong("--client-key", key, why);
        let text = fs::read(key).map_err(|error| of_key(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&text);
        let key = key.map_err(|error| of_key(error.to_string()))?;
        let option = "--client-certificate";
        let chain =
            read_certificates(certificate).map_err(|why| wrong(option, certificate, why))?;
        Ok(Self { chain, key })
    }
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let host = port.map_or(authority, |(host, _)| host);
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    literal.filter(|literal| literal.parse::<IpAddr>().is_ok()).unwrap_or(host)
}

fn provider(options: TlsOptions) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(cipher) = options.cipher {
        provider.cipher_suites.retain(|suite| has_cipher(suite.suite(), cipher));
    }
    if let Some(group) = options.group {
        let wanted = match group {
            TlsGroup::X25519 => NamedGroup::X25519,
            TlsGroup::P256 => NamedGroup::secp256r1,
            TlsGroup::P384 => NamedGroup::secp384r1,
        };
        provider.kx_groups.retain(|group| group.name() == wanted);
    }
    provider
}

fn has_cipher(suite: CipherSuite, cipher: TlsCipher) -> bool {
    let name = suite.as_str().unwrap_or_default();
    name.contains(match cipher {
        TlsCipher::Aes128Gcm => "AES_128_GCM",
        TlsCipher::Aes256Gcm => "AES_256_GCM",
        TlsCipher::ChaCha20Poly1305 => "CHACHA20_POLY1305",
    })
}

fn versions(version: Option<TlsVersion>) -> Vec<&'static SupportedProtocolVersion> {
    match version {
        Some(TlsVersion::Tls12) => vec![&TLS12],
        Some(TlsVersion::Tls13) => vec![&TLS13],
        None => vec![&TLS13, &TLS12],
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let wrong = |why: String| TlsSetupError::File { option: "--ca", path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path).map_err(wrong)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one, or what is wrong with it.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(all) }
}

fn system_roots() -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    // Some of them may be of a kind that rustls does not know; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsSetupError::NoRoots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_the_certificate_must_be_for() {
        for (authority, expected) in [
            ("localhost:8443", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
            ("example.com", "example.com"),
        ] {
            assert_eq!(host(authority), expected);
            assert!(ServerName::try_from(host(authority)).is_ok(), "{authority}");
        }
    }

    #[test]
    fn a_comparison_offers_one_suite_and_one_group() {
        let options = TlsOptions::of_comparison(Resumption::Off);
        let provider = provider(options);
        let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert!(suites.contains(&CipherSuite::TLS13_AES_128_GCM_SHA256), "{suites:?}");
        assert!(suites.iter().all(|suite| has_cipher(*suite, TlsCipher::Aes128Gcm)));
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::X25519]);
        assert_eq!(versions(options.version).len(), 1);
    }

    #[test]
    fn what_is_wrong_with_the_certificate_of_a_client_names_its_option() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let own = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
        let key = tempfile::NamedTempFile::new().unwrap();
        fs::write(key.path(), own.signing_key.serialize_pem()).unwrap();
        let refused = |certificate: &Path, key: &Path| {
            ClientPair::read(certificate, key).map(drop).unwrap_err().to_string()
        };
        let error = refused(empty.path(), key.path());
        assert!(error.starts_with("--client-certificate /"), "{error}");
        assert!(error.ends_with("holds no certificate in PEM"), "{error}");
        let error = refused(empty.path(), Path::new("/nowhere.pem"));
        assert!(error.starts_with("--client-key /nowhere.pem: No such file"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = read_roots(file.path()).unwrap_err().to_string();
        assert!(error.contains("holds no certificate"), "{error}");
        let error = read_roots(Path::new("/nowhere.pem")).unwrap_err().to_string();
        assert!(error.starts_with("--ca /nowhere.pem: No such file"), "{error}");
    }
}
