//! Services: what the gateway does with messages. A service receives requests and messages of peers,
//! and answers with effects. It has no access to sockets or to the table of connections.
//!
//! Each event loop makes its own instance of every service, on its thread. So a service needs no locks,
//! and need be neither `Send` nor `Sync`. Instances on different loops exchange messages with
//! [`Effects::tell`].

mod broadcast;
pub mod channels;
pub mod chat;
mod connect_request;
mod description;
mod echo;
mod events;
pub mod identity;
mod name;
mod page;
mod relay;
pub mod room;
mod route_history;
mod route_id;
mod router;
mod shared_topics;

pub use broadcast::Broadcast;
#[cfg(feature = "sim")]
pub use broadcast::rewrite_broadcast_message;
pub use connect_request::ConnectRequest;
pub use description::Description;
pub use echo::Echo;
pub use events::{Events, EventsSettings};
pub use page::{BuiltInPage, Page, PageReply};
pub use relay::{BalanceBy, Relay, RelaySettings};
pub use route_history::RouteHistory;
pub use route_id::{RouteId, RouteNumbers, TooManyRoutes};
pub(crate) use router::{Found, SocketRoute};
pub use router::{Handler, Route, Router};
pub use shared_topics::{TOPICS_NAMESPACE, topics_namespace};

pub use crate::effects::{
    Accept, BackendRequest, Behind, CONTROL_FRAMES, ChannelProxy, Checked, ClientHeaders,
    CloseReason, Effects, EngineDelivery, EngineLink, EventAnswer, EventBackend, EventClient,
    EventOpening, EventRoom, HttpOptions, INFO_BYTES_MAX, Identities, Identity, IdentityCheck,
    IdentityOutcome, IdentityReply, IdentitySender, Inquiry, InvalidGrant, InvalidPeer,
    InvalidUser, LoopSite, Message, MessageLimits, NoEventBackend, ObservedClient, Order, Peer,
    PlainTerms, Presented, ProxyAnswer, ProxyRequest, REFUSAL_BODY_BYTES_MAX, ROOM_GRANTS_MAX,
    ROOM_PATTERN_BYTES_MAX, RatePolicy, RelayMode, Rights, RoomGrants, RouteObserver, RouteOptions,
    ServiceMessage, ServiceSender, SharedChannelProxy, SharedEngineLink, SharedEventBackend,
    SharedRouteObserver, SlowPolicy, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict,
    TooManyLookups, USER_BYTES_MAX,
};
pub use crate::output::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions};

use crate::events::publish::ChannelItem;
pub use crate::http::Rejection;
use crate::http::{PlainRequest, RequestHead};
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::mail::Reply;

use std::any::Any;

/// A WebSocket service.
///
/// For each connection that is admitted, the loop calls [`on_open`](Service::on_open) first, then
/// [`on_message`](Service::on_message) any number of times, then [`on_close`](Service::on_close) exactly
/// once.
///
/// A callback must not block: all connections of the loop wait for it.
pub trait Service: Any {
    /// The first call to this instance. Other threads that work for it answer through `service_sender`,
    /// which may be cloned.
    fn on_start(&mut self, service_sender: ServiceSender) {
        let _ = service_sender;
    }

    /// Whether the service needs the addresses of peers ([`ConnectRequest::address`]). Called once, and
    /// again after [`on_reload`](Service::on_reload). If it does, each connection of its route has a
    /// record beside its slot.
    fn wants_addresses(&self) -> bool {
        false
    }

    /// Looks at a request before anything is asked about who makes it; only of routes with
    /// [identities](RouteOptions::identities). A request that could never be granted is decided on here, so
    /// that its credential is not checked for nothing: `Some` is what [`admit`](Service::admit) would
    /// give, and takes its place.
    fn screen(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Option<Result<Accept, Rejection>> {
        let _ = (connect, peer, effects);
        None
    }

    /// Decides whether to admit a connection. The checks of RFC 6455 and of the route's origins and
    /// identities have passed. A service that must ask elsewhere first returns [`Admission::Later`] and decides with
    /// [`Effects::decide`]; meanwhile the connection keeps only its request.
    ///
    /// [`on_open`](Service::on_open) may still not follow: the client may be gone.
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

    /// A request that upgrades nothing, on a route whose [options](RouteOptions::http) pass such on: what a
    /// backend is to answer. `connect` has no upgrade request. `None` if the service passes nothing on.
    fn plain_request(
        &mut self,
        connect: &ConnectRequest<'_>,
        head: &RequestHead<'_>,
        request: PlainRequest,
    ) -> Option<BackendRequest> {
        let _ = (connect, head, request);
        None
    }

    /// The peer of an [`Admission::Later`] has left, or its handshake took too long. A later decision
    /// about it is ignored.
    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let _ = (peer, effects);
    }

    /// The connection is open. What is sent here follows the reply to the upgrade.
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let _ = (peer, effects);
    }

    /// A whole message arrived. Its payload is valid during this call only.
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>);

    /// A control frame arrived (RFC 6455 §5.5). Pings are answered without the service unless its route
    /// [passes](RouteOptions::passes_pings) them. After a close frame comes [`Service::on_close`].
    fn on_control_frame(&mut self, peer: Peer, frame: ControlFrame<'_>, effects: &mut Effects<'_>) {
        let _ = (peer, frame, effects);
    }

    /// The connection is no longer open, and has left all its topics. Effects on it are counted and
    /// ignored.
    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let _ = (peer, reason, effects);
    }

    /// What operators are told of a connection that this service was asked to admit, or that is open.
    /// `None` if there is nothing to tell.
    fn describe(&self, peer: Peer) -> Option<Description<'_>> {
        let _ = peer;
        None
    }

    /// The configuration was reloaded, and the route is still in it, perhaps with other settings: `next`
    /// was just made for the route, by the handler of the new configuration, and is dropped after this.
    /// A service takes the settings out of it, by [`Any`], and keeps its own state and connections,
    /// which notice nothing. Without this the settings stay those that the service was made with.
    fn on_reload(&mut self, next: Box<dyn Service>, effects: &mut Effects<'_>) {
        let _ = (next, effects);
    }

    /// One more than the largest position of a room for [`room`](Service::room): 0 without rooms.
    fn rooms_end(&self) -> usize {
        0
    }

    /// The name of the room or topic at a position, and how many members it has on this loop; `None`
    /// for a position that no room has. A room that stays keeps its position, as a list of many is made
    /// between other work. The name of a service's only topic is empty.
    fn room(&self, position: usize) -> Option<(&str, usize)> {
        let _ = position;
        None
    }

    /// An operator has a text published to the members of a room or topic, on all loops, as a message of
    /// the gateway itself. Whether the service knows how; it may have no members.
    fn publish(&mut self, room: &str, text: &str, effects: &mut Effects<'_>) -> bool {
        let _ = (room, text, effects);
        false
    }

    /// Something is published to the members of a channel, which a backend has put into it. How many of them
    /// are on this loop. All loops are called, one of them with `publishes`, which gives a message to all.
    fn on_channel_item(
        &mut self,
        item: &ChannelItem,
        publishes: bool,
        effects: &mut Effects<'_>,
    ) -> usize {
        let _ = (item, publishes, effects);
        0
    }

    /// A backend asks something of channels. What is asked and the way back, if the service has none.
    fn on_channel_question(
        &mut self,
        question: ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) -> Option<(ChannelQuestion, Reply<ChannelAnswer>)> {
        let _ = effects;
        Some((question, reply))
    }

    /// The period of [`on_tick`](Service::on_tick) in milliseconds. Called once. A loop with such a
    /// service wakes that often, also without connections, unless the service [is at rest](Service::is_at_rest).
    fn tick_ms(&self) -> Option<u64> {
        None
    }

    /// Whether nothing comes of the next ticks unless something else is asked of the service before: then
    /// the loop need not wake for them.
    fn is_at_rest(&self) -> bool {
        false
    }

    /// About [`tick_ms`](Service::tick_ms) have passed since the last call, or more if the service
    /// [was at rest](Service::is_at_rest), or less if it has [asked for that](Effects::tick_again).
    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        let _ = effects;
    }

    /// The backlog of a peer is full, and frames with a
    /// [conflation key](crate::ws::EncodedFrame::conflated_by) wait in it: what is to become of them.
    fn on_behind(&mut self, peer: Peer, conflation_key: u32, effects: &mut Effects<'_>) -> Behind {
        let _ = (peer, conflation_key, effects);
        Behind::Close
    }

    /// A peer was a member of a topic until now, and was taken out of it by [`Effects::dismiss`] for this reason.
    fn on_dismissed(&mut self, peer: Peer, topic: &str, reason: u8, effects: &mut Effects<'_>) {
        let _ = (peer, topic, reason, effects);
    }

    /// The instance on loop `from` sent a message with [`Effects::tell`]. `from` is this loop for a
    /// message from this instance, or from its [`ServiceSender`].
    fn on_service_message(
        &mut self,
        from: u16,
        message: ServiceMessage,
        effects: &mut Effects<'_>,
    ) {
        let _ = (from, message, effects);
    }
}

/// A control frame of a client that a service may care about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlFrame<'f> {
    /// A ping and its payload.
    Ping(&'f [u8]),
    /// A pong and its payload.
    Pong(&'f [u8]),
    /// A close frame and its reason.
    Close(&'f str),
}

/// The answer of a service to a request that it does not reject.
#[derive(Clone, Debug)]
pub enum Admission {
    /// The service decides with [`Effects::decide`]. The deadline of the handshake goes on.
    Later,
    /// The connection is admitted at once.
    Now(Accept),
    /// A server of an upstream answers the request. If it opens the WebSocket, what it sends goes to the
    /// client, and what the client sends to it, and the service gets no messages.
    Relay(BackendRequest),
}
