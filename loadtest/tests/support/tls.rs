//! Servers that speak TLS, with a certificate of their own.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;
use tungstenite::Message;

use super::start;

/// A certificate for 127.0.0.1 and its key, in files and for a server of the test.
pub(crate) struct Certificate {
    _directory: TempDir,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    made: CertifiedKey<rcgen::KeyPair>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        Self::naming("127.0.0.1")
    }

    pub(crate) fn naming(name: &str) -> Self {
        let made = generate_simple_self_signed([name.to_owned()]).unwrap();
        let directory = TempDir::new().unwrap();
        let [certificate, key] =
            ["certificate.pem", "key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _directory: directory, certificate, key, made }
    }

    /// The options by which loadtest trusts it.
    pub(crate) fn trust(&self) -> [&str; 3] {
        ["--tls", "--ca", self.certificate.to_str().unwrap()]
    }

    fn server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let key = PrivatePkcs8KeyDer::from(self.made.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.made.cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().unwrap();
        config
    }

    /// Starts a server that echoes over TLS; returns its address.
    pub(crate) fn serve_echo(&self, versions: &[&'static SupportedProtocolVersion]) -> SocketAddr {
        self.serve(versions, echo)
    }

    /// As [`Certificate::serve_echo`], for clients that show `theirs` alone.
    pub(crate) fn serve_echo_to(&self, theirs: &Self) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(theirs.made.cert.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivatePkcs8KeyDer::from(self.made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![self.made.cert.der().clone()], key.into())
            .unwrap();
        serve(config, echo)
    }

    /// Starts a server that serves each TLS connection with `behave`.
    pub(crate) fn serve(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        behave: impl Fn(TlsStream) + Send + Sync + 'static,
    ) -> SocketAddr {
        serve(self.server_config(versions), behave)
    }
}

fn serve(config: ServerConfig, behave: impl Fn(TlsStream) + Send + Sync + 'static) -> SocketAddr {
    let config = Arc::new(config);
    start(move |_, stream| {
        stream.set_nodelay(true).unwrap();
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        behave(StreamOwned::new(session, stream));
    })
}

fn echo(stream: TlsStream) {
    // The handshake fails for a client that only probes whether the server accepts, or that
    // refuses the certificate.
    let Ok(mut websocket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = websocket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            websocket.send(message).unwrap();
        }
    }
    websocket.get_mut().conn.send_close_notify();
    let _ = websocket.get_mut().flush();
}

pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;
