use proptest::prelude::*;

use super::super::head::parse_head;
use super::ForwardedHeader::{Forwarded, Off, XForwardedFor, XRealIp};
use super::*;

/// 10.0.0.0/8 and fd00::/8 are trusted.
fn is_proxy(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 10,
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    }
}

fn client_of(lines: &str, header: ForwardedHeader) -> Option<SocketAddr> {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    forwarded_client(&parse_head(head.as_bytes()).unwrap(), header, is_proxy)
}

fn client(list: &str, header: ForwardedHeader) -> String {
    let name = match header {
        Off | XForwardedFor => X_FORWARDED_FOR,
        Forwarded => FORWARDED,
        XRealIp => X_REAL_IP,
    };
    let client = client_of(&format!("{name}: {list}\r\n"), header);
    client.map_or_else(|| "none".to_owned(), |client| client.to_string())
}

#[test]
fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
    for (list, expected) in [
        ("192.0.2.1", "192.0.2.1:0"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
        ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1:0"),
        ("198.51.100.9,192.0.2.1,10.0.0.1,\t10.0.0.2", "192.0.2.1:0"),
        ("198.51.100.9, 192.0.2.1, ::ffff:10.0.0.1, fd00::1", "192.0.2.1:0"),
        ("192.0.2.1, , 10.0.0.2,", "192.0.2.1:0"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1:0"),
        ("", "none"),
        (",", "none"),
    ] {
        assert_eq!(client(list, XForwardedFor), expected, "{list}");
    }
}

#[test]
fn garbage_ends_the_walk_at_the_last_address() {
    for garbage in [
        "unknown",
        "_hidden",
        "garbage",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:+1",
        "192.0.2.1:65536",
        "192.0.2.1 192.0.2.2",
        "[192.0.2.1]",
        "[2001:db8::1",
        "[::1]x",
        "[::1]80",
        "fe80::1%1",
        "[fe80::1%1]:1",
        "\"192.0.2.1\"",
        "for=192.0.2.1",
        "192.0.2.1/32",
        "\u{ff11}92.0.2.1",
        "::1:x",
    ] {
        assert_eq!(client(garbage, XForwardedFor), "none", "{garbage}");
        assert_eq!(client(&format!("192.0.2.9, {garbage}"), XForwardedFor), "none", "{garbage}");
        let behind = format!("192.0.2.9, {garbage}, 10.0.0.1");
        assert_eq!(client(&behind, XForwardedFor), "10.0.0.1:0", "{garbage}");
        let before = format!("{garbage}, 192.0.2.9");
        assert_eq!(client(&before, XForwardedFor), "192.0.2.9:0", "{garbage}");
    }
}

#[test]
fn lines_are_one_list() {
    let lines = "X-Forwarded-For: 198.51.100.9\r\nx-forwarded-for: 192.0.2.1, 10.0.0.3\r\n\
                 X-FORWARDED-FOR: 10.0.0.1\r\n";
    assert_eq!(client_of(lines, XForwardedFor), "192.0.2.1:0".parse().ok());
    let lines = "Forwarded: for=198.51.100.9\r\nForwarded: for=192.0.2.1, for=10.0.0.1\r\n";
    assert_eq!(client_of(lines, Forwarded), "192.0.2.1:0".parse().ok());
}

#[test]
fn only_the_header_that_is_asked_for_counts() {
    let lines = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\nX-Real-IP: 192.0.2.3\r\n\
                 X_Forwarded_For: 192.0.2.4\r\n";
    for (header, expected) in [
        (Off, None),
        (XForwardedFor, Some("192.0.2.1:0")),
        (Forwarded, Some("192.0.2.2:0")),
        (XRealIp, Some("192.0.2.3:0")),
    ] {
        assert_eq!(client_of(lines, header), expected.map(|text| text.parse().unwrap()));
    }
    assert_eq!(client_of("X-Forwarded-For: 192.0.2.1\r\n", Forwarded), None);
    for (line, expected) in [
        ("X-Forwarded-For: \r\n", true),
        ("FORWARDED: x\r\n", true),
        ("x-real-ip: 1\r\n", true),
        ("X-Forwarded-Proto: https\r\nX-Real-IPs: 1\r\n", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        assert_eq!(is_forwarded(&parse_head(head.as_bytes()).unwrap()), expected, "{line}");
    }
}

#[test]
fn a_real_ip_is_one_address() {
    assert_eq!(client("192.0.2.1", XRealIp), "192.0.2.1:0");
    assert_eq!(client("2001:db8::1", XRealIp), "[2001:db8::1]:0");
    assert_eq!(client("192.0.2.1, 192.0.2.2", XRealIp), "none");
    assert_eq!(client("unknown", XRealIp), "none");
    assert_eq!(client_of("X-Real-IP: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n", XRealIp), None);
}

/// The examples of RFC 7239 §4, §6 and §7.1 among them.
#[test]
fn elements_of_forwarded_are_those_of_rfc_7239() {
    for (list, expected) in [
        ("for=192.0.2.43", "192.0.2.43:0"),
        ("For=192.0.2.43", "192.0.2.43:0"),
        ("for=\"192.0.2.43\"", "192.0.2.43:0"),
        ("for=\"192.0.2.43:47011\"", "192.0.2.43:47011"),
        ("for=\"192.0.2.43:_port\"", "192.0.2.43:0"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
        ("for=\"[2001:db8:cafe::17]\"", "[2001:db8:cafe::17]:0"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
        ("proto=http;for=192.0.2.60", "192.0.2.60:0"),
        ("for=192.0.2.60; proto=https; host=\"a:80\"", "192.0.2.60:0"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17:0"),
        (
            "for=192.0.2.43,for=\"10.0.0.1:1\";host=\"a,b;c=\\\"d\\\", for=192.0.2.9\"",
            "192.0.2.43:0",
        ),
        ("for=192.0.2.43;", "192.0.2.43:0"),
        ("for=\"unknown\"", "none"),
        ("for=unknown", "none"),
        ("for=\"_gazonk\"", "none"),
        ("for=_hidden, for=_SEVKISEK", "none"),
        ("for=2001:db8::1", "none"),
        ("for=192.0.2.43:80", "none"),
        ("for=\"192.0.2.43", "none"),
        ("for=192.0.2.43\"", "none"),
        ("for=192.0.2.43;for=192.0.2.44", "none"),
        ("for=\"192.0.2.4\\3\"", "none"),
        ("for =192.0.2.43", "none"),
        ("for= 192.0.2.43", "none"),
        ("for", "none"),
        ("for=", "none"),
        ("=192.0.2.43", "none"),
        (";for=192.0.2.43", "none"),
        ("for=192.0.2.43 proto=http", "none"),
        ("proto=http", "none"),
        ("192.0.2.43", "none"),
        ("for=192.0.2.9, proto=http, for=10.0.0.1", "10.0.0.1:0"),
        ("for=192.0.2.9, for=unknown, for=10.0.0.1", "10.0.0.1:0"),
    ] {
        assert_eq!(client(list, Forwarded), expected, "{list}");
    }
}

proptest! {
    /// Whatever a client sends itself, what a trusted proxy adds behind it is what counts: the same
    /// line goes on, or a further line.
    #[test]
    fn what_a_client_sends_itself_counts_for_nothing(
        spoofed in "[ -~]{0,40}",
        ip in any::<IpAddr>().prop_filter("no proxy", |ip| !is_proxy(ip.to_canonical())),
        proxies in prop::collection::vec(0..255u8, 0..4),
        is_new_line in any::<bool>(),
    ) {
        let (mut plain, mut pairs) = (ip.to_string(), format!("for=\"{ip}\""));
        if ip.is_ipv6() {
            pairs = format!("for=\"[{ip}]\"");
        }
        for proxy in &proxies {
            plain += &format!(", 10.0.0.{proxy}");
            pairs += &format!(", for=10.0.0.{proxy};proto=http;host=\"x\\\",\"");
        }
        let expected = Some(SocketAddr::new(ip.to_canonical(), 0));
        for (name, header, added) in
            [(X_FORWARDED_FOR, XForwardedFor, plain), (FORWARDED, Forwarded, pairs)]
        {
            let lines = match is_new_line {
                true => format!("{name}: {spoofed}\r\n{name}: {added}\r\n"),
                false => format!("{name}: {spoofed}, {added}\r\n"),
            };
            prop_assert_eq!(client_of(&lines, header), expected, "{}", lines);
        }
    }

    /// The walk is the one over a list that was taken apart as a whole.
    #[test]
    fn a_list_is_walked_as_a_naive_one(nodes in prop::collection::vec(any_node(), 0..12), cut in 0..12usize) {
        let expected = naive(&nodes);
        let plain: Vec<String> = nodes.iter().map(|node| node.text(false)).collect();
        let pairs: Vec<String> = nodes.iter().map(|node| node.text(true)).collect();
        for (name, header, items) in
            [(X_FORWARDED_FOR, XForwardedFor, plain), (FORWARDED, Forwarded, pairs)]
        {
            let (first, second) = items.split_at(cut.min(items.len()));
            let lines = format!("{name}: {}\r\n{name}:{}\r\n", first.join(", "), second.join(","));
            prop_assert_eq!(client_of(&lines, header), expected, "{}", lines);
        }
    }
}

/// An item of a list.
#[derive(Clone, Debug)]
enum Node {
    Proxy(u8),
    Client(SocketAddr),
    Garbage,
    Empty,
}

impl Node {
    fn text(&self, is_pair: bool) -> String {
        match (self, is_pair) {
            (Self::Proxy(last), false) => format!("10.1.2.{last}"),
            (Self::Proxy(last), true) => format!("proto=http;for=10.1.2.{last}"),
            (Self::Client(address), false) => address.to_string(),
            (Self::Client(address), true) => format!("for=\"{address}\";by=_x"),
            (Self::Garbage, _) => "_x".to_owned(),
            (Self::Empty, _) => String::new(),
        }
    }
}

fn any_node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => any::<u8>().prop_map(Node::Proxy),
        1 => any::<(IpAddr, u16)>().prop_map(|own| Node::Client(own.into())),
        1 => Just(Node::Garbage),
        1 => Just(Node::Empty),
    ]
}

/// The client by the rules in the words of the documents.
fn naive(nodes: &[Node]) -> Option<SocketAddr> {
    let mut last = None;
    for node in nodes.iter().rev() {
        match node {
            Node::Proxy(own) => last = Some(SocketAddr::from(([10, 1, 2, *own], 0))),
            Node::Client(address) => {
                let ip = address.ip().to_canonical();
                last = Some(SocketAddr::new(ip, address.port()));
                if !is_proxy(ip) {
                    break;
                }
            }
            Node::Garbage => break,
            Node::Empty => {}
        }
    }
    last
}
