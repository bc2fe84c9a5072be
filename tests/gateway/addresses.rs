//! Limits by addresses, from outside: this machine has as many addresses as 127.0.0.0/8.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use socket2::{Domain, Protocol, Type};

use crate::admin_client;
use crate::certificates::CertificateFolder;
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::{Reply, Request};
use crate::socket::Socket;
use crate::tls_client::TlsClient;
use crate::wait::until;

/// A connection from 127.0.0.N.
fn connect_from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// What an upgrade from 127.0.0.N is answered; `None` if the connection ends without an answer.
fn ask(last: u8, address: SocketAddr) -> (TcpStream, Option<Reply>) {
    let mut stream = connect_from(last, address);
    // One that is closed at once may be reset before this.
    let _ = stream.write_all(&Request::upgrade("/echo").bytes());
    let mut arrived = Vec::new();
    let mut room = [0; 4096];
    while !arrived.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut room) {
            Ok(count) if count > 0 => arrived.extend_from_slice(&room[..count]),
            Ok(_) | Err(_) => return (stream, None),
        }
    }
    (stream, Some(Reply::parse(&arrived)))
}

fn status(last: u8, address: SocketAddr) -> Option<u16> {
    ask(last, address).1.map(|reply| reply.status)
}

#[test]
fn who_connects_too_often_gets_429_and_then_no_answer_while_others_get_in() {
    let toml = "[addresses]\nexempt_local = false\nconnections_per_s = 1\nconnections_burst = 10\n";
    let gateway = Gateway::with_config(toml);
    let address = gateway.address();
    let mut inside = Socket::open(address);
    let refused = until("an address is over its limit", || {
        ask(2, address).1.filter(|reply| reply.status != 101)
    });
    assert_eq!(refused.status, 429);
    let retry_after: u32 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=10).contains(&retry_after), "{refused:?}");
    until("it is closed without an answer", || status(2, address).is_none().then_some(()));
    assert_eq!(status(3, address), Some(101));
    inside.assert_echoes(b"still served");
    gateway.logged("refused: clients over addresses.connections_per_s (refused_address_rate=");
    gateway.logged("closed at once: clients that were refused for their address");
}

#[test]
fn this_machine_is_exempt_by_default() {
    let gateway =
        Gateway::with_config("[addresses]\nconnections_per_s = 1\nconnections_burst = 1\n");
    for _ in 0..20 {
        assert_eq!(status(2, gateway.address()), Some(101));
    }
    assert_eq!(gateway.counter("refused_address_rate"), 0);
}

#[test]
fn open_connections_are_counted_until_they_end_and_a_reload_keeps_the_count() {
    let limit = |max| {
        let admin = admin_client::CONFIG;
        format!("loops = 2\n{admin}\n[addresses]\nexempt_local = false\nconnections_max = {max}\n")
    };
    let file = config_file(&limit(2));
    let gateway = Gateway::launch_with(
        &Launch { toml: Some(admin_client::CONFIG), ..Launch::default() },
        Some(file.path()),
    );
    let address = gateway.address();
    let held = [ask(2, address), ask(2, address)];
    assert!(held.iter().all(|(_, reply)| reply.as_ref().is_some_and(|own| own.status == 101)));
    assert_eq!(status(2, address), Some(429));
    write_config(file.path(), &limit(3));
    gateway.signal(Signal::HUP);
    gateway.logged("the configuration is reloaded");
    let (third, reply) = ask(2, address);
    assert_eq!(reply.unwrap().status, 101);
    assert_ne!(status(2, address), Some(101));
    let metrics = || {
        let token = format!("Authorization: Bearer {}", admin_client::METRICS_TOKEN);
        admin_client::request(gateway.admin_address(), "GET", "/metrics", &[&token], "").body
    };
    assert!(metrics().contains("\ntidegate_addresses 1\n"), "{}", metrics());
    assert!(metrics().contains("tidegate_requests_refused_total{reason=\"address_open\"} 2\n"));
    let listed = admin_client::get(gateway.admin_address(), "/api/v1/addresses").json();
    let expected = serde_json::json!({
        "addresses": [{ "network": "127.0.0.2/32", "open": 3 }],
        "is_whole": true,
    });
    assert_eq!(listed, expected);
    drop((held, third));
    // The rate of the defaults is remembered for a moment.
    until("nothing is remembered", || metrics().contains("\ntidegate_addresses 0\n").then_some(()));
    assert_eq!(status(2, address), Some(101));
}

#[test]
fn denied_clients_get_no_answer_and_allowed_ones_are_exempt() {
    let toml = "[addresses]\ndeny = [\"127.0.0.0/8\"]\nallow = [\"127.0.0.1\", \"127.0.0.3\"]\n";
    let gateway = Gateway::with_config(toml);
    let statuses = [2, 3, 2].map(|last| status(last, gateway.address()));
    assert_eq!(statuses, [None, Some(101), None]);
    gateway.logged("closed at once: clients that addresses.deny lists (refused_address_denied=");
}

#[test]
fn a_dry_run_only_counts() {
    let toml = "[addresses]\ndeny = [\"127.0.0.2\"]\ndry_run = true\n";
    let gateway = Gateway::with_config(toml);
    assert_eq!(status(2, gateway.address()), Some(101));
    gateway.logged("1 would be refused without addresses.dry_run");
}

#[test]
fn failed_handshakes_of_any_kind_are_refused_after_some() {
    let toml = "[addresses]\nexempt_local = false\nhandshake_failures_per_s = 1\n\
                handshake_failures_burst = 3\n";
    let gateway = Gateway::with_config(toml);
    let foreign = Request::upgrade("/echo").with("Origin", "http://stranger.example").bytes();
    for (last, bytes) in [(2, &b"no head at all\r\n\r\n"[..]), (3, &foreign[..])] {
        until("the address is over its limit", || {
            let mut stream = connect_from(last, gateway.address());
            let _ = stream.write_all(bytes);
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply);
            reply.starts_with(b"HTTP/1.1 429 ").then_some(())
        });
    }
    assert_eq!(status(4, gateway.address()), Some(101));
}

#[test]
fn over_tls_the_verdict_falls_before_the_handshake() {
    let folder = CertificateFolder::new();
    let toml = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}\n\
         [addresses]\nexempt_local = false\nconnections_max = 1\n",
        folder.table("server")
    );
    let gateway = Gateway::launch(&Launch { toml: Some(&toml), listen: None, ..Launch::default() });
    let mut inside = TlsClient::new(&folder).open(gateway.address()).unwrap();
    inside.assert_echoes(b"let in");
    let mut refused = connect_from(1, gateway.address());
    assert!(matches!(refused.read(&mut [0; 16]), Ok(0) | Err(_)), "closed at once");
    gateway.assert_counter("addresses_dropped", 1);
    gateway.assert_counter("tls_full", 1);
    inside.assert_echoes(b"still served");
}

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(60);
