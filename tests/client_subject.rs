//! The subject of a client's certificate reaches the service that decides about the client.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

#[path = "support/certificates.rs"]
mod certificates;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use tidegate::config::{
    CertificateFiles, ClientCertificates, Config, FilePath, Listener, MachineLimits,
};
use tidegate::http::Rejection;
use tidegate::server::{DrainTerms, Handle};
use tidegate::services::{
    Accept, Admission, CloseReason, ConnectRequest, Effects, Handler, Message, Peer, Route,
    RouteOptions, Service,
};

use crate::certificates::CertificateFolder;

/// So generous that only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Greets clients by their subjects, and admits none without one nor `CN=banned`.
#[derive(Default)]
struct Greeter {
    subjects: HashMap<Peer, String>,
}

impl Service for Greeter {
    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        _: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let subject = connect.subject().ok_or_else(|| Rejection::forbidden("no certificate"))?;
        if subject == "CN=banned" {
            return Err(Rejection::forbidden(format!("{subject} is not wanted")));
        }
        self.subjects.insert(peer, subject.to_owned());
        Ok(Admission::Now(Accept::default()))
    }

    fn on_message(&mut self, peer: Peer, _: Message<'_>, effects: &mut Effects<'_>) {
        effects.reply_text(&format!("hello {}", self.subjects[&peer]));
    }

    fn on_close(&mut self, peer: Peer, _: CloseReason, _: &mut Effects<'_>) {
        self.subjects.remove(&peer);
    }
}

/// A server with a listener for WebSocket clients and one for line clients, both of which ask for
/// certificates.
fn start(folder: &CertificateFolder) -> Handle {
    let file = |name: &str| FilePath::new(&folder.file(name));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners = [Listener::http(address), Listener::line(address, "/greeter")];
    let mut config = Config {
        listeners: listeners
            .map(|listener| Listener {
                tls: true,
                client_certificates: ClientCertificates::Optional,
                client_ca: Some(file("client-ca.pem")),
                ..listener
            })
            .into(),
        certificates: vec![CertificateFiles::new(file("server.pem"), file("server.key"))],
        ..Config::default()
    };
    config.process.loops = 1;
    let greeter = Arc::new(|_| Box::new(Greeter::default()) as Box<dyn Service>);
    let routes = vec![Route::new("/greeter", Handler::Socket(greeter, RouteOptions::default()))];
    let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
    Handle::start(&settings, routes).unwrap()
}

/// A client that shows the certificate `NAME.pem`, if it has a name, and keeps tickets.
#[derive(Clone)]
struct Client(Arc<ClientConfig>);

impl Client {
    fn new(
        folder: &CertificateFolder,
        version: &'static SupportedProtocolVersion,
        name: Option<&str>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(folder.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            Some(name) => {
                let pem = folder.file(&format!("{name}.pem"));
                let chain = vec![CertificateDer::from_pem_file(pem).unwrap()];
                let key = PrivateKeyDer::from_pem_file(folder.file(&format!("{name}.key")));
                builder.with_client_auth_cert(chain, key.unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self(Arc::new(config))
    }

    /// Sends these bytes over a new connection and reads until `end` has come, or to the end of the
    /// connection. Returns what came, and whether the session was resumed.
    fn exchange(&self, address: SocketAddr, bytes: &[u8], end: &str) -> (String, bool) {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(bytes).unwrap();
        let mut received = Vec::new();
        let text = loop {
            let text = String::from_utf8_lossy(&received);
            if text.contains(end) {
                break text.into_owned();
            }
            let mut room = [0; 4096];
            match stream.read(&mut room) {
                Ok(0) => break text.into_owned(),
                Ok(count) => received.extend_from_slice(&room[..count]),
                // A line client that is refused may be reset, for what it has sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    break text.into_owned();
                }
                Err(error) => panic!("{error} after {text:?}"),
            }
        };
        (text, stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Upgrades, and asks for the greeting.
    fn asks_for_greeting(&self, address: SocketAddr) -> (String, bool) {
        let request = "GET /greeter HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        // Behind the request an empty message with a mask of zeros.
        let bytes = [request.as_bytes(), &[0x81, 0x80, 0, 0, 0, 0]].concat();
        self.exchange(address, &bytes, GREETING)
    }
}

const GREETING: &str = "hello CN=client";

#[test]
fn services_are_told_the_subject_also_of_resumed_sessions() {
    let folder = CertificateFolder::new();
    folder.write_pair("banned", &folder.client_authority.client("banned"));
    let server = start(&folder);
    let (http, line) = (server.addresses()[0], server.addresses()[1]);
    for version in [&TLS12, &TLS13] {
        let client = Client::new(&folder, version, Some("client"));
        // A ticket is for one listener.
        for is_resumed in [false, true] {
            let (reply, was_resumed) = client.asks_for_greeting(http);
            assert!(reply.starts_with("HTTP/1.1 101 ") && reply.ends_with(GREETING), "{reply}");
            assert_eq!(was_resumed, is_resumed, "{version:?}");
        }
        let client = Client::new(&folder, version, Some("client"));
        for is_resumed in [false, true] {
            let (reply, was_resumed) = client.exchange(line, b"who am I?\n", GREETING);
            assert_eq!((reply.trim_end(), was_resumed), (GREETING, is_resumed), "{version:?}");
        }
    }
    server.drain(DrainTerms::within_ms(0).at_once());
    server.join().unwrap();
}

#[test]
fn services_refuse_by_subject_and_for_want_of_one() {
    let folder = CertificateFolder::new();
    folder.write_pair("banned", &folder.client_authority.client("banned"));
    let server = start(&folder);
    let (http, line) = (server.addresses()[0], server.addresses()[1]);
    for version in [&TLS12, &TLS13] {
        for (name, reason) in
            [(None, "no certificate"), (Some("banned"), "CN=banned is not wanted")]
        {
            let client = Client::new(&folder, version, name);
            for is_resumed in [false, true] {
                let (reply, was_resumed) = client.asks_for_greeting(http);
                assert!(reply.starts_with("HTTP/1.1 403 ") && reply.contains(reason), "{reply}");
                assert_eq!(was_resumed, is_resumed, "{version:?}");
            }
            let client = Client::new(&folder, version, name);
            let (reply, _) = client.exchange(line, b"who am I?\n", GREETING);
            assert!(!reply.contains("hello"), "{reply}");
        }
    }
    server.drain(DrainTerms::within_ms(0).at_once());
    server.join().unwrap();
}
