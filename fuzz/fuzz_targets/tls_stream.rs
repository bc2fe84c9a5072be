//! Any bytes on a TLS connection of a whole event loop, cut anywhere: instead of a handshake, in the
//! middle of it, behind it, or sealed in records. The loop keeps its invariants and ends the
//! connection in time.

#![no_main]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, version};
use tidegate::services::{Echo, Handler, Route, RouteOptions, Service};
use tidegate::sim::{Faults, Network, ServerSettings, SimClient, SimServer};

const CERTIFICATE: &[u8] = include_bytes!("../certificate/certificate.der");
const KEY: &[u8] = include_bytes!("../certificate/key.der");
const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\nHost: fuzz.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fuzz_target!(|input: (Vec<u8>, u8, u8, u16)| {
    let (bytes, part, kind, cut) = input;
    let (server_config, client_config) = configs();
    let network = Network::new(1, Faults::default());
    let mut settings = ServerSettings { tls: vec![Some(server_config)], ..Default::default() };
    settings.connections.receive_buffer_bytes = 16 << 10;
    let echo = |_| Box::new(Echo) as Box<dyn Service>;
    let handler = Handler::Socket(Arc::new(echo), RouteOptions::default());
    let mut server = SimServer::new(&network, &settings, &[Route::new("/echo", handler)]);
    let socket = network.connect(0, 0).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client =
        ClientConnection::new(client_config[usize::from(kind & 1)].clone(), name).unwrap();

    match kind >> 1 & 3 {
        0 => {}
        // A part of the first message.
        1 => {
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            socket.send(&hello[..usize::from(cut) % (hello.len() + 1)]);
        }
        _ => {
            client.writer().write_all(REQUEST).unwrap();
            exchange(&mut client, &socket, &mut server);
            assert!(!client.is_handshaking());
        }
    }
    let is_sealed = kind >> 1 & 3 == 3;
    for piece in bytes.chunks(usize::from(part) + 1) {
        if is_sealed {
            client.writer().write_all(piece).unwrap();
            exchange(&mut client, &socket, &mut server);
        } else {
            socket.send(piece);
            server.settle(1_000).unwrap();
        }
    }
    socket.shutdown();
    for _ in 0..20 {
        let _ = socket.receive(usize::MAX);
        server.settle(1_000).unwrap();
        network.clock().advance(5_000);
    }
    assert_eq!(server.connection_count(), 0);
});

/// Moves bytes until neither has more to say, or they no longer understand each other.
fn exchange(client: &mut ClientConnection, socket: &SimClient, server: &mut SimServer) {
    for _ in 0..20 {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        socket.send(&sent);
        server.settle(1_000).unwrap();
        let arrived = socket.receive(usize::MAX);
        if sent.is_empty() && arrived.is_empty() {
            return;
        }
        let mut rest = &arrived[..];
        while !rest.is_empty() && client.read_tls(&mut rest).is_ok_and(|count| count > 0) {
            client.process_new_packets().unwrap();
            let _ = client.reader().read(&mut [0; 16 << 10]);
        }
    }
}

/// Of the server, and of clients that speak TLS 1.3 and 1.2.
fn configs() -> (Arc<ServerConfig>, &'static [Arc<ClientConfig>; 2]) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, [Arc<ClientConfig>; 2])> = OnceLock::new();
    let (server, clients) = CONFIGS.get_or_init(|| {
        let provider = Arc::new(provider::default_provider());
        let certificate = CertificateDer::from(CERTIFICATE);
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(KEY).into())
            .unwrap();
        let client = |version| {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            Arc::new(config)
        };
        (Arc::new(server), [client(&version::TLS13), client(&version::TLS12)])
    });
    (Arc::clone(server), clients)
}
