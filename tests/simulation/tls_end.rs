//! The client's end of TLS: the library's, over a fake connection. All lengths are the same in each
//! run, so that a seed replays: the certificate and the signatures are Ed25519's, and the key exchange
//! is X25519.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion, version,
};
use tidegate::sim::SimClient;

/// How the clients and the server of a run speak TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsSetup {
    /// TLS 1.3, or 1.2.
    pub(crate) is_13: bool,
    /// The longest record of a client, if it is to be shorter than usual.
    pub(crate) fragment_bytes: Option<usize>,
    /// Bytes that a client sends one or a few at a time before it sends whatever it has.
    pub(crate) dripped_bytes: usize,
    /// Whether clients end their half without the notice of it.
    pub(crate) is_cut: bool,
}

impl Default for TlsSetup {
    fn default() -> Self {
        Self { is_13: true, fragment_bytes: None, dripped_bytes: 0, is_cut: false }
    }
}

impl TlsSetup {
    /// What the server and its clients are configured with. The clients resume each other's sessions.
    pub(crate) fn configs(&self) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let versions: &[&SupportedProtocolVersion] =
            if self.is_13 { &[&version::TLS13] } else { &[&version::TLS12] };
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![provider::kx_group::X25519],
            ..provider::default_provider()
        });
        let (certificate, key) = certificate();
        let key = PrivatePkcs8KeyDer::from(key.clone()).into();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.max_fragment_size = self.fragment_bytes;
        (Arc::new(server), Arc::new(client))
    }
}

/// A certificate for `localhost` and its key, one for all runs.
fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static CERTIFICATE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        // A random one does not always have the same length.
        params.serial_number = Some(rcgen::SerialNumber::from(7_u64));
        let own = params.self_signed(&key).unwrap();
        (own.der().clone(), key.serialize_der())
    })
}

/// One client's end.
pub(crate) struct TlsEnd {
    conn: ClientConnection,
    setup: TlsSetup,
    /// Sealed, and not sent yet.
    outgoing: Vec<u8>,
    /// Bytes sent so far.
    sent: usize,
    /// Our half is to end once all is sent, or has ended.
    wants_end: bool,
    has_ended: bool,
    /// The server's notice of its end has come.
    peer_has_ended: bool,
    failure: Option<rustls::Error>,
}

impl fmt::Debug for TlsEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conn, outgoing, sent, wants_end, has_ended, peer_has_ended, failure, .. } = self;
        write!(
            f,
            "handshake: {}, {} bytes sealed, {sent} sent, ends: {wants_end}, ended: {has_ended}, \
             server ended: {peer_has_ended}, {failure:?}",
            conn.is_handshaking(),
            outgoing.len(),
        )
    }
}

impl TlsEnd {
    pub(crate) fn new(config: Arc<ClientConfig>, setup: TlsSetup) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut conn = ClientConnection::new(config, name).unwrap();
        // What is said during the handshake waits for its end.
        conn.set_buffer_limit(None);
        Self {
            conn,
            setup,
            outgoing: Vec::new(),
            sent: 0,
            wants_end: false,
            has_ended: false,
            peer_has_ended: false,
            failure: None,
        }
    }

    /// Whether the handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.failure.is_none() && self.conn.is_handshaking()
    }

    /// Whether the server ended its half with the notice of it.
    pub(crate) fn peer_has_ended(&self) -> bool {
        self.peer_has_ended
    }

    /// Why the connection failed, if it did.
    pub(crate) fn failure(&self) -> Option<&rustls::Error> {
        self.failure.as_ref()
    }

    /// Seals plaintext, once the handshake is over.
    pub(crate) fn write(&mut self, plaintext: &[u8]) {
        if !self.wants_end && self.failure.is_none() {
            self.conn.writer().write_all(plaintext).unwrap();
        }
    }

    /// Makes new keys and asks for new ones of the server, if the connection is so far.
    pub(crate) fn update_keys(&mut self) {
        let is_13 = self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if is_13 && !self.conn.is_handshaking() && !self.wants_end && self.failure.is_none() {
            self.conn.refresh_traffic_keys().unwrap();
        }
    }

    /// Ends our half once all is sent.
    pub(crate) fn end(&mut self) {
        self.wants_end = true;
    }

    /// The sealed bytes that are to be sent, without sending them.
    pub(crate) fn take_sealed(&mut self) -> Vec<u8> {
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.outgoing).unwrap();
        }
        std::mem::take(&mut self.outgoing)
    }

    /// Sends what is sealed, or a few bytes of it; how many.
    pub(crate) fn send(&mut self, connection: &SimClient) -> usize {
        self.outgoing = self.take_sealed();
        let has_said_all = !self.conn.is_handshaking() || self.failure.is_some();
        if self.wants_end && has_said_all && !std::mem::replace(&mut self.has_ended, true) {
            if !self.setup.is_cut {
                self.conn.send_close_notify();
            }
            self.outgoing = self.take_sealed();
        }
        if connection.is_closed_by_server() {
            // It would be answered with a reset, which discards what is still to be read.
            self.outgoing.clear();
            if self.wants_end {
                connection.shutdown();
            }
            return 0;
        }
        let count = match self.sent < self.setup.dripped_bytes {
            true => self.outgoing.len().min(1 + self.sent * 7 % 31),
            false => self.outgoing.len(),
        };
        connection.send(&self.outgoing[..count]);
        self.outgoing.drain(..count);
        self.sent += count;
        if self.has_ended && self.outgoing.is_empty() {
            connection.shutdown();
        }
        count
    }

    /// The plaintext in bytes that have arrived.
    pub(crate) fn open(&mut self, mut arrived: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::new();
        while !arrived.is_empty() && self.failure.is_none() && !self.peer_has_ended {
            self.conn.read_tls(&mut arrived).unwrap();
            match self.conn.process_new_packets() {
                Ok(state) => self.peer_has_ended |= state.peer_has_closed(),
                Err(error) => self.failure = Some(error),
            }
            let mut part = [0; 16 << 10];
            loop {
                match self.conn.reader().read(&mut part) {
                    Ok(0) => break,
                    Ok(count) => plaintext.extend_from_slice(&part[..count]),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                        break;
                    }
                }
            }
        }
        plaintext
    }
}
