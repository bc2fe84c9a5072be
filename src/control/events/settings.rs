//! How a backend is told of events.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::events::ConversationLimits;
use crate::events::api_gateway::GatewayStyle;
use crate::jwt::SharedSecret;
use crate::timer::WallTime;
use crate::upstream::Upstream;

/// The requests at once of all routes.
pub type EventRequests = Arc<Semaphore>;

/// `count` requests at once for all routes.
#[must_use]
pub fn new_event_requests(count: usize) -> EventRequests {
    Arc::new(Semaphore::new(count))
}

/// How a backend is told of events.
#[derive(Clone, Debug)]
pub struct EventBackendSettings {
    /// The path of the route, for the log.
    pub route: Arc<str>,
    /// The servers that may be told, and how long they may take.
    pub upstream: Arc<Upstream>,
    /// Requests at once; further ones wait.
    pub requests_max: usize,
    /// The requests at once of all routes.
    pub all_requests: EventRequests,
    /// The style of API Gateway, if that is how events are told.
    pub gateway_style: Option<Arc<GatewayStyle>>,
    /// By what requests are signed, if they are.
    pub grip: Option<GripSigner>,
    /// The longest body of a reply, in bytes.
    pub reply_bytes_max: usize,
    /// Failures in a row after which the backend is left alone for a while.
    pub failures_max: u32,
    /// How much is held for each connection.
    pub limits: ConversationLimits,
}

/// Signs requests, so that a backend knows that they come from its gateway.
#[derive(Clone, Debug)]
pub struct GripSigner {
    /// The secret that the backend knows as well.
    pub key: SharedSecret,
    /// Who signs.
    pub issuer: String,
}

impl GripSigner {
    /// The value of `Grip-Sig` for a request at this time: a token that is good for an hour.
    #[must_use]
    pub fn signature(&self, now: WallTime) -> String {
        let expiry = now.0 / 1000 + VALID_S;
        self.key.sign(&serde_json::json!({ "iss": self.issuer, "exp": expiry }).to_string())
    }
}

const VALID_S: u64 = 3600;
