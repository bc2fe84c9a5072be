//! The addresses of clients of proxies, as a service, operators and the access log see them: nginx and
//! HAProxy in front as docs/operations.md shows them, and what is claimed by those who may not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustls::StreamOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::access_log;
use crate::admin_client::{CONFIG, TOKEN, request};
use crate::certificates::CertificateFolder;
use crate::frames::{TEXT, client_frame};
use crate::gateway::{Gateway, Launch, write_config};
use crate::messages::{Request, connect_from};
use crate::proxies::{block, replaced};
use crate::proxy_server::ProxyServer;
use crate::socket::Socket;
use crate::tls_client::TlsClient;
use crate::wait::until;

/// A gateway with a room whose names are addresses, an access log and an admin listener.
struct Proxied {
    gateway: Gateway,
    folder: TempDir,
}

/// Where the clients are. Proxies are at 127.0.0.1.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

impl Proxied {
    /// With these keys at the top of the file, and these of its listener.
    fn start(top: &str, listener: &str) -> Self {
        Self::start_with(top, listener, "")
    }

    fn start_with(top: &str, listener: &str, tables: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let access = folder.path().join("access.log");
        let config = format!(
            "loops = 2\n{top}\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n{tables}\n\
             [log]\nformat = \"json\"\naccess = \"{}\"\n{CONFIG}\n\
             [[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"address\"\nline = \"named\"\n\
             origins = \"*\"\n[[route]]\npath = \"/\"\nservice = \"page\"\n",
            access.display()
        );
        let launch = Launch { toml: Some(&config), listen: None, ..Launch::default() };
        Self { gateway: Gateway::launch(&launch), folder }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// The lines of the access log.
    fn access(&self) -> Vec<Value> {
        access_log::lines(&self.folder.path().join("access.log"))
    }

    /// The addresses of open connections, as operators see them.
    fn listed(&self) -> Vec<String> {
        let admin = self.gateway.admin_address();
        let token = format!("Authorization: Bearer {TOKEN}");
        let list = request(admin, "GET", "/api/v1/connections?phase=open", &[&token], "").json();
        let rows = list["connections"].as_array().unwrap();
        rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
    }

    /// Speaks in the room, by a request that is sent to `at`, and compares whom all take the client for.
    fn sees(&self, stream: std::net::TcpStream, request: &Request, client: IpAddr) {
        let before = self.access().len();
        let mut socket = Socket::over(stream);
        socket.send(&request.bytes());
        let reply = socket.receive_head();
        assert_eq!(reply.status, 101, "{reply:?}");
        socket.send(&client_frame(TEXT, b"hello"));
        let line = String::from_utf8(socket.receive_frame().payload).unwrap();
        self.is_seen(&line, client);
        socket.close();
        self.is_logged(before, client);
    }

    fn is_seen(&self, line: &str, client: IpAddr) {
        let (name, text) = line.rsplit_once(": ").unwrap();
        assert_eq!(text, "hello");
        let of_service: SocketAddr = name.parse().unwrap();
        assert_eq!(of_service.ip(), client, "the service");
        assert_eq!(self.listed(), [name], "operators");
    }

    fn is_logged(&self, before: usize, client: IpAddr) {
        // The checks of proxies have lines as well, of requests for pages or of none.
        let lines = until("the access log has a line of the room", || {
            let lines = self.access().split_off(before);
            lines.iter().any(|line| line["route"] == "/room").then_some(lines)
        });
        let line = lines.iter().find(|line| line["route"] == "/room").unwrap();
        let logged: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(logged.ip(), client, "the access log");
    }
}

fn room() -> Request {
    Request::upgrade("/room")
}

/// What a client may try to be taken for.
fn spoofed() -> Request {
    room()
        .with("X-Forwarded-For", "203.0.113.9, 127.0.0.1")
        .with("Forwarded", "for=203.0.113.9;by=\"")
        .with("X-Real-IP", "203.0.113.9")
        .with("X_Forwarded_For", "203.0.113.9")
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n";
const LISTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

/// The first nginx of the documents, with more lines in its location.
fn nginx(gateway: SocketAddr, address: SocketAddr, lines: &str) -> String {
    let text = replaced(&block("nginx", 0), "127.0.0.1:8080", &gateway.to_string());
    let text = replaced(&text, "proxy_http_version", &format!("{lines}\nproxy_http_version"));
    replaced(&text, "listen 80;", &format!("listen {address};"))
}

#[test]
fn nginx_with_headers_as_documented_names_its_clients() {
    let documented = block("nginx", 2);
    for (top, lines) in [
        ("", documented.as_str()),
        ("forwarded_header = \"x-real-ip\"", "proxy_set_header X-Real-IP $remote_addr;"),
        (
            "forwarded_header = \"forwarded\"",
            "proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr;proto=$scheme\";",
        ),
    ] {
        let own = Proxied::start(&format!("{LISTED}\n{top}"), "");
        let Some(proxy) = ProxyServer::nginx(|address| nginx(own.address(), address, lines)) else {
            return;
        };
        own.sees(connect_from(CLIENT, proxy.address()), &room(), CLIENT);
        own.sees(connect_from(CLIENT, proxy.address()), &spoofed(), CLIENT);
        own.gateway.assert_counter("forwarded_used", 2);
    }
}

#[test]
fn haproxy_with_headers_as_documented_names_its_clients() {
    let own = Proxied::start(LISTED, "");
    let line = block("haproxy", 1);
    let config = |address: SocketAddr| {
        let text = replaced(&block("haproxy", 0), "127.0.0.1:8080", &own.address().to_string());
        let text = replaced(&text, "mode http\n", &format!("mode http\n{line}"));
        replaced(&text, "bind :80", &format!("bind {address}"))
    };
    let Some(proxy) = ProxyServer::haproxy(config) else { return };
    own.sees(connect_from(CLIENT, proxy.address()), &room(), CLIENT);
    own.sees(connect_from(CLIENT, proxy.address()), &spoofed(), CLIENT);
}

/// Through one proxy to the next: both add to the list.
#[test]
fn the_client_of_two_proxies_is_the_one_that_the_first_has_seen() {
    let own = Proxied::start("trusted_proxies = [\"127.0.0.1/32\"]", "");
    let lines = block("nginx", 2);
    let Some(inner) = ProxyServer::nginx(|address| nginx(own.address(), address, &lines)) else {
        return;
    };
    let outer = ProxyServer::nginx(|address| nginx(inner.address(), address, &lines)).unwrap();
    own.sees(connect_from(CLIENT, outer.address()), &spoofed(), CLIENT);
}

/// The balancer of the documents, with this in place of `send-proxy-v2`.
fn balancer(gateway: SocketAddr, address: SocketAddr, send: &str) -> String {
    let text = replaced(&block("haproxy", 2), "127.0.0.1:8443", &gateway.to_string());
    let text = replaced(&text, "send-proxy-v2", send);
    replaced(&text, "bind :443", &format!("bind {address}"))
}

fn nginx_balancer(gateway: SocketAddr, address: SocketAddr) -> String {
    let text = replaced(&block("nginx", 3), "127.0.0.1:8443", &gateway.to_string());
    replaced(&text, "listen 443;", &format!("listen {address};"))
}

#[test]
fn haproxy_sends_the_header_of_every_version() {
    for (top, policy, send) in [
        (LISTED, "required", "send-proxy"),
        (LISTED, "required", "send-proxy-v2"),
        (LISTED, "optional", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl"),
        ("", "required", "send-proxy-v2-ssl-cn proxy-v2-options crc32c"),
        ("", "required", "send-proxy check-send-proxy"),
    ] {
        let own = Proxied::start(top, &format!("proxy_protocol = \"{policy}\""));
        let config = |address| balancer(own.address(), address, send);
        let Some(proxy) = ProxyServer::haproxy(config) else { return };
        own.sees(connect_from(CLIENT, proxy.address()), &room(), CLIENT);
        own.sees(connect_from(CLIENT, proxy.address()), &spoofed(), CLIENT);
        assert_eq!(own.gateway.counter("refused_bad_proxy_header"), 0, "{send}");
        until("a check has passed", || proxy.states().contains("L4OK").then_some(()));
    }
}

#[test]
fn nginx_sends_the_header_as_documented() {
    let own = Proxied::start(LISTED, "proxy_protocol = \"required\"");
    let config = |address| nginx_balancer(own.address(), address);
    let Some(proxy) = ProxyServer::nginx_stream(config) else { return };
    own.sees(connect_from(CLIENT, proxy.address()), &room(), CLIENT);
}

#[test]
fn balancers_as_documented_name_the_clients_of_tls() {
    let folder = CertificateFolder::new();
    let listener = "tls = true\nproxy_protocol = \"required\"";
    let own = Proxied::start_with(LISTED, listener, &folder.table("server"));
    let proxies = [
        ProxyServer::haproxy(|address| balancer(own.address(), address, "send-proxy-v2")),
        ProxyServer::nginx_stream(|address| nginx_balancer(own.address(), address)),
    ];
    for proxy in proxies.iter().flatten() {
        let before = own.access().len();
        let client = TlsClient::new(&folder).connection();
        let mut stream = StreamOwned::new(client, connect_from(CLIENT, proxy.address()));
        stream.write_all(&room().bytes()).unwrap();
        let mut arrived = Vec::new();
        let mut receive_until = |stream: &mut StreamOwned<_, _>, end: &[u8]| {
            while !arrived.ends_with(end) {
                let mut room = [0; 4096];
                let count = stream.read(&mut room).unwrap();
                assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&arrived));
                arrived.extend_from_slice(&room[..count]);
            }
            std::mem::take(&mut arrived)
        };
        receive_until(&mut stream, b"\r\n\r\n");
        stream.write_all(&client_frame(TEXT, b"hello")).unwrap();
        let frame = receive_until(&mut stream, b"hello");
        own.is_seen(str::from_utf8(&frame[2..]).unwrap(), CLIENT);
        drop(stream);
        own.is_logged(before, CLIENT);
    }
}

#[test]
fn line_clients_of_a_balancer_are_known_by_their_addresses() {
    let config = format!(
        "{LISTED}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nkind = \"line\"\nroute = \"/room\"\n\
         proxy_protocol = \"required\"\n\
         [[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"address\"\nline = \"console\"\n"
    );
    let launch = Launch { toml: Some(&config), listen: None, ..Launch::default() };
    let gateway = Gateway::launch(&launch);
    let lines = gateway.line_addresses(1)[0];
    let config = |address| balancer(lines, address, "send-proxy");
    let Some(proxy) = ProxyServer::haproxy(config) else { return };
    let mut stream = connect_from(CLIENT, proxy.address());
    let own = stream.local_addr().unwrap();
    stream.write_all(b"hello\n").unwrap();
    let mut text = String::new();
    BufReader::new(&stream).read_line(&mut text).unwrap();
    assert_eq!(text, format!("{own}:hello\n"));
}

/// From outside, where no proxy is: whatever is claimed, the client is its socket.
#[test]
fn what_others_claim_is_ignored() {
    for (top, listener) in [
        ("", ""),
        ("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"::/0\"]", ""),
        (LISTED, "proxy_protocol = \"optional\""),
    ] {
        let own = Proxied::start(top, listener);
        own.sees(connect_from(CLIENT, own.address()), &spoofed(), CLIENT);
        let mut socket = Socket::over(connect_from(CLIENT, own.address()));
        socket.send(&[V1, &room().bytes()].concat());
        assert_eq!(socket.receive_head().status, 400, "{top}");
        own.gateway.assert_counter("forwarded_ignored", 1);
        assert_eq!(own.gateway.counter("proxy_headers"), 0);
        let said = own.gateway.logged("trusted_proxies does not list");
        assert!(said.contains("\"level\":\"warn\""), "{said}");
    }
}

#[test]
fn a_listener_for_proxies_serves_no_others() {
    let own = Proxied::start(LISTED, "proxy_protocol = \"required\"");
    let mut socket = Socket::over(connect_from(CLIENT, own.address()));
    // It may be closed before it has sent anything.
    let _ = socket.stream.write_all(&[V1, &room().bytes()].concat());
    assert!(ends(&mut socket), "closed without a word");
    own.gateway.assert_counter("refused_untrusted", 1);
    // A proxy that sends none is told nothing either.
    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for bytes in [&room().bytes()[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n"] {
        let mut socket = Socket::over(connect_from(proxy, own.address()));
        socket.send(bytes);
        assert!(ends(&mut socket), "aborted without a word");
    }
    own.gateway.assert_counter("refused_bad_proxy_header", 2);
    // And one that does may speak for anybody.
    let mut stream = connect_from(proxy, own.address());
    stream.write_all(V1).unwrap();
    own.sees(stream, &room(), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));
}

/// Whether the connection ends, in whatever on_connect, without another byte.
fn ends(socket: &mut Socket) -> bool {
    let mut room = [0; 100];
    socket.stream.read(&mut room).map_or(true, |count| count == 0)
}

#[test]
fn a_reload_changes_whom_to_believe() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tidegate.toml");
    let config = |top: &str, listener: &str| {
        format!(
            "loops = 1\n{top}\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n\
             [[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"address\"\nline = \"named\"\n"
        )
    };
    write_config(&file, &config("", ""));
    let launch = Launch { listen: None, ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(&file));
    let name = |first: &[u8], request: &Request| {
        let mut socket = Socket::connect(gateway.address());
        socket.send(&[first, &request.bytes()].concat());
        assert_eq!(socket.receive_head().status, 101);
        socket.send(&client_frame(TEXT, b"hello"));
        String::from_utf8(socket.receive_frame().payload).unwrap()
    };
    let request = room().with("X-Forwarded-For", "203.0.113.9");
    assert!(name(b"", &request).starts_with("127.0.0.1:"));
    write_config(&file, &config(LISTED, "proxy_protocol = \"optional\""));
    gateway.signal(rustix::process::Signal::HUP);
    gateway.logged("reloaded");
    assert_eq!(name(b"", &request), "203.0.113.9:0: hello");
    assert_eq!(name(V1, &room()), "203.0.113.9:4711: hello");
}
