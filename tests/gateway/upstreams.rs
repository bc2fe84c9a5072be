//! The servers of upstreams: which of them gets a connection, and what operators see and change.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::admin_client::{CONFIG, get, post};
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::Request;
use crate::socket::Socket;
use crate::wait::until;

/// A configuration whose only route leads to these servers, with more in the table of the upstream.
fn config(servers: &[SocketAddr], more: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|own| format!("\"{own}\"")).collect();
    let servers = servers.join(", ");
    format!(
        "loops = 2\n[[upstream]]\nname = \"app\"\nservers = [{servers}]\n{more}\n\
         [[route]]\npath = \"/*\"\nservice = \"relay\"\nupstream = \"app\"\n{CONFIG}"
    )
}

/// A client at the echo of a backend, once it is served.
fn open(gateway: &Gateway) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    assert_eq!(socket.receive_head().status, 101);
    socket
}

/// The status of the reply to a client.
fn status(gateway: &Gateway) -> u16 {
    Socket::reply_to(gateway.address(), &Request::upgrade("/echo")).status
}

/// What the API says of a server.
fn server(gateway: &Gateway, address: SocketAddr) -> Value {
    let all = get(gateway.admin_address(), "/api/v1/upstreams").json();
    let servers = all["upstreams"][0]["servers"].as_array().unwrap();
    servers.iter().find(|own| own["address"] == address.to_string()).unwrap().clone()
}

#[test]
fn a_server_is_drained_and_put_back_and_reloads_change_nothing_of_that() {
    let backends = [(); 2].map(|()| Gateway::start());
    let [first, second] = [backends[0].address(), backends[1].address()];
    let toml = config(&[first, second], "");
    let file = config_file(&toml);
    let launch = Launch { toml: Some(&toml), ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    let admin = gateway.admin_address();
    let mut clients: Vec<Socket> = (0..10).map(|_| open(&gateway)).collect();
    let order =
        |verb: &str| post(admin, &format!("/api/v1/upstreams/app/servers/{first}/{verb}"), "");
    let drained = order("drain");
    assert_eq!(drained.status, 200);
    assert_eq!(drained.json(), server(&gateway, first));
    assert_eq!(
        (&drained.json()["state"], &drained.json()["connections"]),
        (&"drained".into(), &5.into())
    );
    clients.extend((0..10).map(|_| open(&gateway)));
    assert_eq!(backends.each_ref().map(|own| own.counter("upgrades")), [5, 15]);

    // A reload, one that takes the server away, and one that brings it back.
    for servers in [&[first, second][..], &[second], &[second, first]] {
        write_config(file.path(), &config(servers, "connect_ms = 4000"));
        assert_eq!(post(admin, "/api/v1/reload", "").status, 200);
        let own = server(&gateway, first);
        assert_eq!(own["is_listed"], servers.contains(&first));
        assert_eq!((&own["state"], &own["connections"]), (&"drained".into(), &5.into()));
    }
    clients.iter_mut().for_each(|client| client.assert_echoes(b"still there"));
    let metrics = get(admin, "/metrics").body;
    for line in [
        format!("tidegate_upstream_connections{{upstream=\"app\",server=\"{first}\"}} 5\n"),
        format!("tidegate_upstream_drained{{upstream=\"app\",server=\"{first}\"}} 1\n"),
        format!(
            "tidegate_upstream_connects_reached_total{{upstream=\"app\",server=\"{second}\"}} 15\n"
        ),
    ] {
        assert!(metrics.contains(&line), "{metrics}");
    }

    assert_eq!(order("resume").json()["state"], "up");
    clients.extend((0..10).map(|_| open(&gateway)));
    assert_eq!(backends.each_ref().map(|own| own.counter("upgrades")), [15, 15]);
    for missing in ["app/servers/127.0.0.1:1", "other/servers/127.0.0.1:1"] {
        assert_eq!(post(admin, &format!("/api/v1/upstreams/{missing}/drain"), "").status, 404);
    }
}

#[test]
fn an_upstream_whose_servers_are_all_drained_is_unavailable() {
    let backend = Gateway::start();
    let gateway = Gateway::with_config(&config(&[backend.address()], ""));
    let admin = gateway.admin_address();
    let path = format!("/api/v1/upstreams/app/servers/{}", backend.address());
    post(admin, &format!("{path}/drain"), "");
    assert_eq!(status(&gateway), 503);
    post(admin, &format!("{path}/resume"), "");
    assert_eq!(status(&gateway), 101);
}

/// A server that answers every request with 200 or 503, and is no WebSocket server.
fn scripted() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_well = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&is_well);
    // Ends with the process of the tests.
    thread::spawn(move || {
        for mut socket in listener.incoming().map(Result::unwrap) {
            let status = if own.load(Ordering::Relaxed) { "200 OK" } else { "503 No" };
            let mut head = [0; 1024];
            // A check that is over by then is none of its concern.
            let _ = socket.read(&mut head);
            let _ = write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, is_well)
}

fn until_state(gateway: &Gateway, address: SocketAddr, state: &str) {
    let is_so = || Some(()).filter(|()| server(gateway, address)["state"] == state);
    until(&format!("{address} is {state}"), is_so);
}

/// Checks that come to a verdict soon.
const CHECKS: &str = "health_every_ms = 20\nhealth_fall = 2\nhealth_rise = 2\n";

#[test]
fn a_server_that_fails_its_checks_is_passed_over_until_it_passes_them() {
    let (address, is_well) = scripted();
    let backend = Gateway::start();
    let more = format!("health = \"get\"\nhealth_path = \"/\"\n{CHECKS}");
    let gateway = Gateway::with_config(&config(&[address, backend.address()], &more));
    until_state(&gateway, address, "unhealthy");
    gateway.logged(&format!("upstream app: {address} is unhealthy: it answers with 503"));
    let mut clients: Vec<Socket> = (0..10).map(|_| open(&gateway)).collect();
    clients.iter_mut().for_each(|client| client.assert_echoes(b"served"));
    is_well.store(true, Ordering::Relaxed);
    until_state(&gateway, address, "up");
    gateway.logged(&format!("upstream app: {address} is healthy again"));
    // It has fewer connections, and is no server of WebSockets.
    assert_eq!(status(&gateway), 200);
}

#[test]
fn a_check_may_be_the_handshake_of_a_websocket() {
    let (address, is_well) = scripted();
    is_well.store(true, Ordering::Relaxed);
    let backend = Gateway::start();
    let more = format!("health = \"websocket\"\nhealth_path = \"/echo\"\n{CHECKS}");
    let gateway = Gateway::with_config(&config(&[address, backend.address()], &more));
    until_state(&gateway, address, "unhealthy");
    let passed = || Some(()).filter(|()| backend.counter("closed_by_peer") >= 3);
    until("handshakes are ended with a close frame", passed);
    assert_eq!(server(&gateway, backend.address())["state"], "up");
}

#[test]
fn with_all_servers_unhealthy_all_are_tried() {
    let backend = Gateway::start();
    let more = format!("health = \"get\"\nhealth_path = \"/nothing\"\n{CHECKS}");
    let gateway = Gateway::with_config(&config(&[backend.address()], &more));
    until_state(&gateway, backend.address(), "unhealthy");
    open(&gateway).assert_echoes(b"served");
}

/// A server that tells its clients, in the body of a refusal, from which address they come.
fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process of the tests.
    thread::spawn(move || {
        while let Ok((mut socket, peer)) = listener.accept() {
            let mut head = [0; 2048];
            let _ = socket.read(&mut head);
            let body = peer.ip().to_string();
            let length = body.len();
            let _ = write!(socket, "HTTP/1.1 403 No\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn a_server_sees_connections_from_the_local_addresses_in_turn() {
    let more = "local_addresses = [\"127.0.0.2\", \"127.0.0.3\"]";
    let gateway = Gateway::with_config(&config(&[mirror()], more));
    let mut seen: Vec<String> = (0..4).map(|_| body(&gateway)).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]);
}

#[test]
fn an_address_that_is_not_of_this_machine_is_no_fault_of_the_server() {
    let backend = Gateway::start();
    let more = "local_addresses = [\"192.0.2.1\"]";
    let gateway = Gateway::with_config(&config(&[backend.address()], more));
    assert_eq!(status(&gateway), 503);
    gateway.logged(&format!("backend {}: no source port is left for it", backend.address()));
    gateway.assert_counter("relay_source_ports", 1);
    assert_eq!(server(&gateway, backend.address())["state"], "up");
}

/// The body of the reply to a client.
fn body(gateway: &Gateway) -> String {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    let mut reply = String::new();
    socket.stream.read_to_string(&mut reply).unwrap();
    reply.rsplit("\r\n\r\n").next().unwrap().to_owned()
}
