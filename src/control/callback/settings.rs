//! How a backend is asked who a client is.

use std::sync::Arc;
use std::time::Duration;

use crate::control::fetch::{FetchSettings, HttpUrl, Trust};

/// How a backend is asked, with which parts of a client's request.
#[derive(Clone, Debug)]
pub struct CallbackSettings {
    /// The name of the `[[identity]]`.
    pub name: Arc<str>,
    /// Where the backend is.
    pub url: HttpUrl,
    /// Given where the URL asks for TLS.
    pub trust: Option<Trust>,
    /// The headers that are passed on.
    pub headers: Vec<String>,
    /// The cookies that are passed on.
    pub cookies: Vec<String>,
    /// The parameters of the query that are passed on.
    pub query: Vec<String>,
    /// The longest time of a callback in milliseconds, all waiting included.
    pub callback_ms: u64,
    /// The most connections to the backend, and so requests, at once.
    pub connections_max: usize,
    /// The most clients that may wait for an answer.
    pub waiting_max: usize,
    /// How long a refusal holds for equal requests, in milliseconds; 0 to ask each time.
    pub refusal_ms: u64,
    /// Failures in a row after which the backend is left alone for a while.
    pub failures_max: u32,
}

impl CallbackSettings {
    pub(super) fn refusal(&self) -> Duration {
        Duration::from_millis(self.refusal_ms)
    }

    pub(super) fn fetch(&self) -> FetchSettings {
        FetchSettings {
            url: self.url.clone(),
            trust: self.trust.clone(),
            deadline: Duration::from_millis(self.callback_ms),
            connections_max: self.connections_max,
            body_bytes_max: REPLY_BYTES_MAX,
        }
    }
}

/// The longest body of a reply, in bytes.
const REPLY_BYTES_MAX: usize = 64 << 10;
