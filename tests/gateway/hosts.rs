//! The hosts that requests may name: what a page gets whose name was made to lead here (DNS
//! rebinding).

use std::net::SocketAddr;

use crate::gateway::{Gateway, Launch};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::wait::until;

/// The status that an upgrade and a page get with this `Host`, as a page of that host asks for them.
fn statuses(address: SocketAddr, host: &str) -> [u16; 2] {
    let origin = format!("http://{host}");
    let upgrade = Request::upgrade("/echo").set("Host", host).with("Origin", &origin);
    let page = Request::get("/").set("Host", host);
    [upgrade, page].map(|request| {
        // A close frame, so that a connection that opens ends as well.
        let mut bytes = request.bytes();
        bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
        Reply::parse(&exchange(address, &bytes, Ending::Open)).status
    })
}

/// The addresses of all HTTP listeners.
fn http_addresses(gateway: &Gateway, count: usize) -> Vec<SocketAddr> {
    until("all listen", || {
        let lines = gateway.log_lines();
        let addresses = lines.iter().filter_map(|line| {
            let (address, served) = line.split_once("listening on ")?.1.split_once(": ")?;
            (!served.starts_with("lines for ")).then(|| address.parse().unwrap())
        });
        Some(addresses.collect::<Vec<_>>()).filter(|found| found.len() == count)
    })
}

#[test]
fn a_rebound_page_gets_nothing_from_a_loopback_listener() {
    let gateway = Gateway::start();
    let port = gateway.address().port();
    let address = gateway.address();
    for host in [format!("evil.example:{port}"), "evil.example".to_owned(), "127.0.0.1.x".into()] {
        assert_eq!(statuses(address, &host), [421, 421], "{host}");
    }
    let refused = Request::upgrade("/echo").set("Host", "evil.example");
    let reply = Reply::parse(&exchange(address, &refused.bytes(), Ending::HalfClose));
    reply.assert_is_last(false);
    assert!(reply.text().contains("`hosts` of this listener"), "{reply:?}");
    // Also where the target names the host (RFC 9112 §3.2.2), and before the path is looked for.
    let absolute = Request::get("/none").line("GET http://evil.example/none HTTP/1.1");
    let reply = Reply::parse(&exchange(address, &absolute.bytes(), Ending::Open));
    assert_eq!(reply.status, 421);
    for host in [format!("127.0.0.1:{port}"), "LOCALHOST:9".into(), "[::1]".into()] {
        assert_eq!(statuses(address, &host), [101, 200], "{host}");
    }
    gateway.assert_counter("refused_host", 8);
    gateway.logged("refused with 421");
}

#[test]
fn each_listener_permits_its_own_hosts() {
    let gateway = Gateway::launch(&Launch {
        toml: Some(
            r#"
            loops = 2
            [[listener]]
            address = "127.0.0.1:0"
            kind = "line"
            route = "/echo"
            [[listener]]
            address = "127.0.0.1:0"
            hosts = ["chat.example.com", "[2001:db8::1]"]
            [[listener]]
            address = "127.0.0.1:0"
            hosts = "*"
            [[listener]]
            address = "0.0.0.0:0"
            [[listener]]
            address = "127.0.0.1:0"
            hosts = []
            [[route]]
            path = "/echo"
            service = "echo"
            [[route]]
            path = "/"
            service = "page"
            "#,
        ),
        listen: None,
        ..Launch::default()
    });
    let addresses = http_addresses(&gateway, 4);
    let [listed, any, public, none] = addresses[..] else { panic!("{addresses:?}") };
    let public = SocketAddr::from(([127, 0, 0, 1], public.port()));
    for (host, expected) in [
        ("chat.example.com:8443", [101, 101, 101, 421]),
        ("[2001:DB8:0::1]", [101, 101, 101, 421]),
        ("evil.example", [421, 101, 101, 421]),
        ("localhost", [421, 101, 101, 421]),
        ("127.0.0.1", [421, 101, 101, 421]),
    ] {
        let found = [listed, any, public, none].map(|address| statuses(address, host)[0]);
        assert_eq!(found, expected, "{host}");
    }
}

#[test]
fn listen_on_the_command_line_keeps_the_hosts_of_the_file() {
    let gateway = Gateway::with_config(
        "[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = [\"chat.example.com\"]\n",
    );
    assert_eq!(statuses(gateway.address(), "chat.example.com"), [101, 200]);
    assert_eq!(statuses(gateway.address(), "localhost"), [421, 421]);
}

/// Behind a proxy that ends TLS, `Host` has no port while the origin is `https`; in front of a
/// gateway on port 80 it is `http`. The gateway cannot tell them apart, and takes both.
#[test]
fn a_host_without_a_port_is_the_same_host_for_http_and_https() {
    let gateway = Gateway::start();
    for (host, origin, status) in [
        ("localhost", "https://localhost", 101),
        ("localhost", "http://localhost", 101),
        ("localhost:443", "https://localhost", 101),
        ("localhost:80", "https://localhost", 403),
        ("localhost", "https://localhost:8443", 403),
    ] {
        let request = Request::upgrade("/echo").set("Host", host).with("Origin", origin);
        let mut bytes = request.bytes();
        bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
        let reply = Reply::parse(&exchange(gateway.address(), &bytes, Ending::Open));
        assert_eq!(reply.status, status, "{host} {origin}");
    }
}

#[test]
fn routes_are_told_apart_by_the_host_that_a_request_names() {
    let config = "
        [[listener]]
        address = \"127.0.0.1:1\"
        hosts = \"*\"
        [[route]]
        path = \"/ws\"
        hosts = [\"one.example\"]
        service = \"echo\"
        subprotocols = [\"one\"]
        [[route]]
        path = \"/*\"
        hosts = [\"*.example\"]
        service = \"echo\"
        subprotocols = [\"wild\"]
        [[route]]
        path = \"/ws\"
        service = \"echo\"
        subprotocols = [\"any\"]
    ";
    let gateway = Gateway::with_config(config);
    let chosen = |host: &str, path: &str| {
        let request = Request::upgrade(path).set("Host", host);
        let offered = request.with("Sec-WebSocket-Protocol", "any, wild, one");
        let mut bytes = offered.bytes();
        bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
        let reply = Reply::parse(&exchange(gateway.address(), &bytes, Ending::Open));
        reply.header("Sec-WebSocket-Protocol").map(str::to_owned)
    };
    for (host, path, expected) in [
        ("ONE.example.:8080", "/ws", Some("one")),
        ("one.example", "/other", Some("wild")),
        ("two.example", "/ws", Some("wild")),
        ("example", "/ws", Some("any")),
        ("example", "/other", None),
    ] {
        assert_eq!(chosen(host, path).as_deref(), expected, "{host}{path}");
    }
}
