//! Version 1: one line of text (section 2.1 of the specification).

use core::net::{IpAddr, SocketAddr};

use memchr::memchr;

use super::header::{Header, HeaderError};

/// What every line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The line at the start of `received`, which begins with the signature as far as it goes.
pub(super) fn parse(received: &[u8]) -> Result<Option<Header>, HeaderError> {
    let searched = received.get(..LINE_BYTES_MAX).unwrap_or(received);
    let Some(end) = memchr(b'\n', searched) else {
        let is_too_long = searched.len() == LINE_BYTES_MAX;
        return if is_too_long { Err(HeaderError::TooLong) } else { Ok(None) };
    };
    let line = searched.get(SIGNATURE.len()..end).and_then(|rest| rest.strip_suffix(b"\r"));
    // A CR alone would be the end of the line for some.
    let line = line.filter(|line| memchr(b'\r', line).is_none()).ok_or(HeaderError::Line)?;
    Ok(Some(Header { bytes: end + 1, source: source(line)? }))
}

/// The client that a line names behind its signature.
fn source(line: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    // Whatever follows says nothing.
    if line == UNKNOWN || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let mut words = line.split(|&byte| byte == b' ');
    let mut next = || words.next().ok_or(HeaderError::Line);
    let (family, addresses, ports) = (next()?, [next()?, next()?], [next()?, next()?]);
    if words.next().is_some() {
        return Err(HeaderError::Line);
    }
    let address = match family {
        b"TCP4" => ipv4 as fn(&[u8]) -> Option<IpAddr>,
        b"TCP6" => ipv6,
        _ => return Err(HeaderError::Family),
    };
    let [source, destination] = addresses.map(|word| address(word).ok_or(HeaderError::Address));
    let [source_port, destination_port] = ports.map(|word| port(word).ok_or(HeaderError::Port));
    // The destination is not used, but a sender that gets it wrong may have got all wrong.
    destination?;
    destination_port?;
    Ok(Some(SocketAddr::new(source?.to_canonical(), source_port?)))
}

fn ipv4(word: &[u8]) -> Option<IpAddr> {
    text(word)?.parse().ok().map(IpAddr::V4)
}

fn ipv6(word: &[u8]) -> Option<IpAddr> {
    text(word)?.parse().ok().map(IpAddr::V6)
}

/// A port: a decimal number without zeros before it.
fn port(word: &[u8]) -> Option<u16> {
    let is_canonical = match word {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_canonical { text(word)?.parse().ok() } else { None }
}

fn text(word: &[u8]) -> Option<&str> {
    str::from_utf8(word).ok()
}

/// The longest line, its CRLF included.
const LINE_BYTES_MAX: usize = 107;
const UNKNOWN: &[u8] = b"UNKNOWN";
