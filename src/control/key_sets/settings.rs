//! What is fetched, and how often.

use std::time::Duration;

use crate::control::fetch::{FetchSettings, HttpUrl, Trust};
use crate::jwt::Algorithm;

/// Where the keys of an identity are published, and how often they are fetched.
#[derive(Clone, Debug)]
pub struct KeySetSettings {
    /// Where the set is.
    pub url: HttpUrl,
    /// Given where the URL asks for TLS.
    pub trust: Option<Trust>,
    /// The algorithms that its keys may serve for.
    pub algorithms: Vec<Algorithm>,
    /// How often it is fetched, in milliseconds. The actual period is up to a tenth shorter, so that
    /// many gateways do not fetch together.
    pub refresh_ms: u64,
    /// How soon it may be fetched again because a token asks for an unknown key, in milliseconds.
    pub unknown_key_ms: u64,
    /// How long a fetch may take, in milliseconds.
    pub fetch_ms: u64,
    /// The most tokens that may wait for keys.
    pub waiting_max: usize,
}

impl KeySetSettings {
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_ms)
    }

    pub(super) fn unknown_key(&self) -> Duration {
        Duration::from_millis(self.unknown_key_ms)
    }

    pub(super) fn fetch(&self) -> FetchSettings {
        FetchSettings {
            url: self.url.clone(),
            trust: self.trust.clone(),
            deadline: Duration::from_millis(self.fetch_ms),
            connections_max: 1,
            body_bytes_max: SET_BYTES_MAX,
        }
    }
}

/// The longest set, in bytes; those of providers have 2 to 10 KB.
const SET_BYTES_MAX: usize = 256 << 10;
