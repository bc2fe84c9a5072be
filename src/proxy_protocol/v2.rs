//! Version 2: binary (section 2.2 of the specification).
//!
//! ```text
//!   bytes  0..12   signature
//!          12      version (2), command
//!          13      family, transport
//!          14..16  length of what follows
//!          16..    addresses, then values: type (1), length (2), value
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::checksum::crc32c_of_header;
use super::header::{HEADER_BYTES_MAX, Header, HeaderError};

/// What every header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header at the start of `received`, which begins with the signature as far as it goes.
pub(super) fn parse(received: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some(&[version_and_command, family, high, low]) =
        received.get(SIGNATURE.len()..FIXED_BYTES)
    else {
        return Ok(None);
    };
    let (version, command) = (version_and_command >> 4, version_and_command & 0xF);
    if version != VERSION {
        return Err(HeaderError::Version);
    }
    if command != LOCAL && command != PROXY {
        return Err(HeaderError::Command);
    }
    // Before the bytes of a header that is refused are waited for.
    let addresses_bytes = if command == LOCAL { 0 } else { addresses_bytes(family)? };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if rest_bytes < addresses_bytes {
        return Err(HeaderError::Length);
    }
    let bytes = FIXED_BYTES + rest_bytes;
    if bytes > HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(header) = received.get(..bytes) else { return Ok(None) };
    // The sender speaks for itself, and all that follows is to be discarded, the family too.
    if command == LOCAL {
        return Ok(Some(Header { bytes, source: None }));
    }
    check_values(header, FIXED_BYTES + addresses_bytes)?;
    let addresses = header.get(FIXED_BYTES..).unwrap_or_default();
    Ok(Some(Header { bytes, source: source(family, addresses) }))
}

/// The bytes that the addresses of a family take. A gateway is connected to by streams: datagrams
/// cannot be.
fn addresses_bytes(family: u8) -> Result<usize, HeaderError> {
    match family {
        // The sender does not know, or may not say. The address of the connection is used.
        UNSPECIFIED => Ok(0),
        TCP_4 => Ok(12),
        TCP_6 => Ok(36),
        UNIX_STREAM => Ok(216),
        _ => Err(HeaderError::Family),
    }
}

/// The client, of `addresses` that are long enough for their family.
fn source(family: u8, addresses: &[u8]) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, u16) = match family {
        TCP_4 => {
            let ip: [u8; 4] = *addresses.first_chunk()?;
            (Ipv4Addr::from(ip).into(), port(addresses.get(8..)?)?)
        }
        TCP_6 => {
            let ip: [u8; 16] = *addresses.first_chunk()?;
            (Ipv6Addr::from(ip).into(), port(addresses.get(32..)?)?)
        }
        // The client is on the machine of the proxy, and has no address.
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn port(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

/// Walks the values that follow the addresses at `start`, and verifies the checksum if there is one.
/// What others say is not used.
fn check_values(header: &[u8], start: usize) -> Result<(), HeaderError> {
    let (mut at, mut is_checked) = (start, false);
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let [kind, high, low] = *rest.first_chunk().ok_or(HeaderError::Value)?;
        let value_at = at + VALUE_HEADER_BYTES;
        at = value_at + usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(value_at..at).ok_or(HeaderError::Value)?;
        if kind != CRC32C {
            continue;
        }
        let expected: [u8; 4] = value.try_into().map_err(|_| HeaderError::Checksum)?;
        // One of two could not be right, as each is computed with zeros in its own place alone.
        if std::mem::replace(&mut is_checked, true)
            || crc32c_of_header(header, value_at) != u32::from_be_bytes(expected)
        {
            return Err(HeaderError::Checksum);
        }
    }
    Ok(())
}

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0x00;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// The type of a value that is a checksum (section 2.2.3).
const CRC32C: u8 = 0x03;
/// The bytes before the addresses.
const FIXED_BYTES: usize = 16;
/// Type and length of a value.
const VALUE_HEADER_BYTES: usize = 3;
