//! One connection, as operators see it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::effects::Peer;

/// Which part of its life a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionPhase {
    /// A TLS handshake, a request head or the decision about it is under way.
    Handshake,
    /// Messages go both ways.
    Open,
    /// The last bytes are on their way, or the peer's end is waited for.
    Closing,
}

/// What the bytes of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionProtocol {
    /// Nothing: they come from a backend, and go on to its client as they are.
    Backend,
    /// HTTP, until the request is answered.
    Http,
    /// Lines of text, each a message.
    Line,
    /// Nothing: they go on to a backend as they are.
    Relay,
    /// WebSocket frames.
    WebSocket,
}

/// A row of the list of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSummary {
    /// The connection.
    pub peer: Peer,
    /// The address of its peer, if the socket still knows it, or of the client for whom a proxy speaks.
    pub address: Option<SocketAddr>,
    /// Which part of its life it is in.
    pub phase: ConnectionPhase,
    /// What its bytes mean.
    pub protocol: ConnectionProtocol,
    /// Whether they are encrypted.
    pub is_tls: bool,
    /// The id of the route that serves it, such as `room /chat`, once its request has named one.
    pub route: Option<Arc<str>>,
    /// Who it has proven to be, or else the name that its service knows it by.
    pub user: Option<String>,
    /// The room or topic that it is in, if its service has any.
    pub room: Option<String>,
    /// Milliseconds since the peer last gave a sign of life.
    pub silent_ms: u64,
    /// Bytes that wait for room in its socket.
    pub backlog_bytes: usize,
}

/// Everything that a loop can say of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionDetail {
    /// What the list says.
    pub summary: ConnectionSummary,
    /// The address of the proxy that has named the client, if one has.
    pub proxy: Option<SocketAddr>,
    /// Bytes of memory that are held for it beside its slot: partial reads, backlog, contexts, TLS.
    pub held_bytes: usize,
    /// Bytes of the message or head that has begun and is not whole.
    pub partial_bytes: usize,
    /// Why it is not read at present, in the words of docs/operations.md.
    pub paused_by: Vec<&'static str>,
    /// Whether a ping waits for its pong.
    pub is_pinged: bool,
    /// The base-two logarithm of the window that messages to it are compressed with, if they are.
    pub deflate_window_bits: Option<u8>,
    /// The version and the suite of TLS, once its handshake is over.
    pub tls: Option<&'static str>,
    /// The name of the `[[identity]]` to which it has proven who it is.
    pub identity: Option<Arc<str>>,
    /// The date at which that no longer holds, in milliseconds of the Unix clock.
    pub identity_expires_unix_ms: Option<u64>,
}
