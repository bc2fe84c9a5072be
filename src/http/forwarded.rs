//! For whom a proxy asks, as a header of the request says: `X-Forwarded-For`, `Forwarded` (RFC 7239) or
//! `X-Real-IP`.
//!
//! Each proxy on the way adds the address that it was asked from at the right end of a list. Only what
//! trusted proxies have added is true, so the list is walked from there to the left: from the address
//! that a trusted proxy has added to the next, until one is no trusted proxy. That one is the client,
//! and what stands left of it may be anything. Where a list cannot be understood the walk ends at the
//! last address that could.

// Of `core`, which has addresses and no sockets.
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::grammar::{is_token, is_token_byte, split_once, trim_whitespace, trim_whitespace_start};
use super::head::RequestHead;

/// The header in which trusted proxies name the client. Only one counts: two that contradict each other
/// would let the client choose, as a proxy passes on what it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardedHeader {
    /// None.
    Off,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`: addresses with commas between them.
    #[default]
    XForwardedFor,
    /// `X-Real-IP`: one address.
    XRealIp,
}

/// Whether a request has any header that names the client of a proxy.
#[must_use]
pub fn is_forwarded(head: &RequestHead<'_>) -> bool {
    let is_one = |name: &[u8]| ALL.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    head.headers().any(|(name, _)| is_one(name))
}

/// The address of the client for whom a trusted proxy sends this request, by the header that counts;
/// port 0 where the header does not say. `is_proxy` tells which addresses are those of trusted proxies.
/// `None` if the header is not there or says nothing: the proxy itself is the client then.
///
/// An address of version 4 is never given inside one of version 6.
#[must_use]
pub fn forwarded_client(
    head: &RequestHead<'_>,
    header: ForwardedHeader,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    match header {
        ForwardedHeader::Off => None,
        ForwardedHeader::Forwarded => {
            let elements = head.header_values(FORWARDED).rev().flat_map(Elements::quoted);
            walk(elements.map(forwarded_for), is_proxy)
        }
        ForwardedHeader::XForwardedFor => {
            let elements = head.header_values(X_FORWARDED_FOR).rev().flat_map(Elements::plain);
            walk(elements.map(node), is_proxy)
        }
        ForwardedHeader::XRealIp => {
            let mut values = head.header_values(X_REAL_IP);
            // Of two, one is not of the proxy.
            let (first, second) = (values.next(), values.next());
            first.filter(|_| second.is_none()).and_then(node)
        }
    }
}

/// The first address, from the right, that is none of a trusted proxy, or the last that is understood.
fn walk(
    nodes: impl Iterator<Item = Option<SocketAddr>>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let mut last = None;
    for node in nodes.take(HOPS_MAX) {
        let Some(address) = node else { return last };
        last = Some(address);
        if !is_proxy(address.ip()) {
            return last;
        }
    }
    last
}

/// The elements of a list, from the right (RFC 9110 §5.6.1). Empty ones are passed over.
///
/// What is left of an element does not change where it begins: a client that sends half of a quoted
/// string does not hide what a proxy has added.
struct Elements<'b> {
    rest: Option<&'b [u8]>,
    /// Whether a comma inside quotes ends no element.
    has_quotes: bool,
}

impl<'b> Elements<'b> {
    fn plain(value: &'b [u8]) -> Self {
        Self { rest: Some(value), has_quotes: false }
    }

    fn quoted(value: &'b [u8]) -> Self {
        Self { rest: Some(value), has_quotes: true }
    }

    /// Where the last element of `list` begins: behind its last comma that is not quoted.
    fn comma_before(&self, list: &[u8]) -> Option<usize> {
        let mut is_quoted = false;
        for (at, byte) in list.iter().enumerate().rev() {
            match byte {
                b',' if !is_quoted => return Some(at),
                b'"' if self.has_quotes && !is_escaped(list, at) => is_quoted = !is_quoted,
                _ => {}
            }
        }
        None
    }
}

impl<'b> Iterator for Elements<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            let list = self.rest.take()?;
            let element = match self.comma_before(list) {
                Some(comma) => {
                    self.rest = list.get(..comma);
                    list.get(comma + 1..)?
                }
                None => list,
            };
            let element = trim_whitespace(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Whether the byte at this place is escaped by an odd number of backslashes before it (RFC 9110 §5.6.4).
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The address in `for` of an element of `Forwarded`: pairs with semicolons between them (RFC 7239 §4).
/// `None` if it has none, or the element is malformed.
fn forwarded_for(element: &[u8]) -> Option<SocketAddr> {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let (name, after) = split_once(rest, b'=')?;
        let (value, after) = pair_value(after)?;
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
        rest = match trim_whitespace_start(after) {
            [b';', rest @ ..] => trim_whitespace_start(rest),
            [] => &[],
            _ => return None,
        };
    }
    node(found?)
}

/// The value at the start of `bytes`, a token or a quoted string, without its quotes, and what follows
/// it. Escapes stay: no address has any.
fn pair_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (value_at, end, after) = match bytes {
        [b'"', quoted @ ..] => {
            let mut ends = quoted.iter().enumerate().filter(|(_, byte)| **byte == b'"');
            let end = 1 + ends.find(|(at, _)| !is_escaped(quoted, *at))?.0;
            (1, end, end + 1)
        }
        _ => {
            let is_end = |&byte: &u8| !is_token_byte(byte);
            let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
            if end == 0 {
                return None;
            }
            (0, end, end)
        }
    };
    Some((bytes.get(value_at..end)?, bytes.get(after..)?))
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or
/// `[2001:db8::1]:80`. A port may be hidden, as in `192.0.2.1:_p` (RFC 7239 §6.3).
fn node(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip.to_canonical(), 0));
    }
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (ip, _) = text.split_once(':')?;
            (IpAddr::V4(ip.parse().ok()?), text.get(ip.len()..)?)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(hidden) if hidden.starts_with('_') => 0,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => 0,
        None => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// Trusted proxies that one request may pass on its way. No network is that deep.
const HOPS_MAX: usize = 64;
const FORWARDED: &str = "Forwarded";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_REAL_IP: &str = "X-Real-IP";
const ALL: [&str; 3] = [FORWARDED, X_FORWARDED_FOR, X_REAL_IP];

#[cfg(test)]
mod tests;
