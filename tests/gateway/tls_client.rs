//! A WebSocket client over TLS, with the library's own connection.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::certificates::CertificateFolder;
use crate::frames::{BINARY, client_frame};
use crate::messages::{Reply, Request, connect, find};

/// What a client trusts, and shows.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    config: ClientConfig,
    name: &'static str,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    arrived: Vec<u8>,
}

impl TlsClient {
    /// One that trusts the folder's authority and speaks these versions.
    pub(crate) fn of_versions(
        folder: &CertificateFolder,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(folder.authority.der().clone()).unwrap();
        let mut config = builder(versions).with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config, name: "localhost" }
    }

    /// One that trusts this authority and speaks all versions.
    pub(crate) fn trusting(authority: &CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let versions: &[&'static SupportedProtocolVersion] = &[&TLS12, &TLS13];
        let config = builder(versions).with_root_certificates(roots).with_no_client_auth();
        Self { config, name: "localhost" }
    }

    /// One that speaks all versions.
    pub(crate) fn new(folder: &CertificateFolder) -> Self {
        Self::of_versions(folder, &[&TLS12, &TLS13])
    }

    /// The same with the certificate `NAME.pem` and its key.
    pub(crate) fn with_certificate(self, folder: &CertificateFolder, name: &str) -> Self {
        let certificate = CertificateDer::from_pem_file(folder.file(&format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(folder.file(&format!("{name}.key")));
        let mut roots = RootCertStore::empty();
        roots.add(folder.authority.der().clone()).unwrap();
        let config = builder(&[&TLS12, &TLS13])
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.unwrap()], key.unwrap())
            .unwrap();
        Self { config, ..self }
    }

    /// The same, keeping no tickets, so that every handshake is a full one.
    pub(crate) fn without_resumption(mut self) -> Self {
        self.config.resumption = Resumption::disabled();
        self
    }

    /// The same, asking for another name.
    pub(crate) fn asking_for(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The library's connection.
    pub(crate) fn connection(&self) -> ClientConnection {
        let name = ServerName::try_from(self.name).unwrap();
        ClientConnection::new(Arc::new(self.config.clone()), name).unwrap()
    }

    /// Connects and does the handshake, as far as the client has a part in it.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<TlsSocket> {
        let mut stream = StreamOwned::new(self.connection(), connect(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsSocket { stream, arrived: Vec::new() })
    }

    /// Connects to `/echo`.
    pub(crate) fn open(&self, address: SocketAddr) -> io::Result<TlsSocket> {
        let mut socket = self.connect(address)?;
        socket.upgrade()?;
        Ok(socket)
    }
}

impl TlsSocket {
    /// Asks for `/echo`.
    pub(crate) fn upgrade(&mut self) -> io::Result<()> {
        let reply = self.ask(&Request::upgrade("/echo"))?;
        assert_eq!(reply.status, 101, "{reply:?}");
        Ok(())
    }

    /// Sends a request, and gives the head of the reply.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        self.stream.write_all(&request.bytes())?;
        let end = loop {
            match find(&self.arrived, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.receive()?,
            }
        };
        Ok(Reply::parse(&self.arrived.drain(..end).collect::<Vec<u8>>()))
    }

    /// Sends a message and checks that it is echoed.
    pub(crate) fn assert_echoes(&mut self, payload: &[u8]) {
        self.stream.write_all(&client_frame(BINARY, payload)).unwrap();
        self.assert_receives(&crate::frames::server_frame(BINARY, payload));
    }

    /// Checks that these bytes come next.
    pub(crate) fn assert_receives(&mut self, expected: &[u8]) {
        while self.arrived.len() < expected.len() {
            self.receive().unwrap();
        }
        assert!(self.arrived.drain(..expected.len()).eq(expected.iter().copied()));
    }

    /// How the handshake was done.
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the gateway has shown.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let shown = self.stream.conn.peer_certificates().unwrap();
        shown[0].clone().into_owned()
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut room = [0; 64 << 10];
        match self.stream.read(&mut room)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.arrived.extend_from_slice(&room[..count]);
                Ok(())
            }
        }
    }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider: CryptoProvider = provider::default_provider();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
}
