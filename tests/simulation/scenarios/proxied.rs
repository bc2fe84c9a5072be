//! Clients of proxies: headers of the PROXY protocol before everything else, and headers of requests.

use std::net::SocketAddr;

use ipnet::IpNet;
use tidegate::admission::{NetworkSet, Rate};
use tidegate::conn::ProxySettings;
use tidegate::http::ForwardedHeader;
use tidegate::proxy_protocol::HeaderPolicy;
use tidegate::services::CloseReason;
use tidegate::sim::{Faults, Random, ServerSettings};

use super::{LATE_MS, server};
use crate::access::AccessJournal;
use crate::client::{Client, LineClient};
use crate::operator::{all, list, show};
use crate::tls_end::TlsSetup;
use crate::wire::{
    BINARY, PROXY_V1 as V1, PROXY_V2 as V2, PROXY_V2_LOCAL as V2_LOCAL, upgrade_request,
};
use crate::world::{Setup, World};

/// Trusts the peers of the simulation, which are at 127.0.0.1, and 10.0.0.0/8.
fn trusted(header: ForwardedHeader) -> ProxySettings {
    let networks = ["127.0.0.0/8", "10.0.0.0/8"].map(|text| text.parse::<IpNet>().unwrap());
    ProxySettings { trusted: NetworkSet::new(&networks), header }
}

fn proxied(policy: HeaderPolicy) -> impl FnOnce(&mut ServerSettings) {
    move |server| {
        server.headers = vec![policy; 2];
        server.line_route = Some("/echo");
        server.connections.proxies = trusted(ForwardedHeader::XForwardedFor);
    }
}

fn world(policy: HeaderPolicy) -> World {
    World::new(&server(proxied(policy)))
}

const UNKNOWN: &[u8] = b"PROXY UNKNOWN ff:: ff:: 1 2\r\n";

/// The address that operators see of the only connection.
fn seen(world: &mut World) -> SocketAddr {
    let rows = list(world, 0, &all());
    let [row] = &rows[..] else { panic!("{rows:?}") };
    row.address.unwrap()
}

/// An upgrade request with one more line.
fn request_with(line: &str) -> Vec<u8> {
    let request = String::from_utf8(upgrade_request("/echo")).unwrap();
    let (first, rest) = request.split_once("\r\n").unwrap();
    format!("{first}\r\n{line}\r\n{rest}").into_bytes()
}

#[test]
fn the_client_is_whom_the_header_names_however_it_comes() {
    for header in [V1, V2] {
        let all = [header, &upgrade_request("/echo")].concat();
        for part in [1, 7, header.len(), header.len() + 1, all.len()] {
            let mut world = world(HeaderPolicy::Required);
            let mut client = world.connect(0);
            for piece in all.chunks(part) {
                client.connection.send(piece);
                world.settle();
            }
            client.send_frame(BINARY, b"hello");
            world.exchange(&mut client);
            client.assert_received(&[b"hello"]);
            assert_eq!(seen(&mut world), "192.0.2.1:4711".parse().unwrap(), "parts of {part}");
            let key = list(&mut world, 0, &self::all())[0].peer.key;
            let proxy = show(&mut world, 0, key).unwrap().proxy.unwrap();
            assert!(proxy.ip().is_loopback(), "{proxy}");
            assert_eq!(world.counter("proxy_headers"), 1);
        }
    }
}

#[test]
fn a_header_that_names_no_client_leaves_the_address_of_the_connection() {
    for header in [V2_LOCAL, UNKNOWN] {
        let mut world = world(HeaderPolicy::Required);
        let mut client = world.connect(0);
        client.connection.send(header);
        client.ask("/echo");
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(101));
        assert!(seen(&mut world).ip().is_loopback());
        let key = list(&mut world, 0, &all())[0].peer.key;
        assert_eq!(show(&mut world, 0, key).unwrap().proxy, None);
    }
}

#[test]
fn what_is_no_header_ends_the_connection_where_one_is_required() {
    let request = upgrade_request("/echo");
    let cases: [&[u8]; 6] = [
        &request,
        b"PROXY TCP4 192.0.2.1 192.0.2.2 70000 443\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c",
        b"\x16\x03\x01\x00\x05hello",
        b"\n",
    ];
    for bytes in cases {
        let journal = AccessJournal::default();
        let sink = journal.sink();
        let mut world = World::new(&server(|server| {
            proxied(HeaderPolicy::Required)(server);
            server.access = Some(sink);
        }));
        let client = world.connect(0);
        client.connection.send(bytes);
        world.settle();
        assert!(client.is_gone(), "{bytes:?}");
        assert_eq!(client.connection.receive(usize::MAX), b"", "nothing is said");
        assert_eq!(world.counter("refused_bad_proxy_header"), 1);
        assert_eq!(journal.only().reason, CloseReason::ProxyHeader);
        assert_eq!(world.server.connection_count(), 0);
    }
}

#[test]
fn without_a_header_a_connection_is_its_peers_where_it_may_be_left_out() {
    for first in [&b""[..], V1] {
        let mut world = world(HeaderPolicy::Optional);
        let mut client = world.connect(0);
        client.connection.send(first);
        client.ask("/echo");
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(101));
        assert_eq!(seen(&mut world).ip().is_loopback(), first.is_empty());
    }
    // What begins as one is one.
    let mut world = world(HeaderPolicy::Optional);
    let client = world.connect(0);
    client.connection.send(b"PROXY / HTTP/1.1\r\n\r\n");
    world.settle();
    assert!(client.is_gone());
    assert_eq!(world.counter("refused_bad_proxy_header"), 1);
}

#[test]
fn an_end_inside_of_what_may_be_a_header_is_that_of_the_client() {
    let mut world = world(HeaderPolicy::Optional);
    let line = LineClient::new(world.network.connect(0, 1).unwrap());
    line.send(b"PRO");
    world.settle();
    assert_eq!(world.counter("line_clients"), 0);
    line.connection.shutdown();
    world.settle();
    assert_eq!((line.received().as_str(), world.counter("line_clients")), ("PRO\n", 1));
    let client = world.connect(0);
    client.connection.send(b"P");
    world.settle();
    client.connection.shutdown();
    world.settle();
    assert_eq!(world.counter("handshakes_abandoned"), 1);
}

#[test]
fn peers_that_are_no_proxies_may_claim_nothing() {
    let untrusted = |policy| {
        World::new(&server(move |server| {
            proxied(policy)(server);
            let networks = ["10.0.0.0/8".parse::<IpNet>().unwrap()];
            server.connections.proxies.trusted = NetworkSet::new(&networks);
        }))
    };
    let mut world = untrusted(HeaderPolicy::Required);
    let client = world.connect(0);
    client.connection.send(V1);
    world.settle();
    assert!(client.is_gone());
    assert_eq!((world.counter("refused_untrusted"), world.server.connection_count()), (1, 0));
    let mut world = untrusted(HeaderPolicy::Optional);
    let mut client = world.connect(0);
    client.connection.send(V1);
    client.ask("/echo");
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(400));
    let mut client = world.connect(0);
    client.connection.send(&request_with("X-Forwarded-For: 192.0.2.1"));
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    let rows = list(&mut world, 0, &all());
    assert!(rows.iter().all(|row| row.address.unwrap().ip().is_loopback()), "{rows:?}");
    assert_eq!((world.counter("forwarded_ignored"), world.counter("forwarded_used")), (1, 0));
}

#[test]
fn without_a_list_of_proxies_the_listener_says_whom_to_believe() {
    let mut world = World::new(&server(|server| server.headers = vec![HeaderPolicy::Required]));
    let mut client = world.connect(0);
    client.connection.send(V2);
    client.connection.send(&request_with("X-Forwarded-For: 198.51.100.1"));
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    assert_eq!(seen(&mut world), "192.0.2.1:4711".parse().unwrap());
    assert_eq!(world.counter("forwarded_ignored"), 1);
}

#[test]
fn who_sends_no_header_has_no_buffer_and_goes_at_the_deadline() {
    let mut world = world(HeaderPolicy::Required);
    let silent: Vec<Client> = (0..50).map(|_| world.connect(0)).collect();
    world.settle();
    assert_eq!(world.counter("pool_bytes_now"), 0);
    let begun = world.connect(0);
    begun.connection.send(&V2[..20]);
    world.settle();
    let buffers = world.counter("pool_bytes_now");
    assert!((4_096..10_000).contains(&buffers), "{buffers}");
    world.pass(5_000 + LATE_MS);
    assert!(silent.iter().all(Client::is_gone) && begun.is_gone());
    assert_eq!(world.counter("handshakes_timed_out"), 51);
}

#[test]
fn a_header_comes_before_tls() {
    for (part, header) in [(1, V1), (1000, V2), (30, V2)] {
        let setup = Setup {
            tls: Some(TlsSetup::default()),
            ..server(|server| {
                proxied(HeaderPolicy::Required)(server);
                server.line_route = None;
            })
        };
        let mut world = World::new(&setup);
        let mut client = world.connect(0);
        for piece in header.chunks(part) {
            client.connection.send(piece);
            if part < 1000 {
                world.settle();
            }
        }
        client.ask("/echo");
        world.exchange(&mut client);
        client.send_frame(BINARY, b"hello");
        world.exchange(&mut client);
        client.assert_received(&[b"hello"]);
        assert_eq!(seen(&mut world), "192.0.2.1:4711".parse().unwrap());
        let plain = world.connect(0);
        plain.ask("/echo");
        world.settle();
        assert!(plain.is_gone(), "TLS without a header");
        assert_eq!(world.counter("refused_bad_proxy_header"), 1);
    }
}

#[test]
fn line_clients_are_let_in_behind_their_header() {
    for part in [1, 1000] {
        let mut world = world(HeaderPolicy::Required);
        let line = LineClient::new(world.network.connect(0, 1).unwrap());
        world.settle();
        assert_eq!(world.counter("line_clients"), 0);
        for piece in [V1, b"one\ntwo\nthr"].concat().chunks(part) {
            line.send(piece);
            world.settle();
        }
        line.send(b"ee\n");
        world.settle();
        assert_eq!(line.received(), "one\ntwo\nthree\n");
        assert_eq!(seen(&mut world), "192.0.2.1:4711".parse().unwrap());
    }
}

#[test]
fn over_the_limit_the_answer_comes_behind_the_header() {
    let mut world = World::new(&server(|server| {
        proxied(HeaderPolicy::Required)(server);
        server.connections_max = 1;
    }));
    let mut first = world.connect(0);
    first.connection.send(V1);
    first.ask("/echo");
    world.exchange(&mut first);
    let mut second = world.connect(0);
    second.connection.send(V2);
    second.ask("/echo");
    world.exchange(&mut second);
    assert_eq!(second.received.status, Some(503));
    let silent = world.connect(0);
    world.pass(100 + LATE_MS);
    assert!(silent.is_gone(), "nothing is said to a proxy that has not said who asks");
    assert_eq!(silent.connection.receive(usize::MAX), b"");
}

#[test]
fn a_drain_ends_those_whose_header_has_not_come_without_a_word() {
    let mut world = world(HeaderPolicy::Required);
    let silent = world.connect(0);
    world.settle();
    world.drain(1_000, false);
    world.pass(1_000 + LATE_MS);
    assert!(silent.is_gone() && world.server.has_finished());
    assert_eq!(silent.connection.receive(usize::MAX), b"");
}

#[test]
fn a_trusted_proxy_names_its_client_in_the_header_that_counts() {
    for (header, line, client) in [
        (
            ForwardedHeader::XForwardedFor,
            "X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.7",
            "192.0.2.1:0",
        ),
        (
            ForwardedHeader::Forwarded,
            "Forwarded: for=\"[2001:db8::1]:80\", for=10.0.0.7",
            "[2001:db8::1]:80",
        ),
        (ForwardedHeader::XRealIp, "X-Real-IP: 192.0.2.1", "192.0.2.1:0"),
    ] {
        let journal = AccessJournal::default();
        let sink = journal.sink();
        let mut world = World::new(&server(|server| {
            server.connections.proxies = trusted(header);
            server.access = Some(sink);
        }));
        let mut client_end = world.connect(0);
        client_end.connection.send(&request_with(line));
        world.exchange(&mut client_end);
        assert_eq!(client_end.received.status, Some(101));
        assert_eq!(seen(&mut world), client.parse().unwrap());
        assert_eq!((world.counter("forwarded_used"), world.counter("forwarded_ignored")), (1, 0));
        client_end.shutdown();
        world.settle();
        assert_eq!(journal.only().address, client.parse().unwrap());
        // Another header says nothing.
        let mut other = world.connect(0);
        other
            .connection
            .send(&request_with("X-Forwarded-Fro: 192.0.2.1\r\nX-Real-IP: x\r\nForwarded: y"));
        world.exchange(&mut other);
        assert_eq!(world.counter("forwarded_unreadable"), 1);
        assert!(seen(&mut world).ip().is_loopback());
    }
}

#[test]
fn a_header_of_the_request_counts_if_the_one_before_names_a_proxy() {
    for (source, client) in [("10.0.0.9", "198.51.100.1:0"), ("192.0.2.1", "192.0.2.1:4711")] {
        let mut world = world(HeaderPolicy::Required);
        let mut own = world.connect(0);
        own.connection.send(format!("PROXY TCP4 {source} 192.0.2.2 4711 443\r\n").as_bytes());
        own.connection.send(&request_with("X-Forwarded-For: 198.51.100.1"));
        world.exchange(&mut own);
        assert_eq!(seen(&mut world), client.parse().unwrap());
    }
}

#[test]
fn only_clients_of_proxies_have_a_record() {
    let mut world = World::new(&server(|server| {
        server.connections.proxies = trusted(ForwardedHeader::XForwardedFor);
    }));
    let _direct = world.open(0, "/echo");
    assert_eq!(world.counter("pool_bytes_now"), 0);
    let mut client = world.connect(0);
    client.connection.send(&request_with("X-Forwarded-For: 192.0.2.1"));
    world.exchange(&mut client);
    let held = world.counter("pool_bytes_now");
    assert!((1..200).contains(&held), "{held}");
    client.shutdown();
    world.settle();
    assert_eq!(world.counter("pool_bytes_now"), 0);
}

/// The limits of one client: two connections, and then no more for a long time.
fn limited(server: &mut ServerSettings) {
    let addresses = &mut server.connections.addresses;
    addresses.host.connections = Rate::new(1, 2);
    addresses.proxies = server.connections.proxies.trusted.clone();
}

#[test]
fn limits_are_those_of_the_client_and_not_of_its_proxy() {
    let first = |number: u8, header: bool| -> Vec<u8> {
        if header {
            let line = format!("PROXY TCP4 192.0.2.{number} 192.0.2.2 4711 443\r\n");
            [line.as_bytes(), &upgrade_request("/echo")].concat()
        } else {
            request_with(&format!("X-Forwarded-For: 192.0.2.{number}"))
        }
    };
    for header in [false, true] {
        let mut world = World::new(&server(|server| {
            proxied(if header { HeaderPolicy::Required } else { HeaderPolicy::Off })(server);
            limited(server);
        }));
        let mut ask = |number: u8| {
            let mut client = world.connect(0);
            client.connection.send(&first(number, header));
            world.exchange(&mut client);
            client.received.status
        };
        for number in 1..=20 {
            assert_eq!([ask(number), ask(number)], [Some(101); 2], "{number}");
        }
        assert_eq!(ask(7), Some(429));
        assert_eq!(ask(21), Some(101));
        assert_eq!(world.counter("refused_address_rate"), 1);
    }
}

#[test]
fn limits_over_tls_and_of_lines_are_those_of_the_client() {
    let mut setup = Setup {
        tls: Some(TlsSetup::default()),
        ..server(|server| {
            proxied(HeaderPolicy::Required)(server);
            limited(server);
        })
    };
    setup.server.line_route = None;
    let mut world = World::new(&setup);
    for number in 0..3 {
        let mut client = world.connect(0);
        client.connection.send(V1);
        client.ask("/echo");
        world.exchange(&mut client);
        let status = (number < 2).then_some(101);
        assert_eq!(client.received.status, status, "dropped before its handshake");
    }
    assert_eq!(world.counter("addresses_dropped"), 1);
    let mut world = World::new(&server(|server| {
        proxied(HeaderPolicy::Required)(server);
        limited(server);
    }));
    for number in 0..3 {
        let line = LineClient::new(world.network.connect(0, 1).unwrap());
        line.send(&[V1, b"hello\n"].concat());
        world.settle();
        let expected = if number < 2 {
            "hello\n"
        } else {
            "too many connections from this address, try again later\n"
        };
        assert_eq!(line.received(), expected);
    }
}

/// Any bytes in any parts: nothing panics, every invariant holds, and all is given back.
#[test]
fn any_first_bytes_leave_everything_as_it_was() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let policy = [HeaderPolicy::Optional, HeaderPolicy::Required][random.below(2)];
        let mut setup = server(proxied(policy));
        setup.seed = seed;
        setup.faults = Faults { interrupted: 20, spurious: 50, ..Faults::default() };
        if random.percent(30) {
            setup.tls = Some(TlsSetup::default());
        }
        setup.server.connections.receive_buffer_bytes = [256, 16_384][random.below(2)];
        setup.server.has_fake_cipher = setup.tls.is_none() && random.percent(30);
        let mut world = World::new(&setup);
        let clients: Vec<_> =
            (0..4).map(|_| world.network.connect(0, random.below(2)).unwrap()).collect();
        for client in &clients {
            let mut bytes = [V1, V2, V2_LOCAL, UNKNOWN, b"", b"GET "][random.below(6)].to_vec();
            if random.percent(40) && !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            let rest = random.below(6_000);
            bytes.extend((0..rest).map(|_| u8::try_from(random.below(256)).unwrap()));
            let part = 1 + random.below(bytes.len());
            for piece in bytes.chunks(part.max(bytes.len() / 20)) {
                client.send(piece);
                if random.percent(50) {
                    world.settle();
                }
            }
            if random.percent(30) {
                client.shutdown();
            }
        }
        world.pass(70_000);
        clients.iter().for_each(|client| client.reset());
        world.pass(20_000);
        assert_eq!(world.server.connection_count(), 0, "seed {seed}");
        assert_eq!(world.counter("pool_bytes_now"), 0, "seed {seed}");
    }
}
