//! What the gateway does with messages. A service sees requests, messages and peers, and answers
//! with effects; it never sees a socket, the connection table or another connection.
//!
//! Each event loop has its own instance of every service, made on that loop's thread, so a service
//! needs no locks and need be neither `Send` nor `Sync`.

mod broadcast;
mod connect_request;
mod echo;
mod page;
pub mod room;
mod route_id;
mod router;

pub use broadcast::Broadcast;
pub use connect_request::ConnectRequest;
pub use echo::Echo;
pub use page::{BuiltInPage, Page, PageReply};
pub use route_id::{RouteId, RouteNumbers, TooManyRoutes};
pub(crate) use router::{Found, SocketRoute};
pub use router::{Handler, Route, Router};

pub use crate::effects::{
    Accept, CloseReason, Effects, LoopSite, Message, Order, Peer, RouteOptions, ServiceMessage,
    ServiceSender, SlowPolicy, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict,
    TooManyLookups,
};
pub use crate::output::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions};

use crate::http::Rejection;

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

    /// Whether the service wants to know the addresses of peers
    /// ([`ConnectRequest::address`]); asked once. Each connection that asks for such a service then
    /// has a record beside its slot.
    fn wants_addresses(&self) -> bool {
        false
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
