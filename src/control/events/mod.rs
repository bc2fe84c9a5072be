//! The events of connections, told to a backend over HTTP: what goes on is decided by
//! [`Conversation`](crate::events::Conversation), and here are its requests.
//!
//! One request is under way for each connection, and `requests_max` for a route. A request that did not
//! reach a server is sent to up to two others, and then, unless it asks whether a client is let in, up to
//! five times more, after 1, 2, 4, 8 and 16 seconds and up to one more. One that may have reached a server
//! is sent again only if it tells of the end of a connection, with the same number.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | how a backend is told |
//! | `backend` | the conversations of a route |
//! | `exchange` | the requests about one connection, one after the other |
//! | `gateway_style` | what replies come to in the style of API Gateway |
//! | `servers` | the servers of the upstream, and which gets a request |
//! | `request` | a request as it is sent |
//! | `outcome` | what a reply comes to |

mod backend;
mod exchange;
mod gateway_style;
mod outcome;
mod request;
mod servers;
mod settings;

use std::sync::Arc;

pub use backend::EventBackends;
pub(in crate::control) use servers::Servers;
pub use settings::{EventBackendSettings, EventRequests, GripSigner, new_event_requests};

use super::tasks::Job;
use crate::metrics::ControlCounters;

/// What tells a backend of events, and the job by which it does so in every run of the thread.
pub(super) fn event_backend(
    settings: EventBackendSettings,
    counters: Arc<ControlCounters>,
) -> (Arc<EventBackends>, Arc<dyn Job>) {
    EventBackends::new(settings, counters, exchange::start)
}
