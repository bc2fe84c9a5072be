//! A live trace: what a few connections send, get and end by, while an operator watches.

use std::fmt;
use std::sync::Arc;

use super::connection::ConnectionSummary;
use crate::effects::{CloseReason, Peer};

/// The number of a trace, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u64);

/// Something that happened to a traced connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The connection.
    pub peer: Peer,
    /// When, in milliseconds of the Unix clock.
    pub unix_ms: u64,
    /// What.
    pub kind: TraceEventKind,
}

/// What happened to a traced connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEventKind {
    /// It is open; or it was when the trace began.
    Open(Box<ConnectionSummary>),
    /// It sent a message.
    Received {
        /// Whether it is text.
        is_text: bool,
        /// Bytes of its payload.
        bytes: usize,
        /// The beginning of its payload.
        payload: Vec<u8>,
    },
    /// It was sent a message: written, or waiting for room in its socket.
    Sent {
        /// Whether it is text.
        is_text: bool,
        /// Bytes of its payload, as it goes out.
        bytes: usize,
        /// The beginning of its payload; empty where it went out compressed.
        payload: Vec<u8>,
    },
    /// It is closed.
    Closed(CloseReason),
}

/// Takes what a trace tells. It never waits: what it has no room for is dropped and counted there.
#[derive(Clone)]
pub struct TraceSink(Arc<dyn Fn(TraceEvent) + Send + Sync>);

impl TraceSink {
    /// A sink that calls `take`, on the threads of the loops; it must not wait.
    #[must_use]
    pub fn new(take: impl Fn(TraceEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Tells something.
    pub fn tell(&self, event: TraceEvent) {
        (self.0)(event);
    }
}

impl fmt::Debug for TraceSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TraceSink")
    }
}
