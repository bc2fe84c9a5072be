//! The configurations of proxies in docs/operations.md, as they stand there, with the real programs:
//! only addresses and times are replaced.

use std::net::SocketAddr;

use crate::frames::{BINARY, PING, PONG, client_frame, sample_bytes};
use crate::gateway::Gateway;
use crate::messages::{Ending, Reply, Request, exchange};
use crate::proxy_server::ProxyServer;
use crate::socket::Socket;
use crate::wait::until;

#[test]
fn nginx_as_documented_serves_pages_and_sockets() {
    let gateway = Gateway::start();
    let Some(proxy) = ProxyServer::nginx(|address| nginx(&gateway, address)) else { return };
    serves(&gateway, proxy.address(), "");
}

#[test]
fn nginx_as_documented_serves_below_a_path() {
    let gateway = Gateway::start();
    let Some(proxy) = ProxyServer::nginx(|address| nginx_below_a_path(&gateway, address)) else {
        return;
    };
    serves(&gateway, proxy.address(), "/app");
}

#[test]
fn haproxy_as_documented_serves_pages_and_sockets() {
    let gateway = Gateway::start();
    let Some(proxy) = ProxyServer::haproxy(|address| haproxy(&gateway, address)) else { return };
    serves(&gateway, proxy.address(), "");
    serves(&gateway, proxy.address(), "/app");
    let at = format!("{}", proxy.address());
    let reply = reply_to(proxy.address(), &Request::get("/app").set("Host", &at));
    assert_eq!((reply.status, reply.header("Location")), (302, Some("/app/")));
}

#[test]
fn haproxy_as_documented_checks_the_health() {
    let gateway = Gateway::start();
    let Some(proxy) = ProxyServer::haproxy(|address| haproxy(&gateway, address)) else { return };
    until("a check has passed", || {
        let states = proxy.states();
        assert!(!states.contains("L7STS"), "a check was answered with a wrong status: {states}");
        states.contains("L7OK").then_some(())
    });
    drop(gateway);
    until("a check has failed", || proxy.states().contains("L4CON").then_some(()));
}

/// As named in the docs, for balancers that ask otherwise.
#[test]
fn health_checks_are_answered_as_documented() {
    let gateway = Gateway::start();
    let status = |line: &str| {
        let reply = reply_to(gateway.address(), &Request::of_line(line));
        (reply.status, reply.header("Allow").map(str::to_owned))
    };
    assert_eq!(status("GET / HTTP/1.0").0, 200);
    assert_eq!(status("HEAD / HTTP/1.0").0, 200);
    assert_eq!(status("GET /echo HTTP/1.0").0, 426);
    assert_eq!(status("OPTIONS / HTTP/1.0"), (405, Some("GET, HEAD".to_owned())));
}

#[test]
fn documented_proxies_do_not_close_idle_connections() {
    // Pings come in time if they come before the proxy closes: here after 1 s instead of 25 s, and
    // the proxy would close after 8 s instead of 75 s.
    for text in [block("nginx", 0), block("nginx", 1), block("haproxy", 0)] {
        let waits: Vec<&str> = text.lines().filter(|line| line.contains("75s")).collect();
        assert!(waits.len() >= 2, "{text}");
    }
    let shorter = |text: String| replaced(&text, "75s", "8s");
    let gateway = Gateway::with_config("[timeouts]\nping_idle_ms = 1000\npong_ms = 60000");
    let proxies = [
        ProxyServer::nginx(|address| shorter(nginx(&gateway, address))),
        ProxyServer::haproxy(|address| shorter(haproxy(&gateway, address))),
    ];
    let mut sockets: Vec<Socket> =
        proxies.iter().flatten().map(|proxy| open(proxy.address(), "/echo")).collect();
    for _ in 0..10 {
        for socket in &mut sockets {
            assert_eq!(socket.receive_frame().first, PING);
            socket.send(&client_frame(PONG, b""));
        }
    }
    for mut socket in sockets {
        socket.send(&client_frame(BINARY, b"still here"));
        // A ping may be on its way.
        let mut frame = socket.receive_frame();
        while frame.first == PING {
            frame = socket.receive_frame();
        }
        assert_eq!(frame.payload, b"still here");
    }
}

/// Pages, a socket with the origin of such a page, and messages of every kind of length.
fn serves(gateway: &Gateway, proxy: SocketAddr, prefix: &str) {
    // A page that a browser would have found at this address: with the port, which is not 80.
    let host = format!("localhost:{}", proxy.port());
    let page = reply_to(proxy, &Request::get(&format!("{prefix}/")).set("Host", &host));
    let direct = reply_to(gateway.address(), &Request::get("/"));
    assert_eq!((page.status, page.text()), (200, direct.text()));

    let mut socket = open(proxy, &format!("{prefix}/echo"));
    for bytes in [0, 1, 125, 126, 70_000, 1 << 20] {
        socket.assert_echoes(&sample_bytes(bytes));
    }
    socket.close();

    let stranger = upgrade(proxy, &format!("{prefix}/echo"))
        .set("Origin", &format!("http://localhost:{}", proxy.port() ^ 1));
    assert_eq!(reply_to(proxy, &stranger).status, 403);
}

/// The request of a page that the proxy has served.
fn upgrade(proxy: SocketAddr, path: &str) -> Request {
    let host = format!("localhost:{}", proxy.port());
    Request::upgrade(path).set("Host", &host).with("Origin", &format!("http://{host}"))
}

fn open(proxy: SocketAddr, path: &str) -> Socket {
    let mut socket = Socket::connect(proxy);
    socket.send(&upgrade(proxy, path).bytes());
    let reply = socket.receive_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    socket
}

fn reply_to(address: SocketAddr, request: &Request) -> Reply {
    let request = request.clone().with("Connection", "close");
    Reply::parse(&exchange(address, &request.bytes(), Ending::Open))
}

fn nginx(gateway: &Gateway, address: SocketAddr) -> String {
    let text = replaced(&block("nginx", 0), "127.0.0.1:8080", &gateway.address().to_string());
    replaced(&text, "listen 80;", &format!("listen {address};"))
}

/// The location below a path, in place of that at the root.
fn nginx_below_a_path(gateway: &Gateway, address: SocketAddr) -> String {
    let location = replaced(&block("nginx", 1), "127.0.0.1:8080", &gateway.address().to_string());
    let server = nginx(gateway, address);
    let (before, _) = server.split_once("location / {").unwrap();
    format!("{before}{location}}}")
}

fn haproxy(gateway: &Gateway, address: SocketAddr) -> String {
    let text = replaced(&block("haproxy", 0), "127.0.0.1:8080", &gateway.address().to_string());
    replaced(&text, "bind :80", &format!("bind {address}"))
}

/// The block with this number, from 0, of those in this language in docs/operations.md.
pub(crate) fn block(language: &str, number: usize) -> String {
    block_of(OPERATIONS, language, number)
}

/// A block of code in a page, by its language and its number among those.
pub(crate) fn block_of(page: &str, language: &str, number: usize) -> String {
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let mut texts = blocks.map(|block| block.split("```").next().unwrap());
    texts.nth(number).unwrap_or_else(|| panic!("no block {number} in {language}")).to_owned()
}

/// `text` with every `from` replaced, of which there must be some.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no `{from}` in {text}");
    text.replace(from, to)
}

const OPERATIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
