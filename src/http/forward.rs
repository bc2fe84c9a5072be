//! The request that a backend gets for a client's: without what was for this hop only, and with what
//! the gateway knows of the client, which no one else can set.

use core::net::IpAddr;
use std::io::Write as _;

use super::{
    authority::default_port,
    head::RequestHead,
    hop_by_hop::{HopByHop, canonical, write_line},
    list::list_elements,
    response_header::{HeaderValue, InvalidHeader},
};

/// How requests to a backend differ from those of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardRules {
    /// The `Host` of all requests; `None` keeps that of the client.
    pub host: Option<HeaderValue>,
    /// Headers that are set, in place of those of the client of the same name.
    pub set: Vec<SetHeader>,
    /// Names of headers that are not passed on.
    pub remove: Vec<String>,
    /// Whether the gateway agrees on extensions with clients itself: backends are offered none.
    pub has_own_extensions: bool,
}

/// A header that is set in each request to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    name: String,
    value: HeaderValue,
}

impl SetHeader {
    /// Checks a header that is to be set.
    ///
    /// # Errors
    /// [`InvalidHeader`] if name or value are not those of a header, or if the gateway writes it.
    pub fn new(
        name: impl Into<String>,
        value: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        let name = name.into();
        if !super::grammar::is_token(name.as_bytes()) {
            return Err(InvalidHeader::Name);
        }
        if is_own(name.as_bytes()) || is_of_handshake(name.as_bytes()) {
            return Err(InvalidHeader::Reserved);
        }
        Ok(Self { name, value: HeaderValue::new(value)? })
    }
}

/// What the gateway knows of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFacts<'c> {
    /// The address of the client; `None` if it is not known.
    pub address: Option<IpAddr>,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// The proxy that its request came by, where that is a trusted one: then what the request says of
    /// those before holds.
    pub proxy: Option<IpAddr>,
    /// Who it has proved to be.
    pub user: Option<&'c str>,
}

/// Appends the head of the request to the backend, which is HTTP/1.1: that of `head`, for `target`.
///
/// Left out is what is for one hop only (RFC 9110 §7.6.1) and what `rules` remove. `X-Forwarded-For`,
/// `-Host`, `-Port` and `-Proto`, `X-Real-IP` and `Forwarded` (RFC 7239) are set anew, and deleted are
/// all other `X-Forwarded-…` of the client and every spelling with `_`, which some frameworks take for
/// the same. Those that a trusted proxy has sent stay, but for `X-Real-IP`, which is the client's in any
/// case, and the lists of addresses go on with that of the proxy.
/// `X-Tidegate-User` is the user, percent-encoded where it is not visible ASCII.
pub fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    target: &[u8],
    rules: &ForwardRules,
    client: &ClientFacts<'_>,
) {
    out.extend_from_slice(head.method_bytes());
    for part in [b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    write_host(out, head, rules);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    write_passed_on(out, head, rules, client, |_| false);
    out.extend_from_slice(b"\r\n");
}

/// Appends the header lines of a request to a backend as [`write_request`] does, but for a request that
/// upgrades nothing: without what names of headers `is_left_out` holds for, and without the empty line.
pub fn write_request_headers(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    rules: &ForwardRules,
    client: &ClientFacts<'_>,
    is_left_out: impl Fn(&[u8]) -> bool,
) {
    write_host(out, head, rules);
    write_passed_on(out, head, rules, client, is_left_out);
}

fn write_passed_on(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    rules: &ForwardRules,
    client: &ClientFacts<'_>,
    is_left_out: impl Fn(&[u8]) -> bool,
) {
    let connection: Vec<&[u8]> = head.header_values("Connection").collect();
    let hop_by_hop = HopByHop { connection: &connection };
    for (name, value) in head.headers() {
        let is_written_anew = match client.proxy.is_some() {
            _ if name.eq_ignore_ascii_case(b"Host") => true,
            true => is_own_with_proxy(name),
            false => is_own(name),
        };
        // Of a body there is none, or its framing is written anew.
        let is_length = name.eq_ignore_ascii_case(b"Content-Length");
        let is_dropped =
            is_length || is_look_alike(name) || hop_by_hop.has(name) || is_left_out(name);
        if !is_written_anew && !is_dropped && !rules.replace(name) {
            write_line(out, canonical(name), value);
        }
    }
    write_forwarded(out, head, client);
    if let Some(user) = client.user {
        write_user(out, user);
    }
    for header in &rules.set {
        write_line(out, header.name.as_bytes(), header.value.as_str().as_bytes());
    }
}

impl ForwardRules {
    /// Whether a client's header is not passed on, or another takes its place. Headers of the
    /// handshake always are, but for extensions that are the gateway's own.
    fn replace(&self, name: &[u8]) -> bool {
        if self.has_own_extensions && name.eq_ignore_ascii_case(EXTENSIONS.as_bytes()) {
            return true;
        }
        let mut names = self.remove.iter().chain(self.set.iter().map(|header| &header.name));
        !is_of_handshake(name) && names.any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
    }
}

fn write_host(out: &mut Vec<u8>, head: &RequestHead<'_>, rules: &ForwardRules) {
    out.extend_from_slice(b"Host: ");
    match (&rules.host, head.host()) {
        (Some(host), _) => out.extend_from_slice(host.as_str().as_bytes()),
        (None, Some(host)) => {
            // Writing to a `Vec` never fails.
            let _ = write!(out, "{host}");
        }
        (None, None) => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_forwarded(out: &mut Vec<u8>, head: &RequestHead<'_>, client: &ClientFacts<'_>) {
    let ClientFacts { address, is_tls, proxy, .. } = *client;
    let is_trusted = proxy.is_some();
    // Who has connected to the gateway.
    let hop = proxy.or(address);
    let kept = |name: &str| head.header(name).filter(|_| is_trusted);
    let scheme = if is_tls { "https" } else { "http" };
    let _ = write!(out, "X-Forwarded-For: ");
    write_list(out, head, "X-Forwarded-For", is_trusted);
    let _ = match hop {
        Some(hop) => write!(out, "{hop}\r\n"),
        None => write!(out, "unknown\r\n"),
    };
    if let Some(address) = address {
        let _ = write!(out, "X-Real-IP: {address}\r\n");
    }
    if kept("X-Forwarded-Proto").is_none() {
        let _ = write!(out, "X-Forwarded-Proto: {scheme}\r\n");
    }
    let port = head.host().and_then(|host| host.port());
    let port = port.or_else(|| default_port(scheme.as_bytes())).unwrap_or_default();
    if kept("X-Forwarded-Port").is_none() {
        let _ = write!(out, "X-Forwarded-Port: {port}\r\n");
    }
    if let Some(host) = head.host()
        && kept("X-Forwarded-Host").is_none()
    {
        let _ = write!(out, "X-Forwarded-Host: {host}\r\n");
    }
    out.extend_from_slice(b"Forwarded: ");
    write_list(out, head, "Forwarded", is_trusted);
    let _ = match hop {
        // Colons need quotes (RFC 7239 §6).
        Some(IpAddr::V6(hop)) => write!(out, "for=\"[{hop}]\""),
        Some(IpAddr::V4(hop)) => write!(out, "for={hop}"),
        None => write!(out, "for=unknown"),
    };
    if let Some(host) = head.host() {
        // A host holds neither quotes nor backslashes.
        let _ = write!(out, ";host=\"{host}\"");
    }
    let _ = write!(out, ";proto={scheme}\r\n");
}

/// What a trusted proxy lists already, with the comma behind it.
fn write_list(out: &mut Vec<u8>, head: &RequestHead<'_>, name: &str, is_trusted: bool) {
    if is_trusted {
        for element in list_elements(head.header_values(name)) {
            out.extend_from_slice(element);
            out.extend_from_slice(b", ");
        }
    }
}

fn write_user(out: &mut Vec<u8>, user: &str) {
    out.extend_from_slice(b"X-Tidegate-User: ");
    for byte in user.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether only the gateway may set this header, in whatever spelling.
fn is_own(name: &[u8]) -> bool {
    let prefix = name.get(..FORWARDED_PREFIX.len()).unwrap_or_default();
    is_spelled(prefix, FORWARDED_PREFIX) || OWN.iter().any(|own| is_spelled(name, own))
}

/// Whether the gateway sets this header for the client of a trusted proxy as well: what it adds to, what
/// it knows better, and spellings that a proxy would not write.
fn is_own_with_proxy(name: &[u8]) -> bool {
    let is = |own: &str| name.eq_ignore_ascii_case(own.as_bytes());
    is_own(name)
        && (name.contains(&b'_')
            || is("X-Forwarded-For")
            || is("Forwarded")
            || is("X-Real-IP")
            || is_spelled(name, USER))
}

/// Whether a name is with `_` what decides about the connection or the body with `-`, which some
/// frameworks take for the same.
fn is_look_alike(name: &[u8]) -> bool {
    name.contains(&b'_') && RESERVED.iter().any(|own| is_spelled(name, own))
}

fn is_of_handshake(name: &[u8]) -> bool {
    let prefix = name.get(..HANDSHAKE_PREFIX.len()).unwrap_or_default();
    prefix.eq_ignore_ascii_case(HANDSHAKE_PREFIX.as_bytes())
        || RESERVED.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Whether a name is `own` in any letter case, with `_` or `-`: CGI and what follows it cannot tell
/// them apart (RFC 3875 §4.1.18).
fn is_spelled(name: &[u8], own: &str) -> bool {
    name.len() == own.len()
        && name.iter().zip(own.as_bytes()).all(|(byte, own)| {
            let byte = if *byte == b'_' { b'-' } else { *byte };
            byte.eq_ignore_ascii_case(own)
        })
}

const FORWARDED_PREFIX: &str = "X-Forwarded-";
const USER: &str = "X-Tidegate-User";
const OWN: [&str; 4] = ["X-Forwarded", "X-Real-IP", "Forwarded", USER];
const HANDSHAKE_PREFIX: &str = "Sec-WebSocket-";
pub(super) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
/// The headers that the request line, the connection and the body depend on.
const RESERVED: [&str; 7] =
    ["Connection", "Content-Length", "Host", "TE", "Trailer", "Transfer-Encoding", "Upgrade"];

#[cfg(test)]
mod tests;
