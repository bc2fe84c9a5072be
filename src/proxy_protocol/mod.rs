//! The header of the PROXY protocol, with which a proxy says for whom it has connected, before all
//! other bytes (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, here "the specification").
//!
//! No sockets, no clock: [`parse_header`] takes what has arrived and says what it is. Where the
//! specification leaves a choice, the stricter way is taken: an address that a sender did not mean
//! is worse than a connection that ends.

mod checksum;
mod header;
mod v1;
mod v2;

pub use header::{HEADER_BYTES_MAX, Header, HeaderError, HeaderPolicy};

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
