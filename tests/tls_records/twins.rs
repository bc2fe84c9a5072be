//! Two ends of the library after their handshake, one of which is taken apart.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, NoKeyLog, RootCertStore,
    ServerConfig, ServerConnection, SupportedCipherSuite,
};
use tidegate::tls::{Cipher, Secret, SecretLog, Suite, Version};

/// The suites of both versions.
pub(crate) fn suites() -> Vec<SupportedCipherSuite> {
    let all = provider::ALL_CIPHER_SUITES.iter().copied();
    all.filter(|suite| !format!("{:?}", suite.suite()).contains("_RSA_")).collect()
}

/// One direction: the number of the next record, and the secret.
pub(crate) type Side = (u64, Vec<u8>);

/// A connection of which both ends know each other's secrets.
pub(crate) struct Twins {
    pub(crate) suite: Suite,
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
    /// The traffic secrets of TLS 1.3.
    logged: Option<(Vec<u8>, Vec<u8>)>,
}

impl Twins {
    /// A connection with this suite, after its handshake.
    pub(crate) fn new(suite: SupportedCipherSuite) -> Self {
        let (certificate, key) = certificate();
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![suite],
            kx_groups: vec![provider::kx_group::X25519],
            ..provider::default_provider()
        });
        let key = PrivatePkcs8KeyDer::from(key.clone()).into();
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[suite.version()])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let log = Arc::new(SecretLog::new(Arc::new(NoKeyLog)));
        server.key_log = Arc::clone(&log) as Arc<dyn rustls::KeyLog>;
        server.enable_secret_extraction = true;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[suite.version()])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let mut rounds = 0;
        while client.wants_write() || server.wants_write() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).unwrap();
            server.read_tls(&mut &there[..]).unwrap();
            server.process_new_packets().unwrap();
            server.write_tls(&mut back).unwrap();
            client.read_tls(&mut &back[..]).unwrap();
            client.process_new_packets().unwrap();
            rounds += 1;
            assert!(rounds < 20, "it never comes to rest");
        }
        let cipher = match format!("{:?}", suite.suite()) {
            name if name.contains("AES_128") => Cipher::Aes128Gcm,
            name if name.contains("AES_256") => Cipher::Aes256Gcm,
            _ => Cipher::ChaCha20Poly1305,
        };
        let version = if suite.tls13().is_some() { Version::Tls13 } else { Version::Tls12 };
        let suite = Suite { version, cipher };
        let captured = log.take();
        let bytes = if cipher == Cipher::Aes256Gcm { 48 } else { 32 };
        let bytes_of = |secret: Secret| secret.first(bytes).to_vec();
        let logged = captured.client.map(bytes_of).zip(captured.server.map(bytes_of));
        Self { suite, client, server, logged }
    }

    /// The server, and what the client sends and receives with.
    pub(crate) fn without_client(self) -> (Suite, ServerConnection, Side, Side) {
        let secrets = self.client.dangerous_extract_secrets().unwrap();
        let (mut tx, mut rx) = (side(secrets.tx), side(secrets.rx));
        if let Some((client, server)) = self.logged {
            (tx.1, rx.1) = (client, server);
        }
        (self.suite, self.server, tx, rx)
    }

    /// The client, and what the server sends and receives with.
    pub(crate) fn without_server(self) -> (Suite, ClientConnection, Side, Side) {
        let secrets = self.server.dangerous_extract_secrets().unwrap();
        let (mut tx, mut rx) = (side(secrets.tx), side(secrets.rx));
        if let Some((client, server)) = self.logged {
            (tx.1, rx.1) = (server, client);
        }
        (self.suite, self.client, tx, rx)
    }
}

fn side((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Side {
    let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
    | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = &secrets
    else {
        panic!("a cipher of no known kind");
    };
    (sequence, [key.as_ref(), iv.as_ref()].concat())
}

/// The secret of a side, as the crate takes it.
pub(crate) fn secret(side: &Side) -> (u64, Secret) {
    (side.0, Secret::of(&[&side.1]).unwrap())
}

fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static CERTIFICATE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = params.self_signed(&key).unwrap();
        (own.der().clone(), key.serialize_der())
    })
}
