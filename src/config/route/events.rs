//! How a backend that speaks plain HTTP is told of the events of connections.

use crate::config::declare::keys;
use crate::config::limits::GIB;
use crate::config::rule::{Rule, integer};
use crate::config::secret::Secret;
use crate::config::word::{one_of, words};
use crate::events::ConversationLimits;
use crate::events::api_gateway::{GatewayStyle, RouteSelection};

keys! {
    /// The options that only the service `events` takes.
    "route." pub struct EventsOptions {
        /// How events are told: in bodies of the type `application/websocket-events`, as Pushpin does, or each
        /// in a request of its own as JSON, as API Gateway does.
        pub dialect: EventsDialect {
            default: EventsDialect::WebSocketOverHttp,
            rule: one_of::<EventsDialect>(),
            reload: true,
        }
        /// What of a message names its route, with the dialect `api-gateway`: a value of its JSON object.
        pub route_selection: String {
            default: "$request.body.action".to_owned(),
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The names of routes, with the dialect `api-gateway`; messages that name another go to `$default`.
        /// With none any name is one.
        pub route_keys: Vec<String> {
            default: Vec::new(),
            rule: Rule::Texts,
            reload: true,
        }
        /// The routes whose replies go to the client, with the dialect `api-gateway`; `*` stands for all.
        pub route_responses: Vec<String> {
            default: Vec::new(),
            rule: Rule::Texts,
            reload: true,
        }
        /// The stage that events name, with the dialect `api-gateway`.
        pub stage: String {
            default: "default".to_owned(),
            rule: Rule::Text { bytes_min: 1, bytes_max: 128 },
            reload: true,
        }
        /// What becomes of pings of clients: the gateway answers them, or they are told to the backend, which
        /// answers them itself.
        pub pings: PingChoice {
            default: PingChoice::Answer,
            rule: one_of::<PingChoice>(),
            reload: true,
        }
        /// The key that signs requests, in their header `Grip-Sig`, so that the backend knows that they come
        /// from its gateway. It may be given as `base64:` and its bytes.
        pub grip_key: Option<Secret> {
            default: None,
            shown: "none",
            rule: Rule::Secret { bytes_min: 8, bytes_max: 256 },
            reload: true,
        }
        /// Who signs requests, as `Grip-Sig` names it.
        pub grip_iss: String {
            default: "tidegate".to_owned(),
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// Requests to the backend at once, for all connections of the route; more wait.
        pub requests_max: usize {
            default: 128,
            rule: integer(1, 65_536),
            reload: true,
            reached: "Events wait for a request, in order.",
        }
        /// Bytes of messages of one connection that wait for the backend.
        pub waiting_bytes_max: usize {
            default: 200_000,
            rule: integer(1024, GIB / 4),
            reload: true,
            reached: "The client is not read until some are told.",
        }
        /// Messages of one connection that wait for the backend.
        pub waiting_messages_max: usize {
            default: 1000,
            rule: integer(1, 1_000_000),
            reload: true,
            reached: "The client is not read until some are told.",
        }
        /// Bytes of one reply of the backend.
        pub reply_bytes_max: usize {
            default: 1_000_000,
            rule: integer(1024, GIB / 4),
            reload: true,
            reached: "The client is dropped, or refused with 502.",
        }
        /// Bytes of what the backend has kept for one connection with `Set-Meta` headers.
        pub meta_bytes_max: usize {
            default: 4096,
            rule: integer(0, 65_536),
            reload: true,
            reached: "The client is dropped, or refused with 502.",
        }
        /// Requests that fail in a row before the backend is left alone, for 1 second at first and up to 30.
        pub failures_max: u32 {
            default: 5,
            rule: integer(1, 1000),
            reload: true,
            reached: "New clients get 503 until a request succeeds.",
        }
    }
}

/// How events are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventsDialect {
    /// In bodies of the type `application/websocket-events`, as Pushpin and Fastly Fanout do.
    #[default]
    WebSocketOverHttp,
    /// Each in a request of its own, as an object in JSON.
    ApiGateway,
}

words! { EventsDialect: "websocket-over-http" = WebSocketOverHttp, "api-gateway" = ApiGateway }

/// What becomes of pings of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PingChoice {
    /// The gateway answers them.
    #[default]
    Answer,
    /// The backend is told of them, and answers.
    Pass,
}

words! { PingChoice: "answer" = Answer, "pass" = Pass }

impl EventsOptions {
    /// How events are told in the style of API Gateway, if that is the dialect.
    #[must_use]
    pub fn gateway_style(&self) -> Option<GatewayStyle> {
        match self.dialect {
            EventsDialect::WebSocketOverHttp => None,
            EventsDialect::ApiGateway => Some(GatewayStyle {
                selection: RouteSelection::parse(&self.route_selection)?,
                route_keys: self.route_keys.clone(),
                route_responses: self.route_responses.clone(),
                stage: self.stage.clone(),
            }),
        }
    }

    /// How much is held for each connection.
    #[must_use]
    pub fn limits(&self) -> ConversationLimits {
        ConversationLimits {
            waiting_bytes_max: self.waiting_bytes_max,
            waiting_messages_max: self.waiting_messages_max,
            meta_bytes_max: self.meta_bytes_max,
        }
    }
}
