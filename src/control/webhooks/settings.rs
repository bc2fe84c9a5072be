//! Where a webhook is, and how events go there.

use std::time::Duration;

use crate::control::fetch::{FetchSettings, HttpUrl, Trust};
use crate::events::webhook::WebhookLimits;

/// Where a webhook is, and how events go there.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// What the route is known by, for requests and for the log.
    pub route: String,
    /// Where it is.
    pub url: HttpUrl,
    /// Given where the URL asks for TLS.
    pub trust: Option<Trust>,
    /// How much waits, and how much is told at once.
    pub limits: WebhookLimits,
    /// How long an event may wait for others, in milliseconds.
    pub delay_ms: u64,
    /// The longest time of a request in milliseconds.
    pub request_ms: u64,
}

impl WebhookSettings {
    pub(super) fn fetch(&self) -> FetchSettings {
        FetchSettings {
            url: self.url.clone(),
            trust: self.trust.clone(),
            deadline: Duration::from_millis(self.request_ms),
            connections_max: 1,
            body_bytes_max: REPLY_BYTES_MAX,
        }
    }
}

/// The status alone is of use, so a body that is longer is as good as a failure.
const REPLY_BYTES_MAX: usize = 64 << 10;
