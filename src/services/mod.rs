//! What the gateway does with messages. A service sees requests, messages and peers, and answers
//! with effects; it never sees a socket, the connection table or another connection.
//!
//! Each event loop has its own instance of every service, made on that loop's thread, so a service
//! needs no locks and need be neither `Send` nor `Sync`.

mod broadcast;
mod connect_request;
mod echo;
mod effects;
mod page;
pub mod room;
mod route_id;
mod router;
mod service_sender;
mod tokens;

use std::any::Any;
use std::fmt;

pub use broadcast::Broadcast;
pub use connect_request::ConnectRequest;
pub use echo::Echo;
pub(crate) use effects::{CloseRequest, Effect, PendingEffects, Publication};
pub use effects::{Effects, Message, Order};
pub use page::{BuiltInPage, Page, PageReply};
pub use route_id::{RouteId, RouteNumbers, TooManyRoutes};
pub(crate) use router::Found;
pub use router::{
    DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions, Handler, Route,
    RouteOptions, Router,
};
pub use service_sender::ServiceSender;

pub use tokens::{TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups};

use crate::http::{Rejection, ResponseHeader, Subprotocol};
use crate::key::ConnKey;
use crate::ws::{CloseCode, Violation};

/// A connection as services know it: addressable from any loop, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The loop that owns the connection.
    pub loop_index: u16,
    /// The connection in that loop.
    pub key: ConnKey,
}

/// Where an instance of a service stands among its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSite {
    /// The loop it runs on, from 0.
    pub index: u16,
    /// How many loops there are, each with an instance.
    pub count: u16,
}

/// Something that an instance of a service tells a sibling on another loop.
pub type ServiceMessage = Box<dyn Any + Send>;

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loop_index, key: ConnKey { index, generation } } = self;
        write!(formatter, "{loop_index}/{index}.{generation}")
    }
}

/// A WebSocket service.
///
/// For every connection that is admitted, [`on_open`](Service::on_open) comes first, then any
/// number of messages, then [`on_close`](Service::on_close) exactly once, and nothing after it.
pub trait Service {
    /// The instance was made and will be called from now on. Whoever works for it on another thread
    /// answers through `letterbox`.
    fn on_start(&mut self, service_sender: ServiceSender) {
        let _ = service_sender;
    }

    /// Whether to let a connection in. The checks of RFC 6455 and of the route's origins have
    /// passed. A service that must ask elsewhere first says [`Admission::Later`] and answers with
    /// [`Effects::decide`]; meanwhile the connection waits with nothing but its request.
    ///
    /// # Errors
    /// The [`Rejection`] to send instead of the upgrade.
    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let _ = (connect, peer, effects);
        Ok(Admission::Now(Accept::default()))
    }

    /// A peer that was to be admitted later left, or its time ran out. A decision that comes all
    /// the same is dropped.
    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let _ = (peer, effects);
    }

    /// The connection is open; the upgrade's reply goes out before anything sent here.
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let _ = (peer, effects);
    }

    /// A whole message arrived.
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>);

    /// The connection is no longer open. Effects on it are counted and do nothing.
    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let _ = (peer, reason, effects);
    }

    /// How often [`on_tick`](Service::on_tick) is to be called; asked once. A loop with such a
    /// service wakes that often even when nobody is connected.
    fn tick_ms(&self) -> Option<u64> {
        None
    }

    /// Time has passed.
    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        let _ = effects;
    }

    /// A sibling on loop `from`, or this instance itself, sent a letter with [`Effects::tell`].
    fn on_service_message(
        &mut self,
        from: u16,
        message: ServiceMessage,
        effects: &mut Effects<'_>,
    ) {
        let _ = (from, message, effects);
    }
}

/// When a request is let in.
#[derive(Clone, Debug)]
pub enum Admission {
    /// [`Effects::decide`] will say; the deadline of the handshake goes on.
    Later,
    /// At once.
    Now(Accept),
}

/// How a request is let in.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// Subprotocol to name in the reply instead of the route's first match; it must be one that
    /// the client offered.
    pub subprotocol: Option<Subprotocol>,
    /// Further headers of the reply, such as `Set-Cookie`.
    pub headers: Vec<ResponseHeader>,
}

/// Why a connection left the open state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The gateway is shutting down (1001).
    Drained,
    /// The peer ended the connection without a close frame.
    Gone,
    /// No pong came in time.
    Idle,
    /// The process had no memory left for it (1013).
    Overload,
    /// The peer closed, with this code if it gave one.
    Peer(Option<CloseCode>),
    /// The connection failed: reset, or no longer reachable.
    Reset,
    /// A service closed it.
    Service(CloseCode),
    /// Its backlog of pushed messages was full (4002).
    Slow,
    /// The kernel took no byte for `write_stall_ms`.
    Stalled,
    /// The peer broke the protocol or a limit.
    Violation(Violation),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => formatter.write_str("drained"),
            Self::Gone => formatter.write_str("gone without a close frame"),
            Self::Idle => formatter.write_str("no pong in time"),
            Self::Overload => formatter.write_str("no memory left"),
            Self::Peer(Some(code)) => write!(formatter, "closed by the peer ({})", code.number()),
            Self::Peer(None) => formatter.write_str("closed by the peer"),
            Self::Reset => formatter.write_str("reset"),
            Self::Service(code) => write!(formatter, "closed by a service ({})", code.number()),
            Self::Slow => formatter.write_str("too slow"),
            Self::Stalled => formatter.write_str("write stalled"),
            Self::Violation(violation) => write!(formatter, "{violation}"),
        }
    }
}
