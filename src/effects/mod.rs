//! The types that services, connections and loops exchange: peers, effects, publications, the reasons
//! for which connections end, and the options of routes.

mod backend_request;
mod close_reason;
#[expect(clippy::module_inception, reason = "the collector is what the folder is about")]
mod effects;
mod message;
mod message_limits;
mod peer;
mod publication;
mod route_options;
mod service_message;
mod service_sender;
mod token_lookup;

pub use backend_request::BackendRequest;
pub use close_reason::CloseReason;
pub use effects::{Accept, Effects};
pub(crate) use effects::{Effect, PendingEffects};
pub use message::Message;
pub use message_limits::{CONTROL_FRAMES, MessageLimits, RatePolicy};
pub use peer::{InvalidPeer, LoopSite, Peer};
pub use publication::Order;
pub(crate) use publication::Publication;
pub use route_options::{RouteOptions, SlowPolicy};
pub use service_message::ServiceMessage;
pub use service_sender::ServiceSender;
pub use token_lookup::{TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups};
