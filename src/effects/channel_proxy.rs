//! A backend that is asked about connections of channels, and the way of its answers back to the service.

use std::sync::Arc;

use super::{ClientHeaders, Peer, ServiceSender};
use crate::centrifugo::{ProxyKind, ProxyReply};
use crate::timer::Millis;

/// Asks a backend elsewhere, without blocking the loop that asks. One instance serves all loops, so what it
/// keeps needs locks that are held for a moment only.
pub trait ChannelProxy: Send + Sync {
    /// Asks the backend. One [`ProxyAnswer`] comes to `request.answer_to`, possibly before this returns,
    /// unless the connection is cancelled before.
    fn ask(&self, request: ProxyRequest);

    /// A connection has ended: what was asked about it is given up.
    fn cancel(&self, peer: Peer);
}

/// A proxy that several services ask.
pub type SharedChannelProxy = Arc<dyn ChannelProxy>;

/// A question for a backend.
#[derive(Clone, Debug)]
pub struct ProxyRequest {
    /// The connection that it is about.
    pub peer: Peer,
    /// Tells questions about a connection apart.
    pub serial: u32,
    /// What is asked.
    pub kind: ProxyKind,
    /// The body of the request.
    pub body: Vec<u8>,
    /// The headers of the client of which some are passed on.
    pub headers: Option<Arc<ClientHeaders>>,
    /// Sends the answer to the service that asks.
    pub answer_to: ServiceSender,
    /// The time of the loop.
    pub now: Millis,
}

/// What a question has come to, sent as a [`ServiceMessage`](super::ServiceMessage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAnswer {
    /// The connection.
    pub peer: Peer,
    /// That of the question.
    pub serial: u32,
    /// What the backend says; `None` if it has not said anything of use.
    pub reply: Option<ProxyReply>,
}

impl ProxyAnswer {
    /// Bytes on the heap, as far as they may be many.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.reply.as_ref().map_or(0, ProxyReply::held_bytes)
    }
}
