//! The header of the PROXY protocol, with which a proxy says for whom it has connected, before all
//! other bytes (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, here "the specification").
//!
//! No sockets, no clock: [`parse_header`] takes what has arrived and says what it is. Where the
//! specification leaves a choice, the stricter way is taken: an address that a sender did not mean
//! is worse than a connection that ends.

mod checksum;
mod v1;
mod v2;

// Of `core`, which has addresses and no sockets.
use core::net::SocketAddr;

use thiserror::Error;

/// The most bytes of a header: far more than addresses and what balancers add to them, and as much as
/// nginx takes. One of version 1 has 107 at most.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Whether the connections of a listener begin with a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeaderPolicy {
    /// They do not.
    #[default]
    Off,
    /// Those of trusted proxies may.
    Optional,
    /// All do.
    Required,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length; what follows belongs to the client.
    pub bytes: usize,
    /// The address of the client, one of version 4 never inside one of version 6. `None` where the
    /// sender speaks for itself, such as for a check of health, or does not know: the address of the
    /// connection is to be used then.
    pub source: Option<SocketAddr>,
}

/// Why the first bytes of a connection are no header. It is to be aborted, as the specification asks
/// (section 2).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// They begin with neither signature.
    #[error("no header of the PROXY protocol")]
    Missing,
    /// Version 1: more than 107 bytes (section 2.1). Version 2: more than [`HEADER_BYTES_MAX`].
    #[error("the header of the PROXY protocol is too long")]
    TooLong,
    /// Version 1: not `PROXY`, a family, addresses and ports with single spaces, and CRLF.
    #[error("the line of the PROXY protocol is malformed")]
    Line,
    /// Version 1: not an address of its family.
    #[error("an address in the line of the PROXY protocol is malformed")]
    Address,
    /// Version 1: not a port.
    #[error("a port in the line of the PROXY protocol is malformed")]
    Port,
    /// Another version than 1 and 2.
    #[error("the version of the PROXY protocol is not known")]
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    #[error("the command of the PROXY protocol is not known")]
    Command,
    /// A family or transport that is not known, or none of a TCP connection.
    #[error("the header of the PROXY protocol has a family or transport that cannot be")]
    Family,
    /// Version 2: too short for the addresses of its family.
    #[error("the header of the PROXY protocol is too short for its addresses")]
    Length,
    /// Version 2: what follows the addresses is no list of type, length and value.
    #[error("the header of the PROXY protocol ends inside a value")]
    Value,
    /// Version 2: the checksum is wrong, or given twice.
    #[error("the checksum of the header of the PROXY protocol is wrong")]
    Checksum,
}

/// Whether `received`, the first bytes of a connection, are those of a header, as far as they go.
#[must_use]
pub fn looks_like_header(received: &[u8]) -> bool {
    [v1::SIGNATURE, v2::SIGNATURE].iter().any(|signature| {
        let bytes = signature.len().min(received.len());
        received.get(..bytes) == signature.get(..bytes)
    })
}

/// The header at the start of `received`, the first bytes of a connection; `None` while it is
/// incomplete. What is incomplete has fewer than [`HEADER_BYTES_MAX`] bytes.
///
/// # Errors
/// [`HeaderError`] as soon as it is certain.
pub fn parse_header(received: &[u8]) -> Result<Option<Header>, HeaderError> {
    if !looks_like_header(received) {
        return Err(HeaderError::Missing);
    }
    // The signatures differ in their first byte.
    match received.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(received),
        Some(_) => v2::parse(received),
    }
}

#[cfg(test)]
mod tests;
