//! Backends that are asked about connections of channels, and which calls of clients go to which.

use super::declare::keys;
use super::limits::GIB;
use super::rule::{Rule, integer};
use super::timeouts::TIMEOUT;
use crate::centrifugo::{ProxyDisconnect, ProxyError, ProxyReply};

keys! {
    /// A backend that is asked over HTTP about connections of channels.
    "channels.proxy." pub struct ProxyOptions {
        /// The name by which other keys refer to it.
        pub name: String {
            rule: Rule::Name,
            reload: true,
        }
        /// The `[[upstream]]` that is asked.
        pub upstream: String {
            rule: Rule::Upstream,
            reload: true,
        }
        /// The path of requests; a `*` at its end stands for what is asked: `connect`, `refresh`, `sub_refresh`,
        /// `subscribe`, `publish` or `rpc`.
        pub path: String {
            rule: Rule::Path,
            reload: true,
        }
        /// The `Host` of requests.
        pub host: Option<String> {
            default: None,
            shown: "the upstream's name",
            rule: Rule::HostHeader,
            reload: true,
        }
        /// The headers of a client's request that are passed on with each question.
        pub headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::HeaderNames,
            reload: true,
        }
        /// The headers that are passed on from the field `headers` of a client's first command, where its
        /// request has none of that name. Pages set them; they say no more than the client does.
        pub emulated_headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::HeaderNames,
            reload: true,
        }
        /// Headers of each request, each as `NAME: VALUE`.
        pub set_headers: Vec<String> {
            default: Vec::new(),
            rule: Rule::HeaderLines,
            reload: true,
        }
        /// What replies with other statuses than 200 say, such as `404 error 404 not found`,
        /// `503 temporary 503 try again` or `403 disconnect 4503 forbidden`; others come to error 100.
        pub statuses: Vec<String> {
            default: Vec::new(),
            rule: Rule::Texts,
            reload: true,
        }
        /// How long a question may take, with the wait for a request.
        pub timeout_ms: u64 {
            default: 1000,
            rule: TIMEOUT,
            reload: true,
            reached: "The command gets error 100; what was to be renewed lasts a minute longer.",
        }
        /// Requests at once; more wait.
        pub requests_max: usize {
            default: 128,
            rule: integer(1, 65_536),
            reload: true,
            reached: "Questions wait for a request, within `timeout_ms`.",
        }
        /// Questions that wait for an answer, those under way included.
        pub waiting_max: usize {
            default: 4096,
            rule: integer(1, 1_048_576),
            reload: true,
            reached: "The command gets error 100; what was to be renewed lasts a minute longer.",
        }
        /// Bytes of one reply.
        pub reply_bytes_max: usize {
            default: 65_536,
            rule: integer(1024, GIB / 4),
            reload: true,
            reached: "The command gets error 100.",
        }
        /// Requests that fail in a row before the backend is left alone, for 1 second at first and up to 30.
        pub failures_max: u32 {
            default: 5,
            rule: integer(1, 1000),
            reload: true,
            reached: "Commands get error 100 until a request succeeds.",
        }
    }
}

keys! {
    /// Calls of clients that go to a backend.
    "channels.rpc." pub struct RpcOptions {
        /// The call, or all that begin alike: `news:*`, or `*` for any. The most specific counts.
        pub method: String {
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The `[[channels.proxy]]` that answers.
        pub proxy: String {
            rule: Rule::Name,
            reload: true,
        }
    }
}

impl ProxyOptions {
    /// What replies say by their statuses. Loading has refused what says nothing.
    #[must_use]
    pub fn replies(&self) -> Vec<(u16, ProxyReply)> {
        self.statuses.iter().filter_map(|text| status_reply(text)).collect()
    }

    /// Whether a text says what replies with a status come to, as those of `statuses`.
    #[must_use]
    pub fn is_status(text: &str) -> bool {
        status_reply(text).is_some()
    }

    /// Whether a header may not stand in `headers`, or in `emulated_headers`.
    #[must_use]
    pub fn refuses(name: &str, is_emulated: bool) -> bool {
        let name = name.to_ascii_lowercase();
        is_of_the_gateway(&name) || (is_emulated && is_known_better(&name))
    }

    /// The first header that is not a client's to say, and the key that names it.
    pub(super) fn header_of_the_gateway(&self) -> Option<(&'static str, usize, &String)> {
        let find = |key, names: &'_ [String], is_own: fn(&str) -> bool| {
            let position = names.iter().position(|name| is_own(&name.to_ascii_lowercase()));
            position.map(|position| (key, position))
        };
        let (key, position) = find("headers", &self.headers, is_of_the_gateway).or_else(|| {
            find("emulated_headers", &self.emulated_headers, |name| {
                is_of_the_gateway(name) || is_known_better(name)
            })
        })?;
        let names = if key == "headers" { &self.headers } else { &self.emulated_headers };
        names.get(position).map(|name| (key, position, name))
    }
}

/// A status, and what a reply with it says: `404 error 404 not found`.
pub(super) fn status_reply(text: &str) -> Option<(u16, ProxyReply)> {
    let mut words = text.splitn(4, ' ');
    let (status, kind, code) = (words.next()?, words.next()?, words.next()?);
    let text = words.next().unwrap_or_default();
    let status = status.parse().ok().filter(|own| (201..600).contains(own))?;
    let error = |is_temporary| {
        ProxyError::new(code.parse().ok()?, text, is_temporary).map(ProxyReply::Error)
    };
    let reply = match kind {
        "error" => error(false),
        "temporary" => error(true),
        "disconnect" => ProxyDisconnect::new(code.parse().ok()?, text).map(ProxyReply::Disconnect),
        _ => None,
    };
    reply.map(|reply| (status, reply))
}

/// Whether a header, in lower case, belongs to the connection, to a body or to the WebSocket.
fn is_of_the_gateway(name: &str) -> bool {
    let prefixes = ["content-", "proxy-", "sec-websocket-"];
    OF_THE_GATEWAY.contains(&name) || prefixes.iter().any(|own| name.starts_with(own))
}

/// Whether a header, in lower case, says what the gateway knows of a client and not what the client says.
fn is_known_better(name: &str) -> bool {
    let name = name.replace('_', "-");
    name == "forwarded"
        || name == "x-real-ip"
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-tidegate-")
}

const OF_THE_GATEWAY: [&str; 10] = [
    "accept",
    "accept-encoding",
    "connection",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_errors_and_ends() {
        let error = |code, message: &str, is_temporary| {
            ProxyReply::Error(ProxyError { code, message: message.into(), is_temporary })
        };
        for (text, status, reply) in [
            ("404 error 404 not found", 404, error(404, "not found", false)),
            ("503 temporary 1503 try again", 503, error(1503, "try again", true)),
            ("204 error 1204", 204, error(1204, "", false)),
        ] {
            assert_eq!(status_reply(text), Some((status, reply)));
        }
        let (status, end) = status_reply("403 disconnect 4503 forbidden").unwrap();
        let ProxyReply::Disconnect(end) = end else { panic!("{end:?}") };
        assert_eq!((status, end.code, &*end.reason), (403, 4503, "forbidden"));
        for text in [
            "",
            "404",
            "404 error",
            "404 error x",
            "200 error 404 x",
            "404 err 404 x",
            "404 error 4 x",
            "403 disconnect 1000 x",
            "x error 404 y",
        ] {
            assert_eq!(status_reply(text), None, "{text}");
        }
    }
}
