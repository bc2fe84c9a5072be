//! The client's side of RFC 6455: bytes in, events and bytes out. No socket, no clock.
//!
//! A connection takes a few words: it derives its accept key again from its serial number when the
//! response arrives, and its owner keeps incomplete input. So a run can have as many connections as
//! the machine has descriptors.

mod connection;
mod deflate;
mod error;
mod frame;
mod handshake;
mod incoming;

pub(crate) use connection::{Connection, Event, Outgoing};
pub(crate) use deflate::{Deflater, Inflater};
pub(crate) use error::{Awaited, ProtocolError};
pub(crate) use frame::{COMPRESSED, PAYLOAD_BYTES_MAX, encode_frame, encode_header};
pub(crate) use handshake::{HandshakeError, Offer};
pub(crate) use incoming::{Chunk, DataKind};
