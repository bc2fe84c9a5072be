use core::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::checksum::crc32c_of_header;
use super::*;

/// A header of version 2 with this command, family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[0x20 | command, family], &bytes, rest].concat()
}

/// The addresses of version 2, from `source` to port 443 of some address.
fn addresses(source: SocketAddr) -> (u8, Vec<u8>) {
    let ports = [source.port().to_be_bytes(), 443u16.to_be_bytes()].concat();
    match source.ip() {
        IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[192, 0, 2, 2], &ports].concat()),
        IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[7; 16], &ports].concat()),
    }
}

fn value(kind: u8, value: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &bytes[..], value].concat()
}

/// A header of version 2 for `source`, with these values and a checksum behind them.
fn checked(source: SocketAddr, values: &[u8]) -> Vec<u8> {
    let (family, addresses) = addresses(source);
    let mut header = v2(1, family, &[&addresses[..], values, &value(0x03, &[0; 4])].concat());
    let at = header.len() - 4;
    let checksum = crc32c_of_header(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&checksum);
    header
}

fn parsed(received: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, HeaderError> {
    parse_header(received).map(|header| header.map(|own| (own.bytes, own.source)))
}

fn taken(received: &[u8]) -> Option<SocketAddr> {
    let header = parse_header(received).unwrap().expect("a whole header");
    assert_eq!(header.bytes, received.len());
    header.source
}

fn at(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_line_names_the_client() {
    for (line, source) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", at("192.0.2.1:56324")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", at("255.255.255.255:65535")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", at("0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", at("[2001:db8::1]:1")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", at("192.0.2.1:1")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN \r\n", None),
        ("PROXY UNKNOWN 192.0.2.1 192.0.2.2 56324 443\r\n", None),
        ("PROXY UNKNOWN any text \u{e9}\r\n", None),
    ] {
        assert_eq!(taken(line.as_bytes()), source, "{line:?}");
    }
    let longest =
        format!("PROXY TCP6 {0} {0} 65535 65535\r\n", [b"ffff"; 8].map(|_| "ffff").join(":"));
    assert_eq!(longest.len(), 104);
    assert!(taken(longest.as_bytes()).is_some());
}

#[test]
fn a_line_that_is_not_as_specified_is_refused() {
    use HeaderError::{Address, Family, Line, Missing, Port, TooLong};
    let filler = "x".repeat(200);
    let too_long = format!("PROXY UNKNOWN {filler}\r\n");
    let just_too_long = format!("PROXY UNKNOWN {}\r\n", &filler[..92]);
    for (line, error) in [
        ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Missing),
        ("PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", Missing),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Line),
        ("PROXY TCP4\r\n", Line),
        ("PROXY \r\n", Line),
        ("PROXY UNKNOWN a\rb\r\n", Line),
        ("PROXY unknown 192.0.2.1 192.0.2.2 1 2\r\n", Family),
        ("PROXY UNKNOWNS 192.0.2.1 192.0.2.2 1\r\n", Line),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Family),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", Family),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Address),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Address),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Address),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", Address),
        ("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", Address),
        ("PROXY TCP4 192.0.2.1 192.0.2. 1 2\r\n", Address),
        ("PROXY TCP4 localhost 192.0.2.2 1 2\r\n", Address),
        ("PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n", Address),
        ("PROXY TCP6 [::1] [::1] 1 2\r\n", Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n", Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n", Port),
        (&too_long, TooLong),
        (&just_too_long, TooLong),
    ] {
        assert_eq!(parsed(line.as_bytes()), Err(error), "{line:?}");
    }
    let just_fits = format!("PROXY UNKNOWN {}\r\n", &filler[..91]);
    assert_eq!(parsed(just_fits.as_bytes()), Ok(Some((107, None))));
    assert_eq!(parsed(&just_too_long.as_bytes()[..106]), Ok(None));
    assert_eq!(parsed(&just_too_long.as_bytes()[..107]), Err(TooLong));
}

#[test]
fn what_the_sender_says_of_itself_leaves_the_address_of_the_connection() {
    for (header, why) in [
        (v2(0, 0x00, b""), "LOCAL"),
        (v2(0, 0x11, b"a block that is to be discarded"), "LOCAL with a block"),
        (v2(0, 0xFF, b""), "LOCAL, whose family is to be ignored"),
        (v2(1, 0x00, b""), "PROXY of an unspecified family"),
        (v2(1, 0x00, &value(0x04, b"padding")), "and with values"),
        (v2(1, 0x31, &[b'/'; 216]), "a socket of Unix"),
    ] {
        assert_eq!(taken(&header), None, "{why}");
    }
}

#[test]
fn a_binary_header_that_is_not_as_specified_is_refused() {
    use HeaderError::{Checksum, Command, Family, Length, TooLong, Value, Version};
    let source = SocketAddr::from(([192, 0, 2, 1], 1));
    let (tcp4, block) = addresses(source);
    let with = |values: &[u8]| v2(1, tcp4, &[&block[..], values].concat());
    let mut version = v2(1, tcp4, &block);
    version[12] = 0x31;
    let mut wrong = checked(source, b"");
    wrong[17] ^= 1;
    let twice = [value(0x03, &[0; 4]), value(0x03, &[0; 4])].concat();
    let first_right = {
        let mut header = with(&twice);
        let at = header.len() - 11;
        let checksum = crc32c_of_header(&header, at).to_be_bytes();
        header[at..at + 4].copy_from_slice(&checksum);
        header
    };
    for (header, error) in [
        (version, Version),
        (v2(2, tcp4, &block), Command),
        (v2(15, tcp4, &block), Command),
        (v2(1, 0x10, &block), Family),
        (v2(1, 0x01, &block), Family),
        (v2(1, 0x12, &block), Family),
        (v2(1, 0x13, &block), Family),
        (v2(1, 0x41, &block), Family),
        (v2(1, 0x22, &[0; 36]), Family),
        (v2(1, 0x32, &[0; 216]), Family),
        (v2(1, tcp4, &block[..11]), Length),
        (v2(1, 0x21, &[0; 35]), Length),
        (v2(1, 0x31, &[0; 215]), Length),
        (v2(1, tcp4, &[0; HEADER_BYTES_MAX - 15]), TooLong),
        (v2(0, 0, &[0; u16::MAX as usize]), TooLong),
        (with(&[4]), Value),
        (with(&[4, 0]), Value),
        (with(&[4, 0, 1]), Value),
        (with(&[value(4, b"a"), vec![4, 0xFF, 0xFF]].concat()), Value),
        (with(&value(0x03, &[0; 4])), Checksum),
        (with(&value(0x03, &[0; 3])), Checksum),
        (with(&value(0x03, &[0; 5])), Checksum),
        (wrong, Checksum),
        (first_right, Checksum),
    ] {
        assert_eq!(parsed(&header), Err(error), "{header:x?}");
    }
}

/// As HAProxy 2.6.12 sends it with `send-proxy-v2` and `proxy-v2-options crc32c`.
#[test]
fn the_checksum_is_the_one_of_rfc_9260() {
    // The check value of CRC-32C, of the digits 1 to 9.
    let digits = b"123456789";
    let crc: crc::Crc<u32, crc::NoTable> = crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISCSI);
    assert_eq!(crc.checksum(digits), 0xE306_9283);
    let zeros = [&digits[..], &[0; 4]].concat();
    assert_eq!(crc32c_of_header(&[&digits[..], b"abcd"].concat(), 9), crc.checksum(&zeros));
}

#[test]
fn a_beginning_of_a_signature_may_become_a_header() {
    for signature in [v1::SIGNATURE, v2::SIGNATURE] {
        for end in 0..=signature.len() {
            assert!(looks_like_header(&signature[..end]));
            assert_eq!(parsed(&signature[..end]), Ok(None));
        }
    }
    for other in ["GET / HTTP/1.1\r\n", "POST", "PROXY-", "\r\nGET", "\n", "\x16\x03\x01", "Proxy "]
    {
        assert!(!looks_like_header(other.as_bytes()), "{other:?}");
        assert_eq!(parsed(other.as_bytes()), Err(HeaderError::Missing));
    }
}

/// A whole header, of either version, with the client that it names.
fn any_header() -> impl Strategy<Value = (Vec<u8>, Option<SocketAddr>)> {
    let source = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
    let values =
        prop::collection::vec((4..=255u8, prop::collection::vec(any::<u8>(), 0..40)), 0..5)
            .prop_map(|all| {
                all.iter().flat_map(|(kind, own)| value(*kind, own)).collect::<Vec<u8>>()
            });
    let canonical =
        |source: SocketAddr| Some(SocketAddr::new(source.ip().to_canonical(), source.port()));
    prop_oneof![
        (source.clone(), any::<u16>()).prop_map(move |(source, port)| {
            let (family, other) = match source {
                SocketAddr::V4(_) => ("TCP4", "192.0.2.2"),
                SocketAddr::V6(_) => ("TCP6", "2001:db8::2"),
            };
            let (ip, own_port) = (source.ip(), source.port());
            let line = format!("PROXY {family} {ip} {other} {own_port} {port}\r\n");
            (line.into_bytes(), canonical(source))
        }),
        (source, values, any::<bool>()).prop_map(move |(source, values, is_checked)| {
            let (family, addresses) = addresses(source);
            let header = match is_checked {
                true => checked(source, &values),
                false => v2(1, family, &[addresses, values].concat()),
            };
            (header, canonical(source))
        }),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|block| (v2(0, 0, &block), None)),
    ]
}

proptest! {
    /// A header that comes in parts is waited for, and what follows it is not looked at.
    #[test]
    fn a_header_ends_where_it_ends(
        (header, source) in any_header(),
        rest in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let received = [&header[..], &rest].concat();
        for end in 0..header.len() {
            prop_assert_eq!(parsed(&received[..end]), Ok(None), "{} bytes", end);
        }
        for end in header.len()..=received.len() {
            prop_assert_eq!(parsed(&received[..end]), Ok(Some((header.len(), source))));
        }
    }

    /// Whatever comes, what was said of its beginning stays true: an error stays one, and a header
    /// stays the same.
    #[test]
    fn what_is_certain_stays_so(
        signature in prop::sample::select(vec![v1::SIGNATURE, v2::SIGNATURE, b""]),
        rest in prop::collection::vec(prop_oneof![
            prop::sample::select(b"\r\n 0123456789.:TCP46UNKOW\x00\x20\x21\x11\x0c".to_vec()),
            any::<u8>(),
        ], 0..300),
    ) {
        let received = [signature, &rest].concat();
        let mut certain = None;
        for end in 0..=received.len() {
            let now = parsed(&received[..end]);
            if let Some(before) = certain {
                prop_assert_eq!(now, before);
            } else if now != Ok(None) {
                certain = Some(now);
            }
            if now == Ok(None) {
                prop_assert!(end < HEADER_BYTES_MAX);
            }
        }
    }

    /// A header of which one bit is wrong names no other client where it has a checksum.
    #[test]
    fn a_checksum_covers_every_bit(
        source in any::<(IpAddr, u16)>().prop_map(SocketAddr::from),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut header = checked(source, &value(0x01, b"h2"));
        let bit = bit.index(header.len() * 8);
        header[bit / 8] ^= 1 << (bit % 8);
        // The type and length of the checksum itself may make another value of it, the command and
        // the length of the whole something else.
        let is_of_frame = bit / 8 < 16 || bit / 8 >= header.len() - 7;
        prop_assert!(is_of_frame || parsed(&header).is_err(), "{:?}", parsed(&header));
    }
}
