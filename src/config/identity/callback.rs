//! A backend that is asked over HTTP who a client is, and what all servers that are asked so have in
//! common.

use crate::config::ServerUrl;
use crate::config::declare::keys;
use crate::config::file_path::FilePath;
use crate::config::rule::{Rule, integer};
use crate::config::timeouts::TIMEOUT;

keys! {
    /// A backend that is asked over HTTP who a client is.
    "identity." pub struct CallbackOptions {
        /// Where the backend is; its query is never printed.
        pub callback_url: ServerUrl {
            rule: Rule::HttpUrl,
            reload: true,
        }
        /// The headers of a client's request that are passed on.
        pub callback_headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::Subprotocols,
            reload: true,
        }
        /// The cookies that are passed on, and no others.
        pub callback_cookies: Vec<String> {
            default: Vec::new(),
            rule: Rule::Subprotocols,
            reload: true,
        }
        /// The parameters of the query that are passed on, and no others.
        pub callback_query: Vec<String> {
            default: Vec::new(),
            rule: Rule::Subprotocols,
            reload: true,
        }
        /// How long a callback may take, with the wait for a connection.
        pub callback_ms: u64 {
            default: 2000,
            rule: TIMEOUT,
            reload: true,
            reached: "The request is refused with 503, and the callback has failed.",
        }
        /// Connections to the backend, and so callbacks at once; more wait.
        pub connections_max: usize {
            default: 64,
            rule: integer(1, 4096),
            reload: true,
            reached: "Callbacks wait for a connection, within `callback_ms`.",
        }
        /// Callbacks that fail in a row before the backend is left alone, for 1 second at first and up to 30.
        pub failures_max: u32 {
            default: 5,
            rule: integer(1, 1000),
            reload: true,
            reached: "Requests are refused with 503 until a callback succeeds.",
        }
        /// How long a refusal holds for equal requests; 0 to ask each time.
        pub refusal_ms: u64 {
            default: 1000,
            rule: integer(0, 60_000),
            reload: true,
        }
    }
}

keys! {
    /// What all servers that are asked over HTTP have in common.
    "identity." pub struct BackendOptions {
        /// PEM file with the authorities that the server's certificate must come from, for URLs with https.
        /// By default those of the system.
        pub tls_ca: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            reload: true,
        }
        /// Clients that wait for the server.
        pub waiting_max: usize {
            default: 1024,
            rule: integer(1, 65_536),
            reload: true,
            reached: "The request is refused with 503.",
        }
    }
}

impl CallbackOptions {
    /// The first of the headers to pass on that only the gateway can know, or that it passes on anyway.
    pub(in crate::config) fn header_of_the_gateway(&self) -> Option<(usize, &String)> {
        let is_own = |name: &String| {
            let name = name.to_ascii_lowercase();
            let is_of_websocket =
                name.starts_with("sec-websocket-") && name != "sec-websocket-protocol";
            HEADERS_OF_THE_GATEWAY.contains(&&*name)
                || is_of_websocket
                || name.starts_with("proxy-")
        };
        self.callback_headers.iter().enumerate().find(|(_, name)| is_own(name))
    }
}

/// Those of the connection (RFC 9110 section 7.6.1), those of a body, and those that are always told.
const HEADERS_OF_THE_GATEWAY: [&str; 15] = [
    "accept",
    "connection",
    "content-length",
    "cookie",
    "host",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-uri",
];
