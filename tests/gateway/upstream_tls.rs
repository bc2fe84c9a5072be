//! Backends that are reached with TLS: whom the gateway takes for one, what it shows to them, and what
//! clients are told of those that are none.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::admin_client::{CONFIG, get, post};
use crate::certificates::CertificateFolder;
use crate::clients::below_root;
use crate::frames::{CLOSE, client_frame, close_payload, sample_bytes};
use crate::gateway::{Gateway, Launch, config_file, run_to_end};
use crate::messages::{Reply, Request, find};
use crate::relay::assert_echoes_message;
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::wait::until;

/// A gateway that serves an echo over TLS, with more in the table of its listener.
fn backend(folder: &CertificateFolder, pair: &str, more: &str) -> Gateway {
    let config = format!(
        "loops = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{more}\n{}\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         [[route]]\npath = \"/\"\nservice = \"page\"\n",
        folder.table(pair),
    );
    Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() })
}

/// A configuration in front of this server, with more in the table of the upstream and of the route.
fn config(server: &str, tls: &str, route: &str) -> String {
    format!(
        "loops = 2\n[[upstream]]\nname = \"app\"\nservers = [\"{server}\"]\ntls = true\n{tls}\n\
         [[route]]\npath = \"/*\"\nservice = \"relay\"\nupstream = \"app\"\n{route}\n{CONFIG}"
    )
}

fn ca(folder: &CertificateFolder, name: &str) -> String {
    format!("tls_ca = {:?}", folder.file(name).display().to_string())
}

fn in_front_of(address: SocketAddr, tls: &str, route: &str) -> Gateway {
    Gateway::with_config(&config(&address.to_string(), tls, route))
}

fn open(gateway: &Gateway) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    let reply = socket.receive_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    socket
}

/// The whole reply to a client that is refused.
fn refused(gateway: &Gateway) -> Reply {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    let mut bytes = Vec::new();
    socket.stream.read_to_end(&mut bytes).unwrap();
    Reply::parse(&bytes)
}

/// Messages of all sizes come back, and so does a close.
fn assert_serves(gateway: &Gateway) {
    let mut socket = open(gateway);
    for bytes in [0, 1, 125, 126, 16_384, 16_385, 65_536, 1_000_000] {
        assert_echoes_message(&mut socket, &sample_bytes(bytes));
    }
    socket.send(&client_frame(CLOSE, &close_payload(4321, "enough")));
    assert_eq!(socket.receive_frame().payload[..2], 4321_u16.to_be_bytes());
    socket.assert_ended();
}

#[test]
fn clients_are_served_over_tls_in_both_modes() {
    let folder = CertificateFolder::new();
    let backend = backend(&folder, "server", "");
    for mode in ["bytes", "frames"] {
        let limit = if mode == "frames" { "message_bytes_max = 2000000" } else { "" };
        let route = format!("mode = \"{mode}\"\n{limit}");
        let tls = ca(&folder, "ca.pem");
        for tls in [tls.clone(), format!("{tls}\ntls_name = \"localhost\"")] {
            let gateway = in_front_of(backend.address(), &tls, &route);
            assert_serves(&gateway);
            assert_serves(&gateway);
            let count = gateway.counter("relay_tls_full") + gateway.counter("relay_tls_resumed");
            assert_eq!(count, 2);
            let none = ["tls_faults", "tls_truncated", "tls_full", "relay_tls_failed"];
            assert_eq!(none.map(|name| gateway.counter(name)), [0; 4]);
            until("nothing is left", || {
                Some(()).filter(|()| gateway.counter("connections_now") == 0)
            });
        }
    }
}

/// The same by OpenSSL, whose tickets and notices of the end come at other moments.
struct PythonBackend {
    child: Child,
    address: SocketAddr,
}

impl PythonBackend {
    fn start(folder: &CertificateFolder, version: &str) -> Option<Self> {
        let python = below_root("target/clients/python/bin/python");
        if !python.exists() {
            skip_without("Python websockets, which scripts/install-clients installs");
            return None;
        }
        let mut command = Command::new(python);
        command.arg(below_root("tests/clients/tls_backend.py"));
        command.args([folder.file("server.pem"), folder.file("server.key")]).arg(version);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = ([127, 0, 0, 1], line.trim().parse().unwrap()).into();
        Some(Self { child, address })
    }
}

impl Drop for PythonBackend {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_backend_of_another_maker_is_served_over_tls_and_its_sessions_are_resumed() {
    let folder = CertificateFolder::new();
    for version in ["1.2", "1.3"] {
        let Some(backend) = PythonBackend::start(&folder, version) else { return };
        let more = ca(&folder, "ca.pem");
        // One loop: each has sessions of its own.
        let config = config(&backend.address.to_string(), &more, "mode = \"bytes\"");
        let gateway = Gateway::with_config(&config.replace("loops = 2", "loops = 1"));
        for _ in 0..4 {
            assert_serves(&gateway);
        }
        let counts = ["relay_tls_full", "relay_tls_resumed"].map(|name| gateway.counter(name));
        assert_eq!(counts, [1, 3], "{version}");
        assert_eq!(gateway.counter("tls_faults"), 0);
    }
}

#[test]
fn a_backend_whose_certificate_does_not_verify_gets_no_request() {
    let folder = CertificateFolder::new();
    let authority = &folder.authority;
    folder.write_pair("expired", &authority.server_until(&["127.0.0.1"], 2020, 1, 1));
    let own = ca(&folder, "ca.pem");
    let other = ca(&folder, "client-ca.pem");
    let name = format!("{own}\ntls_name = \"app.test\"");
    for (pair, tls, why) in [
        ("server", &name, "its certificate is not for this name"),
        ("server", &other, "its certificate comes from an unknown authority"),
        ("expired", &own, "its certificate has expired"),
    ] {
        let backend = backend(&folder, pair, "");
        let gateway = in_front_of(backend.address(), tls, "");
        let reply = refused(&gateway);
        assert_eq!(reply.status, 502);
        assert_eq!(&*reply.body, b"the certificate of the backend is not valid\n");
        gateway.logged(&format!("backend {}: {why}", backend.address()));
        gateway.assert_counter("relay_bad_certificate", 1);
        assert_eq!(backend.counter("upgrades"), 0);
        let all = get(gateway.admin_address(), "/api/v1/upstreams").json();
        assert_eq!(all["upstreams"][0]["servers"][0]["state"], "failed");
    }
    // Without verifying all the same, with a warning.
    let backend = backend(&folder, "expired", "");
    let gateway = in_front_of(backend.address(), "tls_verify = false", "");
    gateway.logged("THE CERTIFICATES OF ITS SERVERS ARE NOT VERIFIED");
    assert_serves(&gateway);
}

#[test]
fn a_server_is_verified_by_the_name_that_leads_to_it() {
    let folder = CertificateFolder::new();
    folder.write_pair("named", &folder.authority.server(&["localhost"]));
    let backend = backend(&folder, "named", "");
    let port = backend.address().port();
    let tls = ca(&folder, "ca.pem");
    assert_serves(&Gateway::with_config(&config(&format!("localhost:{port}"), &tls, "")));
    assert_eq!(refused(&in_front_of(backend.address(), &tls, "")).status, 502);
}

#[test]
fn a_backend_that_asks_for_a_certificate_is_shown_one() {
    let folder = CertificateFolder::new();
    let file = |name: &str| format!("{:?}", folder.file(name).display().to_string());
    let asks = format!("client_certificates = \"required\"\nclient_ca = {}", file("client-ca.pem"));
    let backend = backend(&folder, "server", &asks);
    let without = ca(&folder, "ca.pem");
    let gateway = in_front_of(backend.address(), &without, "");
    let reply = refused(&gateway);
    assert_eq!((reply.status, &*reply.body), (502, &b"TLS with the backend has failed\n"[..]));
    // certificate_required (RFC 8446 §6.2)
    gateway.logged("it ends TLS with the alert 116");
    let with = format!(
        "{without}\ntls_certificate = {}\ntls_key = {}",
        file("client.pem"),
        file("client.key")
    );
    assert_serves(&in_front_of(backend.address(), &with, ""));
}

#[test]
fn two_hundred_clients_are_relayed_over_tls_at_once() {
    let folder = CertificateFolder::new();
    let backend = backend(&folder, "server", "");
    let gateway = in_front_of(backend.address(), &ca(&folder, "ca.pem"), "");
    let mut waiting: Vec<Socket> = (0..200)
        .map(|_| {
            let mut socket = Socket::connect(gateway.address());
            socket.send(&Request::upgrade("/echo").bytes());
            socket
        })
        .collect();
    waiting.iter_mut().for_each(|socket| assert_eq!(socket.receive_head().status, 101));
    let payload = sample_bytes(40_000);
    waiting.iter_mut().for_each(|socket| socket.assert_echoes(&payload));
    gateway.assert_counter("relays_now", 200);
    drop(waiting);
    until("all are gone", || Some(()).filter(|()| gateway.counter("connections_now") == 0));
}

#[test]
fn a_client_that_does_not_read_holds_its_backend_up_over_tls() {
    let folder = CertificateFolder::new();
    let backend = backend(&folder, "server", "");
    let gateway = in_front_of(backend.address(), &ca(&folder, "ca.pem"), "mode = \"bytes\"");
    let socket = open(&gateway);
    let mut sender = socket.stream.try_clone().unwrap();
    let frame = client_frame(crate::frames::BINARY, &sample_bytes(60_000));
    let count = 500;
    // 30 MB go in before the first byte is read, as far as there is room.
    let thread = thread::spawn(move || (0..count).for_each(|_| sender.write_all(&frame).unwrap()));
    until("reading pauses", || Some(()).filter(|()| gateway.counter("reading_paused") > 0));
    let mut socket = socket;
    for _ in 0..count {
        assert_eq!(socket.receive_frame().payload.len(), 60_000);
    }
    thread.join().unwrap();
}

#[test]
fn a_reload_takes_new_files() {
    let folder = CertificateFolder::new();
    let backend = backend(&folder, "server", "");
    folder.write("trusted.pem", &folder.client_authority.pem());
    let toml = config(&backend.address().to_string(), &ca(&folder, "trusted.pem"), "");
    let file = config_file(&toml);
    let launch = Launch { toml: Some(&toml), ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    assert_eq!(refused(&gateway).status, 502);
    folder.write("trusted.pem", "no certificate");
    let reload = || post(gateway.admin_address(), "/api/v1/reload", "").status;
    assert_ne!(reload(), 200);
    folder.write("trusted.pem", &folder.authority.pem());
    assert_eq!(refused(&gateway).status, 502, "not before a reload");
    assert_eq!(reload(), 200);
    gateway.logged("the files of TLS to upstreams have changed");
    let mut kept = open(&gateway);
    assert_eq!(reload(), 200);
    folder.write("trusted.pem", &folder.client_authority.pem());
    assert_eq!(reload(), 200);
    assert_eq!(refused(&gateway).status, 502);
    kept.assert_echoes(b"still there");
}

#[test]
fn files_that_cannot_be_used_end_the_start() {
    let folder = CertificateFolder::new();
    let file = |name: &str| format!("{:?}", folder.file(name).display().to_string());
    let mixed =
        format!("tls_certificate = {}\ntls_key = {}", file("client.pem"), file("server.key"));
    for (tls, text) in [
        (ca(&folder, "none.pem"), "upstream[0].tls_ca = "),
        (ca(&folder, "server.key"), "holds no certificate in PEM"),
        (format!("{}\n{mixed}", ca(&folder, "ca.pem")), "upstream[0].tls_key = "),
    ] {
        let file = config_file(&config("127.0.0.1:1", &tls, ""));
        for more in [&["--check"][..], &[]] {
            let path = file.path().to_str().unwrap();
            let output = run_to_end(&[&["--config", path], more].concat());
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{errors}");
            assert!(errors.contains(text), "{errors}");
        }
    }
}

#[test]
fn checks_of_servers_speak_tls_as_relays_do() {
    let folder = CertificateFolder::new();
    let backend = backend(&folder, "server", "");
    for (health, file, state) in [
        ("get", "ca.pem", "up"),
        ("websocket", "ca.pem", "up"),
        ("get", "client-ca.pem", "unhealthy"),
    ] {
        let path = if health == "get" { "/" } else { "/echo" };
        let more = format!(
            "{}\nhealth = \"{health}\"\nhealth_path = \"{path}\"\nhealth_every_ms = 20\n\
             health_fall = 1\nhealth_rise = 1",
            ca(&folder, file)
        );
        let gateway = in_front_of(backend.address(), &more, "");
        let admin = gateway.admin_address();
        until("the servers are checked", || {
            let metrics = get(admin, "/metrics").body;
            let line =
                metrics.lines().find(|line| line.starts_with("tidegate_health_checks_total "))?;
            let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
            Some(()).filter(|()| count >= 3.0)
        });
        until(&format!("it is {state} by {health} with {file}"), || {
            let all = get(admin, "/api/v1/upstreams").json();
            Some(()).filter(|()| all["upstreams"][0]["servers"][0]["state"] == state)
        });
    }
}

/// A server of HTTP over TLS that forbids everything.
fn forbidding(folder: &CertificateFolder) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = CertificateDer::from_pem_file(folder.file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    // Ends with the process of the tests.
    thread::spawn(move || {
        for socket in listener.incoming().map(Result::unwrap) {
            let conn = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(conn, socket);
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            // A client that trusts another authority goes away.
            while let Ok(count @ 1..) = stream.read(&mut part) {
                request.extend_from_slice(&part[..count]);
                if find(&request, b"\r\n\r\n").is_some() {
                    let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn events_go_to_a_backend_over_tls() {
    let folder = CertificateFolder::new();
    let address = forbidding(&folder);
    for (file, expected) in [("ca.pem", 403), ("client-ca.pem", 503)] {
        let toml = config(&address.to_string(), &ca(&folder, file), "")
            .replace("service = \"relay\"", "service = \"events\"");
        let gateway = Gateway::with_config(&toml);
        let mut socket = Socket::connect(gateway.address());
        socket.send(&Request::upgrade("/echo").bytes());
        let status = socket.receive_head().status;
        assert!(status == expected || expected == 503 && status == 502, "{file}: {status}");
    }
}
