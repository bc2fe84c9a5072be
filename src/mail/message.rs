//! What loops say to each other.

use std::sync::Arc;

use crate::effects::{Accept, Publication, ServiceMessage};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::ws::{CloseRequest, EncodedFrame};

/// A message to a loop, from another loop or from another thread.
#[derive(Debug)]
pub struct LoopMessage(pub(crate) LoopMessageKind);

/// What a loop is asked to do.
#[derive(Debug)]
pub(crate) enum LoopMessageKind {
    Close(ConnKey, CloseRequest),
    Decide(ConnKey, Result<Accept, Rejection>),
    /// Give it to the members here.
    Deliver(u8, Publication),
    /// Give it to the members everywhere: this is the topic's home loop.
    Publish(u8, Publication),
    Send(ConnKey, EncodedFrame),
    Service {
        route: u8,
        from: u16,
        message: ServiceMessage,
    },
    Subscribe(ConnKey, Arc<str>),
    Unsubscribe(ConnKey, Arc<str>),
}

impl LoopMessage {
    /// A message to a route's service from its instance on loop `from`.
    pub(crate) fn service(route: u8, from: u16, message: ServiceMessage) -> Self {
        Self(LoopMessageKind::Service { route, from, message })
    }
}

/// Sends a message to a loop from another thread; whether there was room for it.
pub type LoopSender = Arc<dyn Fn(LoopMessage) -> bool + Send + Sync>;
