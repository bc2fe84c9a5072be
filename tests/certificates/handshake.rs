//! A client and a server of rustls in memory, and what their handshake came to.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup,
    ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use tidegate::certificates::provider;

use crate::certificates::Issued;

/// Both versions of TLS.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client that trusts any server, remembers its certificate, and offers its sessions to all servers
/// under any name.
#[derive(Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    seen: Arc<Seen>,
}

/// A handshake that has succeeded.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the server resumed a session.
    pub(crate) is_resumed: bool,
    /// The certificate of the server, if it showed one.
    pub(crate) server: Option<CertificateDer<'static>>,
    /// The certificate of the client, as the server knows it.
    pub(crate) client: Option<CertificateDer<'static>>,
    /// The names of authorities that the client was asked for a certificate by.
    pub(crate) authority_names: Vec<Vec<u8>>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) had_early_data: bool,
}

impl Client {
    /// Without a certificate.
    pub(crate) fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(version, None, &provider().signature_verification_algorithms.supported_schemes())
    }

    /// With this certificate for servers that ask for one.
    pub(crate) fn with_certificate(
        version: &'static SupportedProtocolVersion,
        issued: &Issued,
    ) -> Self {
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        Self::with(version, Some(issued), &schemes)
    }

    /// One that can verify these signatures only.
    pub(crate) fn with_schemes(schemes: &[SignatureScheme]) -> Self {
        Self::with(&TLS13, None, schemes)
    }

    fn with(
        version: &'static SupportedProtocolVersion,
        issued: Option<&Issued>,
        schemes: &[SignatureScheme],
    ) -> Self {
        let seen = Arc::new(Seen {
            schemes: schemes.to_vec(),
            certificate: Mutex::default(),
            authority_names: Mutex::default(),
        });
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Seen>::clone(&seen));
        let mut config = match issued {
            Some(issued) => {
                let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let (inner, noted) = (config.client_auth_cert_resolver, Arc::clone(&seen));
        config.client_auth_cert_resolver = Arc::new(Noting { inner, seen: noted });
        config.resumption = Resumption::store(Arc::new(Sessions::default()));
        config.enable_early_data = true;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config), seen }
    }

    /// Speaks with a server under this name: a handshake, and a byte in each direction.
    pub(crate) fn connect(&self, server: &Arc<ServerConfig>, name: &str) -> Result<Outcome, Error> {
        *self.seen.certificate.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        let had_early_data = client.early_data().is_some();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let names = std::mem::take(
            &mut *self.seen.authority_names.lock().unwrap_or_else(PoisonError::into_inner),
        );
        let seen = self.seen.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            is_resumed: server.handshake_kind() == Some(HandshakeKind::Resumed),
            server: seen.clone(),
            client: server
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.clone().into_owned()),
            authority_names: names,
            alpn: server.alpn_protocol().map(<[u8]>::to_vec),
            had_early_data,
        })
    }
}

/// Takes any certificate, and remembers it.
#[derive(Debug)]
struct Seen {
    schemes: Vec<SignatureScheme>,
    certificate: Mutex<Option<CertificateDer<'static>>>,
    authority_names: Mutex<Vec<Vec<u8>>>,
}

/// Notes what a client is asked for, and has another choose its certificate.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ResolvesClientCert>,
    seen: Arc<Seen>,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, names: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let noted = names.iter().map(|name| name.to_vec()).collect();
        *self.seen.authority_names.lock().unwrap_or_else(PoisonError::into_inner) = noted;
        self.inner.resolve(names, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut certificate = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        *certificate = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Offers every session to every server.
#[derive(Debug)]
struct Sessions(ClientSessionMemoryCache);

impl Default for Sessions {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(64))
    }
}

fn any_name() -> ServerName<'static> {
    ServerName::try_from("any").unwrap()
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(any_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&any_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(any_name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&any_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&any_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any_name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any_name())
    }
}
