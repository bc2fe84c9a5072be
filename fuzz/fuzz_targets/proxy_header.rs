//! Headers of the PROXY protocol in parts of any size, and beside two other parsers: whom we take for
//! the client, they do as well, and whom they take, we do or refuse the header.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use ppp::{HeaderResult, v1, v2};
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tidegate::proxy_protocol::{
    HEADER_BYTES_MAX, Header, HeaderError, looks_like_header, parse_header,
};

fuzz_target!(|input: (u8, Vec<u8>, u8)| {
    let (version, rest, part) = input;
    // Most random bytes begin with no signature.
    let signature: &[u8] = match version % 4 {
        0 => b"",
        1 => b"PROXY TCP4 ",
        2 => b"PROXY TCP6 ",
        _ => b"\r\n\r\n\0\r\nQUIT\n\x21",
    };
    let bytes = [signature, &rest].concat();
    let whole = parse_header(&bytes);
    assert_eq!(looks_like_header(&bytes), whole != Err(HeaderError::Missing));
    let mut end = 0;
    while end < bytes.len() {
        end = bytes.len().min(end + usize::from(part) + 1);
        match parse_header(&bytes[..end]) {
            Ok(None) => assert!(end < HEADER_BYTES_MAX),
            certain => {
                assert_eq!(certain, whole);
                break;
            }
        }
    }
    for other in [by_ppp(&bytes), by_proxy_header(&bytes)] {
        compare(whole, other);
    }
});

/// The length of a header, and the client of a TCP connection.
type Client = (usize, SocketAddr);

fn compare(own: Result<Option<Header>, HeaderError>, other: Option<Client>) {
    match (own, other) {
        (Ok(Some(Header { bytes, source: Some(source) })), other) => {
            assert_eq!(Some((bytes, source)), other);
        }
        (Ok(Some(_)), other) => assert_eq!(other, None),
        (Ok(None), other) => assert_eq!(other, None),
        // What they let pass: ports with a sign, families without a transport, values that end behind
        // the header, wrong checksums, and more than anybody needs.
        (Err(error), Some(_)) => {
            use HeaderError::{Checksum, Family, Line, Port, TooLong, Value};
            assert!([Checksum, Family, Line, Port, TooLong, Value].contains(&error), "{error:?}");
        }
        (Err(_), None) => {}
    }
}

fn by_ppp(bytes: &[u8]) -> Option<Client> {
    let (bytes, ip, port): (usize, IpAddr, u16) = match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => {
            let bytes = header.header.len();
            match header.addresses {
                v1::Addresses::Tcp4(own) => (bytes, own.source_address.into(), own.source_port),
                v1::Addresses::Tcp6(own) => (bytes, own.source_address.into(), own.source_port),
                v1::Addresses::Unknown => return None,
            }
        }
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Proxy => {
            let bytes = header.header.len();
            match header.addresses {
                v2::Addresses::IPv4(own) => (bytes, own.source_address.into(), own.source_port),
                v2::Addresses::IPv6(own) => (bytes, own.source_address.into(), own.source_port),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => return None,
            }
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(_) => return None,
    };
    Some((bytes, SocketAddr::new(ip.to_canonical(), port)))
}

fn by_proxy_header(bytes: &[u8]) -> Option<Client> {
    let (header, bytes) = ProxyHeader::parse(bytes, ParseConfig::default()).ok()?;
    let address = header.proxied_address().filter(|own| own.protocol == Protocol::Stream)?;
    let source = address.source;
    Some((bytes, SocketAddr::new(source.ip().to_canonical(), source.port())))
}
