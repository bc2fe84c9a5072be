//! What a header of the PROXY protocol says, and why bytes are none.

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
