//! What the library's part of a handshake takes on the server's side, and what records take.

use std::process::Command;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tidegate::tls::{Cipher, ExpandedKeys, Records, Secret, Suite, Version};

use super::{cpu_time, median, since};

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Ed25519,
    EcdsaP256,
    Rsa2048,
}

/// Nanoseconds of the steps of a handshake.
pub(crate) struct Steps {
    /// The answer to the first message.
    pub(crate) full: f64,
    /// The same with a ticket.
    pub(crate) resumed: f64,
    /// What the client's last message leads to.
    pub(crate) last: f64,
}

pub(crate) fn handshakes(key: Key, version: &'static SupportedProtocolVersion) -> Steps {
    let (client, server) = configs(key, version);
    let (mut full, mut resumed, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let mut fresh = Arc::clone(&client);
    for number in 0..200 {
        if number % 2 == 0 {
            // A client that knows nothing of the server.
            let mut config = ClientConfig::clone(&client);
            config.resumption = rustls::client::Resumption::in_memory_sessions(8);
            fresh = Arc::new(config);
        }
        let (times, kind) = steps(&fresh, &server);
        match kind {
            HandshakeKind::Resumed => resumed.push(times[0]),
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => {
                full.push(times[0]);
                last.push(times[1]);
            }
        }
    }
    let middle = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Steps { full: middle(full), resumed: middle(resumed), last: middle(last) }
}

/// What the client's last message leads to where it has shown a certificate, signed by an authority.
pub(crate) fn client_certificate(version: &'static SupportedProtocolVersion) -> f64 {
    let (client, server) = configs(Key::EcdsaP256, version);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let issuer = rcgen::Issuer::new(params, &authority_key);
    let own_key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["device".to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &issuer).unwrap().der().clone();
    let own_key = PrivatePkcs8KeyDer::from(own_key.serialize_der());
    let provider = Arc::clone(server.crypto_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::clone(&server.cert_resolver));
    let shown = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(
        vec![own],
        provider::sign::any_supported_type(&own_key.into()).unwrap(),
    ));
    let mut client = ClientConfig::clone(&client);
    client.client_auth_cert_resolver = Arc::new(shown);
    client.resumption = rustls::client::Resumption::disabled();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let mut times: Vec<f64> = (0..100).map(|_| steps(&client, &server).0[1]).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of each of the server's steps of a handshake, and what kind it was.
fn steps(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Vec<f64>, HandshakeKind) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut times = Vec::new();
    while client.wants_write() || server.wants_write() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        client.write_tls(&mut there).unwrap();
        let began = cpu_time();
        server.read_tls(&mut &there[..]).unwrap();
        server.process_new_packets().unwrap();
        server.write_tls(&mut back).unwrap();
        times.push(since(began));
        client.read_tls(&mut &back[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    (times, server.handshake_kind().unwrap())
}

fn configs(
    key: Key,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519],
        ..provider::default_provider()
    });
    let key = match key {
        Key::Ed25519 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        Key::EcdsaP256 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        Key::Rsa2048 => rcgen::KeyPair::from_pem(&rsa_key()).unwrap(),
    };
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(client), Arc::new(server))
}

/// The libraries make no such keys.
fn rsa_key() -> String {
    let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let made = Command::new("openssl").args(arguments).output().unwrap();
    String::from_utf8(made.stdout).unwrap()
}

pub(crate) fn suites() -> [Suite; 4] {
    let suite = |version, cipher| Suite { version, cipher };
    [
        suite(Version::Tls13, Cipher::Aes128Gcm),
        suite(Version::Tls13, Cipher::Aes256Gcm),
        suite(Version::Tls13, Cipher::ChaCha20Poly1305),
        suite(Version::Tls12, Cipher::Aes128Gcm),
    ]
}

fn records(suite: Suite, read: u8, write: u8) -> Records {
    let secret = |byte: u8| (0, Secret::of(&[&[byte; 48]]).unwrap());
    Records::new(suite, secret(read), secret(write))
}

/// Sealing a byte with a key that is expanded for it, beyond sealing it.
pub(crate) fn key(suite: Suite) -> f64 {
    let mut own = records(suite, 1, 2);
    let mut out = Vec::new();
    let expanding = median(2_000, || {
        out.clear();
        own.seal_data(&mut ExpandedKeys::default(), &mut out, |out| out.push(1)).unwrap();
    });
    expanding - seal(suite, 1)
}

pub(crate) fn seal(suite: Suite, bytes: usize) -> f64 {
    let (mut own, mut keys) = (records(suite, 1, 2), ExpandedKeys::default());
    let (data, mut out) = (vec![7; bytes], Vec::new());
    median(2_000, || {
        out.clear();
        own.seal_data(&mut keys, &mut out, |out| out.extend_from_slice(&data)).unwrap();
    })
}

/// With a copy of the record, which is opened in place.
pub(crate) fn open(suite: Suite, bytes: usize) -> f64 {
    let (mut peer, mut peer_keys) = (records(suite, 2, 1), ExpandedKeys::default());
    let (mut own, mut keys) = (records(suite, 1, 2), ExpandedKeys::default());
    let data = vec![7; bytes];
    let mut sealed = Vec::new();
    let mut times: Vec<f64> = (0..4_000)
        .map(|_| {
            sealed.clear();
            let fill = |out: &mut Vec<u8>| out.extend_from_slice(&data);
            peer.seal_data(&mut peer_keys, &mut sealed, fill).unwrap();
            let length = sealed.len();
            let began = cpu_time();
            own.open(&mut keys, &mut sealed, 0, 0..length).unwrap();
            since(began)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
