//! `tidegate client` over TLS: with servers that speak it well, badly, or not at all.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::gateway::PROGRAM;

type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// A certificate for a name or an address, in a file as well.
struct Certificate {
    made: CertifiedKey<KeyPair>,
    folder: TempDir,
}

impl Certificate {
    fn of(name: &str) -> Self {
        let made = generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("certificate.pem"), made.cert.pem()).unwrap();
        Self { made, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("certificate.pem").display().to_string()
    }

    fn session(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConnection {
        let key = PrivatePkcs8KeyDer::from(self.made.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.made.cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    /// Serves one TLS connection on a free port.
    fn serve(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        behave: impl FnOnce(TlsStream) + Send + 'static,
    ) -> SocketAddr {
        let session = self.session(versions);
        serve_one(|stream| behave(StreamOwned::new(session, stream)))
    }
}

/// Serves one connection on a free port.
fn serve_one(behave: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || behave(listener.accept().unwrap().0));
    address
}

/// Echoes until the client closes. The client may refuse the certificate instead.
fn echo(stream: TlsStream) {
    let Ok(websocket) = tungstenite::accept(stream) else { return };
    echo_messages(websocket);
}

fn echo_messages(mut websocket: WebSocket<TlsStream>) {
    while let Ok(message) = websocket.read() {
        if matches!(message, Message::Text(_)) {
            websocket.send(message).unwrap();
        }
    }
}

/// Runs the client with this input to its end.
fn client(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("client").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A client that ends at once reads nothing.
    let writer = thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[track_caller]
fn assert_ends(output: &Output, exit_code: i32, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(words), "{stderr}");
    assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
}

#[test]
fn lines_of_any_length_are_echoed_over_both_versions() {
    let long = "long".repeat(200_000);
    let input = format!("hello\n\n{long}\n");
    for version in [&TLS13, &TLS12] {
        let certificate = Certificate::of("localhost");
        let address = certificate.serve(&[version], echo);
        let url = format!("wss://localhost:{}/echo", address.port());
        let output = client(&["--ca", &certificate.path(), &url], &input);
        assert_ends(&output, 0, "closed with 1000");
        assert_ends(&output, 0, &format!("connected to {url}"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), input);
    }
}

#[test]
fn the_end_of_the_session_is_announced() {
    let certificate = Certificate::of("127.0.0.1");
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = certificate.serve(&[&TLS13], move |stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        while websocket.read().is_ok() {}
        // A stream that ends without close_notify is an error to rustls.
        let rest = websocket.get_mut().read(&mut [0; 64]);
        sender.send(rest.map_err(|error| error.to_string())).unwrap();
    });
    let output = client(&["--ca", &certificate.path(), &format!("wss://{address}/")], "");
    assert_ends(&output, 0, "closed with 1000");
    assert_eq!(receiver.recv().unwrap(), Ok(0));
}

#[test]
fn a_certificate_must_be_trusted_and_be_for_the_host() {
    let certificate = Certificate::of("gateway.example");
    let other = Certificate::of("127.0.0.1");
    for (ca, reason) in [
        (other.path(), "the server's certificate is refused"),
        (certificate.path(), "certificate not valid for name"),
    ] {
        let address = certificate.serve(&[&TLS13], echo);
        let output = client(&["--ca", &ca, &format!("wss://{address}/")], "hello\n");
        assert_ends(&output, 1, reason);
        assert_ends(&output, 1, "--insecure takes any certificate");
        assert!(output.stdout.is_empty());
    }
    let address = certificate.serve(&[&TLS13], echo);
    let output = client(&["--insecure", &format!("wss://{address}/")], "hello\n");
    assert_ends(&output, 0, "NOT verified");
    assert_eq!(output.stdout, b"hello\n");
}

#[test]
fn plain_http_on_a_port_for_tls_is_named() {
    let address = serve_one(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0; 4096]);
    });
    let output = client(&["--insecure", &format!("wss://{address}/")], "");
    assert_ends(&output, 1, "does not answer with TLS: is this its port for ws://?");
}

#[test]
fn tls_on_a_plain_url_is_named() {
    let certificate = Certificate::of("127.0.0.1");
    let address = certificate.serve(&[&TLS13], |mut stream| {
        // The server answers the request with an alert, and ends the connection.
        assert!(stream.conn.complete_io(&mut stream.sock).is_err());
    });
    let output = client(&[&format!("ws://{address}/")], "");
    assert_ends(&output, 1, "the server answers with TLS: its URL begins with wss://");
}

#[test]
fn a_server_that_leaves_during_the_handshake_is_named() {
    let address = serve_one(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let output = client(&["--insecure", &format!("wss://{address}/")], "");
    assert_ends(&output, 1, "ended the connection during the TLS handshake");
}
