//! The types that services, connections and loops exchange: peers, effects, publications, the reasons
//! for which connections end, the options of routes, and who connections are.

mod backend_request;
mod channel_proxy;
mod client_headers;
mod close_reason;
#[expect(clippy::module_inception, reason = "the collector is what the folder is about")]
mod effects;
mod engine_link;
mod event_backend;
mod identity;
mod identity_check;
mod message;
mod message_limits;
mod peer;
mod publication;
mod rights;
mod route_observer;
mod route_options;
mod service_message;
mod service_sender;
mod token_lookup;

pub use backend_request::{BackendRequest, PlainTerms, RelayMode};
pub use channel_proxy::{ChannelProxy, ProxyAnswer, ProxyRequest, SharedChannelProxy};
pub use client_headers::ClientHeaders;
pub use close_reason::CloseReason;
pub use effects::{Accept, Effects};
pub(crate) use effects::{ChannelCounts, Effect, PendingEffects};
pub use engine_link::{EngineDelivery, EngineLink, SharedEngineLink};
pub use event_backend::{
    EventAnswer, EventBackend, EventClient, EventOpening, EventRoom, NoEventBackend,
    SharedEventBackend,
};
pub use identity::{INFO_BYTES_MAX, Identity, InvalidUser, USER_BYTES_MAX};
pub use identity_check::{
    Checked, Identities, IdentityCheck, IdentityOutcome, IdentityReply, IdentitySender, Inquiry,
    Presented, REFUSAL_BODY_BYTES_MAX,
};
pub use message::Message;
pub use message_limits::{CONTROL_FRAMES, MessageLimits, RatePolicy};
pub use peer::{InvalidPeer, LoopSite, Peer};
pub use publication::Order;
pub(crate) use publication::{Content, Publication};
pub use rights::{InvalidGrant, ROOM_GRANTS_MAX, ROOM_PATTERN_BYTES_MAX, Rights, RoomGrants};
pub use route_observer::{ObservedClient, RouteObserver, SharedRouteObserver};
pub use route_options::{Behind, HttpOptions, RouteOptions, SlowPolicy};
pub use service_message::ServiceMessage;
pub use service_sender::ServiceSender;
pub use token_lookup::{TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups};
