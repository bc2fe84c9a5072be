//! How requests are passed on to the servers of an upstream.

use crate::config::declare::keys;
use crate::config::rule::{Rule, integer};
use crate::config::word::{one_of, words};
use crate::effects::HttpOptions;

keys! {
    /// The options of services that pass requests on: `events` and `relay`.
    "route." pub struct ForwardOptions {
        /// The `[[upstream]]` that requests go to.
        pub upstream: String {
            rule: Rule::Upstream,
            reload: true,
        }
        /// The path of the request to the backend; a `*` at its end stands for what that at the end of
        /// the route's path stands for.
        pub rewrite: Option<String> {
            default: None,
            shown: "the client's",
            rule: Rule::Path,
            reload: true,
        }
        /// The `Host` of the request to the backend.
        pub host: Option<String> {
            default: None,
            shown: "the client's",
            rule: Rule::HostHeader,
            reload: true,
        }
        /// Headers of the request to the backend, each as `NAME: VALUE`, in place of the client's own.
        pub set_headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::HeaderLines,
            reload: true,
        }
        /// Names of headers that do not go to the backend.
        pub remove_headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::HeaderNames,
            reload: true,
        }
    }
}

keys! {
    /// The options that only a relay takes.
    "route." pub struct RelayOptions {
        /// What is passed on once the WebSocket is open: its bytes as they are, or its frames, within the
        /// limits of the route.
        pub mode: RelayMode {
            default: RelayMode::Bytes,
            rule: one_of::<RelayMode>(),
            reload: true,
        }
        /// Whether requests that ask for no upgrade go to the upstream as well.
        pub http: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
            reached: "With `false` such a request gets 426.",
        }
        /// Bytes of the body of such a request; 0 for any number.
        pub body_bytes_max: u64 {
            default: 16 << 20,
            rule: integer(0, BODY_BYTES_MAX),
            needs: Self::takes_plain => "http is false",
            reload: true,
            reached: "The request is refused with 413.",
        }
        /// Without a byte of the reply to such a request.
        pub response_ms: u64 {
            default: 60_000,
            rule: integer(10, DAY_MS),
            needs: Self::takes_plain => "http is false",
            reload: true,
            reached: "Before the reply the client gets 504, and later the connection is closed.",
        }
    }
}

impl RelayOptions {
    fn takes_plain(&self) -> bool {
        self.http
    }

    /// How requests that upgrade nothing are passed on, if they are.
    pub fn http_options(&self) -> Option<HttpOptions> {
        let (body_bytes_max, response_ms) = (self.body_bytes_max, self.response_ms);
        self.http.then_some(HttpOptions { body_bytes_max, response_ms })
    }
}

impl ForwardOptions {
    /// To no upstream yet.
    pub(in crate::config) fn to_none() -> Self {
        Self {
            upstream: String::new(),
            rewrite: None,
            host: None,
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
        }
    }
}

/// What a relay passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RelayMode {
    /// Bytes, whatever they mean.
    #[default]
    Bytes,
    /// Frames, which are checked and written anew.
    Frames,
}

words! { RelayMode: "bytes" = Bytes, "frames" = Frames }

/// A tebibyte.
const BODY_BYTES_MAX: u64 = 1 << 40;
const DAY_MS: u64 = 86_400_000;
