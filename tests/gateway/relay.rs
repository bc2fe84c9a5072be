//! Relays: backends of other makers behind the gateway, and what becomes of their clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::certificates::CertificateFolder;
use crate::clients::{below_root, run};
use crate::compression::RSV1;
use crate::frames::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, client_frame, close_payload, sample_bytes,
    sample_text,
};
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::{Reply, Request};
use crate::port::reserved_address;
use crate::relay_backend::{Backend, python, relay_config};
use crate::skip::skip_without;
use crate::socket::{Frame, Socket};
use crate::tls_client::TlsClient;
use crate::wait::{SetAtEnd, until};

fn in_front_of(address: SocketAddr, more: &str) -> Gateway {
    Gateway::with_config(&relay_config(&format!("\"{address}\""), more))
}

fn open(address: SocketAddr, path: &str) -> Socket {
    let mut socket = Socket::connect(address);
    socket.send(&Request::upgrade(path).bytes());
    let reply = socket.receive_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    socket
}

/// The whole reply to a request that is refused.
fn refused(address: SocketAddr, request: &Request) -> Reply {
    let mut socket = Socket::connect(address);
    socket.send(&request.bytes());
    let mut bytes = Vec::new();
    socket.stream.read_to_end(&mut bytes).unwrap();
    Reply::parse(&bytes)
}

fn assert_serves_clients(gateway: &Gateway) {
    let mut socket = open(gateway.address(), "/app/echo");
    for bytes in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        socket.assert_echoes(&sample_bytes(bytes));
    }
    socket.send(&client_frame(TEXT, b"who"));
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"127.0.0.1".to_vec() });
    socket.send(&client_frame(CLOSE, &close_payload(4321, "enough")));
    assert_eq!(socket.receive_frame().payload[..2], 4321_u16.to_be_bytes());
    socket.assert_ended();

    let members = Request::upgrade("/app/members");
    let reply = refused(gateway.address(), &members);
    assert_eq!((reply.status, reply.text()), (401, "a key is needed\n"));
    reply.assert_is_last(false);
}

#[test]
fn a_backend_in_python_serves_the_clients_of_a_relay() {
    let Some(backend) = Backend::python() else { return };
    assert_serves_clients(&backend.gateway(""));
    // What the configuration sets is what the backend asks for.
    let gateway = backend.gateway("set_headers = [\"X-Key: secret\"]");
    open(gateway.address(), "/app/members").assert_echoes(b"in");
}

#[test]
fn a_backend_of_fastapi_serves_the_clients_of_a_relay() {
    let Some(mut command) = python() else { return };
    command.arg(below_root("examples/relay/fastapi_app.py"));
    let backend = Backend::start(command, &[]);
    assert_serves_clients(&backend.gateway(""));
    assert_serves_frames(&backend.gateway(FRAMES));
}

#[test]
fn a_backend_in_node_serves_the_clients_of_a_relay() {
    let Some(backend) = Backend::node() else { return };
    assert_serves_clients(&backend.gateway(""));
    assert_eq!(refused(backend.gateway("").address(), &Request::get("/app/")).status, 426);
}

/// A gateway behind a gateway: clients of other makers notice nothing of the first.
#[test]
fn clients_of_other_makers_pass_their_batteries_through_a_relay() {
    let backend = Gateway::with_config(
        "loops = 1\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         subprotocols = [\"v2.echo\", \"v1.echo\"]\n\
         [[route]]\npath = \"/takeover\"\nservice = \"echo\"\ndeflate_bytes_min = 1\n\
         deflate_context_takeover = true\ndeflate_window_bits_max = 11\n",
    );
    let servers = format!("\"{}\"", backend.address());
    let gateway =
        Gateway::with_config(&relay_config(&servers, "rewrite = \"/*\"").replace("/app/*", "/*"));
    run_batteries(&gateway);
}

/// The batteries of clients in Python and Node, in front of a gateway.
fn run_batteries(gateway: &Gateway) {
    let url = format!("ws://{}/echo", gateway.address());
    let python = below_root("target/clients/python/bin/python");
    if python.exists() {
        let mut command = Command::new(python);
        command.arg(below_root("tests/clients/battery.py")).arg(&url);
        run(command);
    } else {
        skip_without("Python websockets, which scripts/install-clients installs");
    }
    let clients = below_root("target/clients");
    if clients.join("node_modules/ws").exists() {
        let mut command = Command::new("node");
        command.arg(below_root("tests/clients/battery.mjs")).arg(&url).arg(clients);
        run(command);
    } else {
        skip_without("Node ws, which scripts/install-clients installs");
    }
}

#[test]
fn a_client_of_tls_is_relayed_to_a_plain_backend() {
    let backend = Gateway::start();
    let folder = CertificateFolder::new();
    let servers = format!("\"{}\"", backend.address());
    let relay = relay_config(&servers, "").replace("/app/*", "/*");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n";
    let toml = format!("{relay}{listener}{}", folder.table("server"));
    let launch = Launch { toml: Some(&toml), listen: None, ..Launch::default() };
    let gateway = Gateway::launch(&launch);
    let mut client = TlsClient::new(&folder).open(gateway.address()).unwrap();
    client.assert_echoes(&sample_bytes(200_000));
}

/// What a backend receives, byte for byte.
#[test]
fn the_request_is_the_gateways_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = "rewrite = \"/v2/*\"\nhost = \"app.internal\"\nremove_headers = [\"Cookie\"]\n";
    let gateway = in_front_of(listener.local_addr().unwrap(), more);
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    let request = Request::upgrade("/app/a%20b?c=d")
        .set("Connection", "Upgrade, X-Hop")
        .with("X-Hop", "1")
        .with("Cookie", "a=b")
        .with("X-Forwarded-For", "6.6.6.6")
        .with("X_Forwarded_For", "6.6.6.6")
        .with("sec-websocket-extensions", "permessage-deflate; client_no_context_takeover");
    client.write_all(&request.bytes()).unwrap();
    let (backend, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(backend).lines().map(Result::unwrap);
    let mut head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert_eq!(head.remove(0), "GET /v2/a%20b?c=d HTTP/1.1");
    head.sort();
    let mut expected = vec![
        "Host: app.internal".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        "Sec-WebSocket-Version: 13".to_owned(),
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover".to_owned(),
        "X-Forwarded-For: 127.0.0.1".to_owned(),
        "X-Real-IP: 127.0.0.1".to_owned(),
        "X-Forwarded-Proto: http".to_owned(),
        "X-Forwarded-Host: localhost".to_owned(),
        "X-Forwarded-Port: 80".to_owned(),
        "Forwarded: for=127.0.0.1;host=\"localhost\";proto=http".to_owned(),
    ];
    let key = head.iter().find(|line| line.starts_with("Sec-WebSocket-Key: ")).unwrap().clone();
    expected.push(key);
    expected.sort();
    assert_eq!(head, expected);
}

/// The identity of the route, the client's own address, which a trusted proxy names, and the way that its
/// request has taken; not what the client says of itself.
#[test]
fn a_backend_learns_who_the_client_of_a_proxy_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = format!("\"{}\"", listener.local_addr().unwrap());
    let toml = format!(
        "trusted_proxies = [\"127.0.0.0/8\"]\n{}[[identity]]\nname = \"guests\"\nkind = \"query\"\n\
         parameter = \"as\"\n",
        relay_config(&servers, "identity = [\"guests\"]")
    );
    let gateway = Gateway::with_config(&toml);
    assert_eq!(refused(gateway.address(), &Request::upgrade("/app/")).status, 401);
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    let request = Request::upgrade("/app/?as=J%C3%B6rg")
        .with("X-Tidegate-User", "root")
        .with("X-Forwarded-For", "6.6.6.6, 192.0.2.7")
        .with("X-Forwarded-Proto", "https")
        .with("X-Real-IP", "6.6.6.6");
    client.write_all(&request.bytes()).unwrap();
    let (backend, _) = listener.accept().unwrap();
    let lines = BufReader::new(backend).lines().map(Result::unwrap);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let values = |name: &str| -> Vec<&str> {
        head.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    };
    assert_eq!(values("X-Tidegate-User"), ["J%C3%B6rg"]);
    assert_eq!(values("X-Real-IP"), ["192.0.2.7"]);
    assert_eq!(values("X-Forwarded-For"), ["6.6.6.6, 192.0.2.7, 127.0.0.1"]);
    assert_eq!(values("X-Forwarded-Proto"), ["https"]);
    assert_eq!(values("Forwarded"), ["for=127.0.0.1;host=\"localhost\";proto=http"]);
}

#[test]
fn clients_of_a_backend_that_is_gone_are_told_so_and_those_that_come_later_served() {
    let address = reserved_address();
    let gateway = in_front_of(address, "rewrite = \"/*\"");
    assert_eq!(refused(gateway.address(), &Request::upgrade("/app/echo")).status, 502);

    let launch = Launch { listen: Some(&address.to_string()), ..Launch::default() };
    let mut backend = Gateway::launch(&launch);
    for _ in 0..5 {
        let mut clients: Vec<Socket> =
            (0..20).map(|_| open(gateway.address(), "/app/echo")).collect();
        clients.iter_mut().for_each(|client| client.assert_echoes(b"there"));
        backend.signal(Signal::KILL);
        backend.exit_status();
        for client in &mut clients {
            client.assert_ended();
        }
        assert_eq!(refused(gateway.address(), &Request::upgrade("/app/echo")).status, 502);
        backend = Gateway::launch(&launch);
    }
    open(gateway.address(), "/app/echo").assert_echoes(b"again");
    let ended = || Some(()).filter(|()| gateway.counter("relays_now") == 0);
    until("nothing is left of them", ended);
}

/// Clients that come back at once whatever happens to them, while their backend is killed and started.
#[test]
fn a_backend_that_is_killed_under_load_serves_again_each_time() {
    const KILLS: usize = 20;
    for mode in ["bytes", "frames"] {
        let address = reserved_address();
        let launch = Launch { listen: Some(&address.to_string()), ..Launch::default() };
        let more = format!("rewrite = \"/*\"\nmode = \"{mode}\"");
        let gateway = in_front_of(address, &more);
        let mut backend = Gateway::launch(&launch);
        let served = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends_them = SetAtEnd(&is_over);
            for _ in 0..8 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        visit(gateway.address(), &served);
                    }
                });
            }
            for _ in 0..KILLS {
                let before = served.load(Ordering::Relaxed);
                let goes_on = || Some(()).filter(|()| served.load(Ordering::Relaxed) > before + 50);
                until("clients are served", goes_on);
                backend.signal(Signal::KILL);
                backend.exit_status();
                backend = Gateway::launch(&launch);
            }
        });
        open(gateway.address(), "/app/echo").assert_echoes(b"again");
        let ended = || Some(()).filter(|()| gateway.counter("relays_now") == 0);
        until("nothing is left of them", ended);
    }
}

/// One visit of a client: it is refused because no server is there, or has each echo as it was sent until
/// the connection ends.
fn visit(address: SocketAddr, served: &AtomicUsize) {
    let mut socket = Socket::connect(address);
    socket.send(&Request::upgrade("/app/echo").bytes());
    let status = socket.receive_head().status;
    if status != 101 {
        assert!([502, 503].contains(&status), "{status}");
        return;
    }
    for size in 1..100 {
        let message = sample_bytes(size * 100);
        // The backend may be gone already.
        if socket.stream.write_all(&client_frame(BINARY, &message)).is_err() {
            return;
        }
        match socket.try_receive_frame() {
            Some(frame) if frame.first == BINARY => assert!(frame.payload == message),
            Some(frame) => {
                assert_eq!(
                    (frame.first, &frame.payload[..2]),
                    (CLOSE, &1011_u16.to_be_bytes()[..])
                );
                return;
            }
            None => return,
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_reload_keeps_relays_and_moves_new_ones_to_other_servers() {
    let [first, second] = [(); 2].map(|()| Gateway::start());
    let text =
        |backend: &Gateway| relay_config(&format!("\"{}\"", backend.address()), "rewrite = \"/*\"");
    let file = config_file(&text(&first));
    let gateway = Gateway::launch_with(&Launch::default(), Some(file.path()));
    let mut clients: Vec<Socket> = (0..50).map(|_| open(gateway.address(), "/app/echo")).collect();
    write_config(file.path(), &text(&second));
    gateway.signal(Signal::HUP);
    gateway.logged("the configuration is reloaded: changes: 1");
    let mut new = open(gateway.address(), "/app/echo");
    clients.iter_mut().for_each(|client| client.assert_echoes(b"still there"));
    new.assert_echoes(b"new");
    assert_eq!((first.counter("upgrades"), second.counter("upgrades")), (50, 1));
    // A server whose name is not known is a warning, and no reason to lose anybody.
    write_config(file.path(), &relay_config("\"no.such.name.invalid:80\"", ""));
    gateway.signal(Signal::HUP);
    gateway.logged("no.such.name.invalid has no address");
    gateway.logged("the configuration is reloaded: changes: 2");
    clients.iter_mut().for_each(|client| client.assert_echoes(b"still there"));
    assert_eq!(refused(gateway.address(), &Request::upgrade("/app/echo")).status, 503);
}

/// Both sides count: at the limit a client is told so, and those that are there are served on.
#[test]
fn a_relay_takes_two_of_the_connections() {
    let backend = Gateway::start();
    let servers = format!("\"{}\"", backend.address());
    let more = "rewrite = \"/*\"\n[limits]\nconnections_max = 4\n";
    let gateway = Gateway::with_config(&relay_config(&servers, more));
    let mut clients = [(); 2].map(|()| open(gateway.address(), "/app/echo"));
    assert_eq!(refused(gateway.address(), &Request::upgrade("/app/echo")).status, 503);
    clients.iter_mut().for_each(|client| client.assert_echoes(&[BINARY; 9]));
}

/// A message of the gateway's, whose frames may be others than those that the backend has sent.
fn receive_message(socket: &mut Socket) -> (u8, Vec<u8>) {
    let Frame { first, mut payload } = socket.receive_frame();
    let mut is_last = first & FIN != 0;
    while !is_last {
        let frame = socket.receive_frame();
        assert_eq!(frame.first & !FIN, CONTINUATION);
        is_last = frame.first & FIN != 0;
        payload.extend(frame.payload);
    }
    (first | FIN, payload)
}

pub(crate) fn assert_echoes_message(socket: &mut Socket, payload: &[u8]) {
    socket.send(&client_frame(BINARY, payload));
    let (first, echoed) = receive_message(socket);
    assert!(first == BINARY && echoed == payload, "{} bytes", payload.len());
}

const FRAMES: &str = "mode = \"frames\"\nmessage_bytes_max = 20000000";

/// What a relay of frames does between clients and backends of other makers.
fn assert_serves_frames(gateway: &Gateway) {
    let mut socket = open(gateway.address(), "/app/echo");
    for bytes in [0, 1, 125, 126, 65_535, 65_536, 3_000_000, 16 << 20] {
        assert_echoes_message(&mut socket, &sample_bytes(bytes));
    }
    // In fragments, with a ping between them, which the gateway answers.
    for frame in [
        client_frame(TEXT & !FIN, b"w"),
        client_frame(PING, b"there?"),
        client_frame(CONTINUATION, b"h"),
        client_frame(CONTINUATION | FIN, b"o"),
    ] {
        socket.send(&frame);
    }
    let mut frames = [socket.receive_frame(), socket.receive_frame()];
    frames.sort_by_key(|frame| frame.first);
    let [answer, pong] = frames;
    assert_eq!(answer, Frame { first: TEXT, payload: b"127.0.0.1".to_vec() });
    assert_eq!(pong, Frame { first: PONG, payload: b"there?".to_vec() });
    socket.send(&client_frame(CLOSE, &close_payload(4321, "enough")));
    assert_eq!(socket.receive_frame().payload[..2], 4321_u16.to_be_bytes());
    socket.assert_ended();
    assert_eq!(refused(gateway.address(), &Request::upgrade("/app/members")).status, 401);
}

#[test]
fn a_backend_in_python_serves_the_clients_of_a_relay_of_frames() {
    let Some(backend) = Backend::python() else { return };
    assert_serves_frames(&backend.gateway(FRAMES));
}

#[test]
fn a_backend_in_node_serves_the_clients_of_a_relay_of_frames() {
    let Some(backend) = Backend::node() else { return };
    assert_serves_frames(&backend.gateway(FRAMES));
}

#[test]
fn a_relay_of_frames_compresses_for_its_clients_alone() {
    let Some(backend) = Backend::node() else { return };
    let gateway = backend.gateway(FRAMES);
    let mut socket = Socket::connect(gateway.address());
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let request = Request::upgrade("/app/echo").with("Sec-WebSocket-Extensions", offer);
    socket.send(&request.bytes());
    let reply = socket.receive_head();
    let agreed = reply.header("Sec-WebSocket-Extensions").unwrap();
    assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
    let message = sample_text(20_000);
    socket.send(&client_frame(TEXT, message.as_bytes()));
    let frame = socket.receive_frame();
    assert_eq!(frame.first, TEXT | RSV1);
    let mut inflated = Vec::with_capacity(40_000);
    let payload = [&frame.payload[..], &[0, 0, 0xFF, 0xFF]].concat();
    let mut stream = flate2::Decompress::new(false);
    stream.decompress_vec(&payload, &mut inflated, flate2::FlushDecompress::Sync).unwrap();
    assert!(inflated == message.as_bytes());
    gateway.assert_counter("upgrades_deflate", 1);
}

/// As through a relay of bytes, but that subprotocols are the backend's and compression the gateway's.
#[test]
fn clients_of_other_makers_pass_their_batteries_through_a_relay_of_frames() {
    let backend = Gateway::with_config(
        "loops = 1\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         subprotocols = [\"v2.echo\", \"v1.echo\"]\n\
         [[route]]\npath = \"/takeover\"\nservice = \"echo\"\n",
    );
    let gateway = Gateway::with_config(&format!(
        "loops = 2\n[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/echo\"\nservice = \"relay\"\nupstream = \"app\"\nmode = \"frames\"\n\
         [[route]]\npath = \"/takeover\"\nservice = \"relay\"\nupstream = \"app\"\nmode = \"frames\"\n\
         deflate_bytes_min = 1\ndeflate_context_takeover = true\ndeflate_window_bits_max = 11\n",
        backend.address()
    ));
    run_batteries(&gateway);
}

#[test]
fn the_limits_of_the_route_hold_for_clients_of_a_relay_of_frames() {
    let Some(backend) = Backend::python() else { return };
    let gateway = backend.gateway("mode = \"frames\"\nmessage_bytes_max = 1000\nfragments_max = 3");
    let mut socket = open(gateway.address(), "/app/echo");
    socket.assert_echoes(&sample_bytes(1000));
    socket.send(&client_frame(BINARY, &sample_bytes(1001)));
    socket.assert_closed_with(1009);
    let mut socket = open(gateway.address(), "/app/echo");
    socket.send(&client_frame(TEXT, b"\xFF"));
    socket.assert_closed_with(1007);
    let mut socket = open(gateway.address(), "/app/echo");
    for first in [TEXT & !FIN, CONTINUATION, CONTINUATION] {
        socket.send(&client_frame(first, b"a"));
    }
    socket.assert_closed_with(1008);
}

#[test]
fn clients_of_a_relay_of_frames_are_told_that_their_backend_is_gone() {
    let address = reserved_address();
    let launch = Launch { listen: Some(&address.to_string()), ..Launch::default() };
    let mut backend = Gateway::launch(&launch);
    let gateway = in_front_of(address, "rewrite = \"/*\"\nmode = \"frames\"");
    let mut clients: Vec<Socket> = (0..20).map(|_| open(gateway.address(), "/app/echo")).collect();
    clients.iter_mut().for_each(|client| client.assert_echoes(b"there"));
    backend.signal(Signal::KILL);
    backend.exit_status();
    clients.iter_mut().for_each(|client| client.assert_close_answered(1011));
    gateway.assert_counter("closed_backend", 20);

    // One that shuts down says so, and that is passed on.
    let mut backend = Gateway::launch(&launch);
    let mut client = open(gateway.address(), "/app/echo");
    backend.signal(Signal::TERM);
    client.assert_close_answered(1001);
    backend.exit_status();
    let ended = || Some(()).filter(|()| gateway.counter("relays_now") == 0);
    until("nothing is left of them", ended);
}

#[test]
fn a_drain_tells_both_sides_of_a_relay_of_frames() {
    let backend = Gateway::start();
    let mut gateway = in_front_of(backend.address(), "rewrite = \"/*\"\nmode = \"frames\"");
    let mut client = open(gateway.address(), "/app/echo");
    client.assert_echoes(b"there");
    gateway.signal(Signal::TERM);
    client.assert_close_answered(1001);
    gateway.exit_status();
    let told = || Some(()).filter(|()| backend.counter("closed_by_peer") == 1);
    until("the backend has its close frame", told);
}
