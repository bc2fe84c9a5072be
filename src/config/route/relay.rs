//! How requests are passed on to the servers of an upstream.

use crate::config::declare::keys;
use crate::config::rule::Rule;
use crate::config::word::{one_of, words};

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
