//! Headers that name the client of a proxy: whatever a client sends itself, what a trusted proxy adds
//! behind it is what counts.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use tidegate::http::{ForwardedHeader, forwarded_client, is_forwarded, parse_head};

fuzz_target!(|input: (Vec<u8>, [u8; 4], u8, bool)| {
    let (spoofed, ip, hops, is_new_line) = input;
    // A line of its own would not be what the proxy adds to.
    if spoofed.contains(&b'\r') {
        return;
    }
    let client = IpAddr::from(ip);
    for (header, name) in [
        (ForwardedHeader::Forwarded, "Forwarded"),
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For"),
        (ForwardedHeader::XRealIp, "X-Real-IP"),
    ] {
        let item = |ip: IpAddr| match header {
            ForwardedHeader::Forwarded => format!("for={ip};host=\"a\\\",\""),
            ForwardedHeader::Off | ForwardedHeader::XForwardedFor | ForwardedHeader::XRealIp => {
                ip.to_string()
            }
        };
        let added = format!("{}{}", item(client), format!(", {}", item(PROXY)).repeat(hops.into()));
        let separator = if is_new_line { format!("\r\n{name}: ") } else { ", ".to_owned() };
        let mut head = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: ").into_bytes();
        head.extend_from_slice(&spoofed);
        head.extend_from_slice(format!("{separator}{added}\r\n\r\n").as_bytes());
        let Ok(head) = parse_head(&head) else { continue };
        assert!(is_forwarded(&head));
        let found = forwarded_client(&head, header, |ip| ip == PROXY);
        // Of one that has no list, anything else makes two.
        let is_list = header != ForwardedHeader::XRealIp;
        if is_list && client != PROXY && usize::from(hops) < 60 {
            assert_eq!(found, Some(SocketAddr::new(client, 0)));
        }
    }
});

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
